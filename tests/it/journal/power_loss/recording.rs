//! A recorded workload: strace's lines read into changes of files, the syncs that make them durable, and what was
//! acknowledged between them.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// A file, whatever its names.
pub(super) type File = usize;

/// One change of the directory.
#[derive(Debug)]
pub(super) enum Change {
    Write {
        file: File,
        at: usize,
        bytes: Vec<u8>,
    },
    Resize {
        file: File,
        bytes: usize,
    },
    /// Names are relative to the directory.
    Name {
        name: String,
        file: File,
    },
    Unname(String),
    MakeDirectory(String),
}

/// A change and its time, in lines of the trace.
#[derive(Debug)]
pub(super) struct Timed {
    pub(super) change: Change,
    pub(super) began: usize,
    ended: usize,
    /// From when on a power loss cannot undo it.
    pub(super) durable_from: Option<usize>,
}

#[derive(Debug, Default)]
pub(super) struct Recording {
    pub(super) changes: Vec<Timed>,
    /// Line, and position and number of the record.
    pub(super) acked: Vec<(usize, (u64, u64))>,
    released: Vec<(usize, u64)>,
    pub(super) base_ms: i64,
    syncs: usize,
    lines: usize,
}

/// What is known of the process while its lines are read.
#[derive(Default)]
struct Reader {
    recording: Recording,
    names: BTreeMap<String, File>,
    sizes: Vec<usize>,
    /// By descriptor: offset, and whether it appends or writes through.
    open: HashMap<u32, Descriptor>,
    root: String,
}

#[derive(Default, Clone, Copy)]
struct Descriptor {
    offset: usize,
    appends: bool,
    writes_through: bool,
}

/// A whole call.
struct Call<'a> {
    name: &'a str,
    arguments: &'a str,
    result: &'a str,
    began: usize,
    ended: usize,
}

impl Recording {
    pub(super) fn read(trace: &Path) -> Self {
        let text = std::fs::read_to_string(trace).unwrap();
        let mut reader = Reader::default();
        // Calls during which another thread's were seen come in two halves.
        let mut halves: HashMap<&str, (usize, String)> = HashMap::new();
        for (line, words) in text.lines().enumerate() {
            let (thread, rest) = words.split_once(' ').unwrap();
            let rest = rest.trim_start();
            let (began, whole) = if let Some(first) = rest.strip_suffix(" <unfinished ...>") {
                halves.insert(thread, (line, first.to_owned()));
                continue;
            } else if let Some(resumed) = rest.strip_prefix("<... ") {
                let (began, first) = halves.remove(thread).unwrap();
                (began, first + resumed.split_once("resumed>").unwrap().1)
            } else {
                (line, rest.to_owned())
            };
            let Some((name, tail)) = whole.split_once('(') else {
                continue; // an exit or a signal
            };
            let Some((arguments, result)) = tail.rsplit_once(" = ") else {
                continue;
            };
            if result.starts_with('?') {
                continue; // the process ended in it: nothing was acknowledged after it
            }
            reader.call(&Call {
                name,
                arguments: arguments.trim_end().trim_end_matches(')'),
                result,
                began,
                ended: line,
            });
        }
        reader.recording.lines = text.lines().count();
        reader.recording
    }

    /// The lines after which something is different: the end of each change, sync and acknowledgement.
    pub(super) fn moments(&self) -> Vec<usize> {
        let changes = self.changes.iter();
        let mut moments: Vec<usize> = changes
            .flat_map(|timed| [Some(timed.began), Some(timed.ended), timed.durable_from])
            .flatten()
            .chain(self.acked.iter().map(|(line, _)| *line))
            .collect();
        moments.sort_unstable();
        moments.dedup();
        moments
    }

    pub(super) fn syncs(&self) -> usize {
        self.syncs
    }

    /// What was acknowledged when line `moment` had been written: position and number of each record.
    pub(super) fn acked_by(&self, moment: usize) -> impl DoubleEndedIterator<Item = &(u64, u64)> {
        let acked = self.acked.iter();
        acked
            .filter(move |(line, _)| *line <= moment)
            .map(|(_, acked)| acked)
    }

    /// Up to which position Kafka had the records, so that they may be deleted.
    pub(super) fn released_by(&self, moment: usize) -> u64 {
        let released = self.released.iter().filter(|(line, _)| *line <= moment);
        released.map(|(_, position)| *position).max().unwrap_or(0)
    }
}

impl Reader {
    fn call(&mut self, call: &Call<'_>) {
        let path = call.arguments.split_once('<').and_then(|(_, rest)| {
            let (path, _) = rest.split_once('>')?;
            Some(unescaped(path))
        });
        let descriptor = call.arguments.split(['<', ',', ')']).next().unwrap_or("");
        let descriptor: u32 = descriptor.parse().unwrap_or(u32::MAX);
        if let Some(written) = path.as_deref().and_then(|path| path.strip_suffix("/acks")) {
            if call.name == "write" {
                self.root = format!("{}/journal", String::from_utf8_lossy(written.as_bytes()));
                self.note(call);
            }
            return;
        }
        match call.name {
            _ if call.result.starts_with('-') => {}
            "open" | "openat" | "creat" => self.opened(call),
            "lseek" => {
                let offset = number(call.result);
                self.open.entry(descriptor).or_default().offset = offset;
            }
            "mkdir" | "mkdirat" | "rmdir" | "unlink" | "unlinkat" | "rename" | "renameat"
            | "renameat2" | "link" | "linkat" => self.renamed(call),
            name => {
                let Some(inside) = path.as_deref().and_then(|path| self.inside(path)) else {
                    return;
                };
                self.written(call, name, descriptor, &inside);
            }
        }
    }

    /// A path of the journal's directory, relative to it; empty for the directory itself.
    fn inside(&self, path: &str) -> Option<String> {
        let rest = path
            .strip_prefix(&self.root)
            .filter(|_| !self.root.is_empty())?;
        match rest.strip_prefix('/') {
            Some(name) => Some(name.to_owned()),
            None => rest.is_empty().then(String::new),
        }
    }

    fn note(&mut self, call: &Call<'_>) {
        let line = String::from_utf8(strings(call.arguments).concat()).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let recording = &mut self.recording;
        match words[..] {
            ["base", ms] => recording.base_ms = ms.parse().unwrap(),
            ["acked", position, n] => {
                let acked = (position.parse().unwrap(), n.parse().unwrap());
                recording.acked.push((call.began, acked));
            }
            ["released", position] => {
                recording
                    .released
                    .push((call.began, position.parse().unwrap()));
            }
            _ => panic!("{line}"),
        }
    }

    fn opened(&mut self, call: &Call<'_>) {
        let (descriptor, path) = call.result.split_once('<').unwrap();
        let path = unescaped(path.trim_end().trim_end_matches('>'));
        let descriptor: u32 = descriptor.parse().unwrap();
        self.open.insert(
            descriptor,
            Descriptor {
                offset: 0,
                appends: call.arguments.contains("O_APPEND"),
                writes_through: call.arguments.contains("SYNC"),
            },
        );
        let Some(name) = self.inside(&path).filter(|name| !name.is_empty()) else {
            return;
        };
        if call.arguments.contains("O_DIRECTORY") {
            return;
        }
        let file = match self.names.get(&name) {
            Some(file) => *file,
            None => {
                let file = self.sizes.len();
                self.sizes.push(0);
                self.names.insert(name.clone(), file);
                self.change(call, Change::Name { name, file });
                file
            }
        };
        if call.arguments.contains("O_TRUNC") && self.sizes[file] > 0 {
            self.resized(call, file, 0);
        }
    }

    fn renamed(&mut self, call: &Call<'_>) {
        let paths: Vec<_> = strings(call.arguments)
            .into_iter()
            .map(|bytes| self.inside(&String::from_utf8(bytes).unwrap()))
            .collect();
        match (call.name, &paths[..]) {
            ("mkdir" | "mkdirat", [Some(name)]) if !name.is_empty() => {
                self.change(call, Change::MakeDirectory(name.clone()));
            }
            ("unlink" | "unlinkat", [Some(name)]) => {
                self.names.remove(name);
                self.change(call, Change::Unname(name.clone()));
            }
            ("rename" | "renameat" | "renameat2", [Some(from), Some(to)]) => {
                let file = self.names.remove(from).unwrap();
                self.names.insert(to.clone(), file);
                // A file system's own log makes both of it or neither: the new name comes first, and readers of a state in
                // which both are there see one file twice.
                self.change(
                    call,
                    Change::Name {
                        name: to.clone(),
                        file,
                    },
                );
                self.change(call, Change::Unname(from.clone()));
            }
            (_, paths) => assert!(paths.iter().all(Option::is_none), "{}", call.arguments),
        }
    }

    fn written(&mut self, call: &Call<'_>, name: &str, descriptor: u32, inside: &str) {
        let file = self.names.get(inside).copied();
        let open = self.open.entry(descriptor).or_default();
        let through = open.writes_through;
        let count = number(call.result);
        let file = match (name, file) {
            ("fsync" | "fdatasync", file) => return self.synced(call, file, inside),
            // SQLite's index of its log is memory, made anew at every start.
            ("mmap", _) if inside.ends_with("-shm") || !call.arguments.contains("MAP_SHARED") => {
                return;
            }
            ("mmap", _) if !call.arguments.contains("PROT_WRITE") => return,
            (_, Some(file)) => file,
            (_, None) => panic!("{name} of {inside}, which was never made"),
        };
        match name {
            "write" | "writev" => {
                let at = if open.appends {
                    self.sizes[file]
                } else {
                    open.offset
                };
                open.offset = at + count;
                self.wrote(call, file, at, count);
            }
            "pwrite64" | "pwritev" | "pwritev2" => {
                let mut places = call.arguments.rsplit(", ");
                let at = places.find(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
                self.wrote(call, file, number(at.unwrap()), count);
            }
            "ftruncate" => {
                let (_, bytes) = call.arguments.rsplit_once(", ").unwrap();
                self.resized(call, file, number(bytes));
            }
            "fallocate" => {
                let words: Vec<&str> = call.arguments.split(", ").collect();
                assert_eq!(
                    words[1], "0",
                    "a kind of fallocate this does not know: {words:?}"
                );
                let end = number(words[2]) + number(words[3]);
                if end > self.sizes[file] {
                    self.resized(call, file, end);
                }
            }
            other => panic!("{other} on {inside}: teach the recording what it does"),
        }
        if through {
            self.synced(call, Some(file), inside);
        }
    }

    fn wrote(&mut self, call: &Call<'_>, file: File, at: usize, count: usize) {
        let mut bytes = strings(call.arguments).concat();
        bytes.truncate(count);
        assert_eq!(bytes.len(), count, "strace cut the bytes of {}", call.name);
        self.sizes[file] = self.sizes[file].max(at + count);
        self.change(call, Change::Write { file, at, bytes });
    }

    fn resized(&mut self, call: &Call<'_>, file: File, bytes: usize) {
        self.sizes[file] = bytes;
        self.change(call, Change::Resize { file, bytes });
    }

    fn change(&mut self, call: &Call<'_>, change: Change) {
        self.recording.changes.push(Timed {
            change,
            began: call.began,
            ended: call.ended,
            durable_from: None,
        });
    }

    /// What had returned before the sync began is durable when the sync returns: of a file its bytes and size, of a
    /// directory its names.
    fn synced(&mut self, call: &Call<'_>, synced: Option<File>, inside: &str) {
        self.recording.syncs += 1;
        for timed in &mut self.recording.changes {
            let is_covered = match &timed.change {
                Change::Write { file, .. } | Change::Resize { file, .. } => Some(*file) == synced,
                Change::Name { name, .. } | Change::Unname(name) | Change::MakeDirectory(name) => {
                    synced.is_none() && name.rsplit_once('/').map_or("", |(dir, _)| dir) == inside
                }
            };
            // A call that writes through covers itself.
            let returned = timed.ended < call.began || timed.ended == call.ended;
            if is_covered && returned {
                timed.durable_from.get_or_insert(call.ended);
            }
        }
    }
}

/// The strings among the arguments of a call, all of whose bytes strace wrote in hexadecimal.
fn strings(arguments: &str) -> Vec<Vec<u8>> {
    assert!(!arguments.contains("\"..."), "strace cut a string");
    let quoted = arguments.split('"').skip(1).step_by(2);
    quoted.map(bytes_of).collect()
}

fn bytes_of(escaped: &str) -> Vec<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
    let quads = escaped.as_bytes().chunks_exact(4);
    assert!(quads.remainder().is_empty(), "{escaped}");
    quads
        .map(|quad| digit(quad[2]) << 4 | digit(quad[3]))
        .collect()
}

/// A path behind a descriptor, which strace escapes too.
fn unescaped(path: &str) -> String {
    if path.starts_with("\\x") {
        String::from_utf8(bytes_of(path)).unwrap()
    } else {
        path.to_owned()
    }
}

fn number(text: &str) -> usize {
    let digits = text.split(|letter: char| !letter.is_ascii_digit()).next();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}
