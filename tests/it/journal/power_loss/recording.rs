//! A recorded workload: the calls of a process made into changes of files, the syncs that make them durable, and what was
//! acknowledged between them.
//!
//! A call may take effect at any time between its entry and its return. So a change may be there from its entry on, a sync
//! covers what had returned before its entry and counts from its return, and an acknowledgement counts from the entry of the call
//! that notes it, by which it had happened.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use nix::libc;

use super::calls::{Descriptor, Operation};
use super::tracer::Event;

/// A file, whatever its names.
pub(super) type File = usize;

/// One change of the directory.
#[derive(Debug, PartialEq)]
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

/// From the entry of a call to its return, in events.
#[derive(Debug, Clone, Copy)]
struct Span {
    entered: usize,
    returned: usize,
}

/// A change and its time.
#[derive(Debug)]
pub(super) struct Timed {
    pub(super) change: Change,
    span: Span,
    /// From when on a power loss cannot undo it.
    pub(super) durable_from: Option<usize>,
}

impl Timed {
    /// Whether it may have happened by then.
    pub(super) fn is_begun(&self, moment: usize) -> bool {
        self.span.entered <= moment
    }

    pub(super) fn is_durable(&self, moment: usize) -> bool {
        self.durable_from.is_some_and(|from| from <= moment)
    }
}

#[derive(Debug, Default)]
pub(super) struct Recording {
    pub(super) changes: Vec<Timed>,
    /// Time, and position and number of the record.
    pub(super) acked: Vec<(usize, (u64, u64))>,
    released: Vec<(usize, u64)>,
    pub(super) base_ms: i64,
    pub(super) syncs: usize,
}

/// What is known of the process while its events are read.
#[derive(Default)]
struct Reader {
    recording: Recording,
    journal: PathBuf,
    acks: PathBuf,
    names: BTreeMap<String, File>,
    directories: BTreeSet<String>,
    sizes: Vec<usize>,
    open: HashMap<Descriptor, Opened>,
}

/// What a descriptor stands for.
#[derive(Debug, Clone)]
enum Opened {
    Acks,
    Directory(String),
    File {
        name: String,
        file: File,
        writes_through: bool,
    },
}

impl Recording {
    /// Of a process that began with an empty `journal` in this directory, and writes what is acknowledged to `acks` beside it.
    pub(super) fn of(directory: &Path, events: &[Event]) -> Self {
        let mut reader = Reader {
            journal: directory.join("journal"),
            acks: directory.join("acks"),
            ..Reader::default()
        };
        // A call that never returns, because the process ended in it, is left out: nothing was acknowledged after it.
        let mut entered = HashMap::new();
        for (time, event) in events.iter().enumerate() {
            match event {
                Event::Entered { thread, operation } => {
                    if let Operation::Close(descriptor) = operation {
                        // Another thread may get the number anew before this call is seen to return.
                        reader.open.remove(descriptor);
                    }
                    entered.insert(*thread, (time, operation));
                }
                Event::Returned { thread, result } => {
                    let (began, operation) = entered.remove(thread).unwrap();
                    let span = Span {
                        entered: began,
                        returned: time,
                    };
                    // Negative: it changed nothing. When a signal came first, the thread enters the call again.
                    if let Ok(result) = usize::try_from(*result) {
                        reader.returned(operation, span, result);
                    }
                }
            }
        }
        reader.recording
    }

    /// The times at which something is different: the begin and end of each change, each sync and acknowledgement.
    pub(super) fn moments(&self) -> Vec<usize> {
        let mut moments: Vec<usize> = self
            .changes
            .iter()
            .flat_map(|timed| {
                let span = timed.span;
                [Some(span.entered), Some(span.returned), timed.durable_from]
            })
            .flatten()
            .chain(self.acked.iter().map(|(time, _)| *time))
            .collect();
        moments.sort_unstable();
        moments.dedup();
        moments
    }

    /// What was acknowledged at a moment: position and number of each record.
    pub(super) fn acked_by(&self, moment: usize) -> impl DoubleEndedIterator<Item = &(u64, u64)> {
        let acked = self.acked.iter();
        acked
            .filter(move |(time, _)| *time <= moment)
            .map(|(_, acked)| acked)
    }

    /// Up to which position Kafka had the records, so that they may be deleted.
    pub(super) fn released_by(&self, moment: usize) -> u64 {
        let released = self.released.iter().filter(|(time, _)| *time <= moment);
        released.map(|(_, position)| *position).max().unwrap_or(0)
    }
}

impl Reader {
    /// Takes in a call that did what it was asked for, with its result.
    fn returned(&mut self, operation: &Operation, span: Span, result: usize) {
        match operation {
            Operation::Open { path, flags } => {
                self.opened(span, path, *flags, Descriptor::try_from(result).unwrap());
            }
            Operation::Close(_) => {}
            Operation::Write {
                descriptor,
                at,
                bytes,
            } => self.wrote(span, *descriptor, *at, &bytes[..result]),
            Operation::Truncate { descriptor, length } => {
                if let Some(file) = self.file(*descriptor) {
                    self.resized(span, file, *length);
                }
            }
            Operation::Allocate { descriptor, length } => {
                if let Some(file) = self.file(*descriptor)
                    && *length > self.sizes[file]
                {
                    self.resized(span, file, *length);
                }
            }
            Operation::Sync(descriptor) => match self.open.get(descriptor).cloned() {
                None | Some(Opened::Acks) => {}
                Some(Opened::Directory(name)) => self.synced_names(span, &name),
                Some(Opened::File { file, .. }) => self.synced_file(span, file),
            },
            Operation::MapWritable(descriptor) => match self.open.get(descriptor) {
                // SQLite's index of its log is shared memory. SQLite rebuilds it at every start.
                Some(Opened::File { name, .. }) if name.ends_with("-shm") => {}
                inside => assert!(inside.is_none(), "writes to {inside:?} through memory"),
            },
            Operation::MakeDirectory(path) => {
                if let Some(name) = self.inside(path) {
                    self.directories.insert(name.clone());
                    self.change(span, Change::MakeDirectory(name));
                }
            }
            Operation::Unlink(path) => {
                if let Some(name) = self.inside(path) {
                    self.names.remove(&name);
                    self.change(span, Change::Unname(name));
                }
            }
            Operation::Rename { from, to } => self.renamed(span, from, to),
            Operation::Other {
                name,
                descriptors,
                paths,
            } => {
                let is_elsewhere = paths.iter().all(|path| self.inside(path).is_none())
                    && descriptors.iter().all(|one| !self.open.contains_key(one));
                let says_where = !paths.is_empty() || !descriptors.is_empty();
                assert!(
                    says_where && is_elsewhere,
                    "{name} of {paths:?} {descriptors:?}: teach the recording what it does"
                );
            }
        }
    }

    /// A path of the journal's directory, relative to it; empty for the directory itself.
    fn inside(&self, path: &Path) -> Option<String> {
        let name = path.strip_prefix(&self.journal).ok()?;
        Some(name.to_str().unwrap().to_owned())
    }

    /// The journal's file behind a descriptor.
    fn file(&self, descriptor: Descriptor) -> Option<File> {
        match self.open.get(&descriptor)? {
            Opened::File { file, .. } => Some(*file),
            other => panic!("{other:?} is no file"),
        }
    }

    fn opened(&mut self, span: Span, path: &Path, flags: i32, descriptor: Descriptor) {
        let Some(name) = self.inside(path) else {
            if path == self.acks {
                self.open.insert(descriptor, Opened::Acks);
            }
            return;
        };
        if name.is_empty() || self.directories.contains(&name) {
            self.open.insert(descriptor, Opened::Directory(name));
            return;
        }
        let file = match self.names.get(&name) {
            Some(file) => *file,
            None => {
                let (file, name) = (self.sizes.len(), name.clone());
                self.sizes.push(0);
                self.names.insert(name.clone(), file);
                self.change(span, Change::Name { name, file });
                file
            }
        };
        if flags & libc::O_TRUNC != 0 && self.sizes[file] > 0 {
            self.resized(span, file, 0);
        }
        let opened = Opened::File {
            name,
            file,
            writes_through: flags & (libc::O_DSYNC | libc::O_SYNC) != 0,
        };
        self.open.insert(descriptor, opened);
    }

    fn wrote(&mut self, span: Span, descriptor: Descriptor, at: usize, bytes: &[u8]) {
        match self.open.get(&descriptor).cloned() {
            None => {}
            Some(Opened::Acks) => self.noted(span, std::str::from_utf8(bytes).unwrap()),
            Some(Opened::Directory(name)) => panic!("a write to the directory {name}"),
            Some(Opened::File {
                file,
                writes_through,
                ..
            }) => {
                self.sizes[file] = self.sizes[file].max(at + bytes.len());
                let bytes = bytes.to_vec();
                self.change(span, Change::Write { file, at, bytes });
                if writes_through {
                    self.synced_file(span, file);
                }
            }
        }
    }

    fn noted(&mut self, span: Span, line: &str) {
        let recording = &mut self.recording;
        let words: Vec<&str> = line.strip_suffix('\n').unwrap().split(' ').collect();
        match words[..] {
            ["base", ms] => recording.base_ms = ms.parse().unwrap(),
            ["acked", position, n] => {
                let acked = (position.parse().unwrap(), n.parse().unwrap());
                recording.acked.push((span.entered, acked));
            }
            ["released", position] => {
                let released = position.parse().unwrap();
                recording.released.push((span.entered, released));
            }
            _ => panic!("{line}"),
        }
    }

    fn renamed(&mut self, span: Span, from: &Path, to: &Path) {
        match (self.inside(from), self.inside(to)) {
            (None, None) => {}
            (Some(from), Some(to)) => {
                let file = self.names.remove(&from).unwrap();
                self.names.insert(to.clone(), file);
                // A file system's own log makes both of it or neither: the new name comes first, and readers of a state in
                // which both are there see one file twice.
                self.change(span, Change::Name { name: to, file });
                self.change(span, Change::Unname(from));
            }
            _ => panic!("{from:?} becomes {to:?}: teach the recording what that does"),
        }
    }

    fn resized(&mut self, span: Span, file: File, bytes: usize) {
        self.sizes[file] = bytes;
        self.change(span, Change::Resize { file, bytes });
    }

    fn change(&mut self, span: Span, change: Change) {
        self.recording.changes.push(Timed {
            change,
            span,
            durable_from: None,
        });
    }

    /// A file's bytes and size are durable.
    fn synced_file(&mut self, span: Span, synced: File) {
        self.synced(span, |change| match change {
            Change::Write { file, .. } | Change::Resize { file, .. } => *file == synced,
            Change::Name { .. } | Change::Unname(_) | Change::MakeDirectory(_) => false,
        });
    }

    /// The names in a directory are durable.
    fn synced_names(&mut self, span: Span, directory: &str) {
        self.synced(span, |change| match change {
            Change::Write { .. } | Change::Resize { .. } => false,
            Change::Name { name, .. } | Change::Unname(name) | Change::MakeDirectory(name) => {
                name.rsplit_once('/').map_or("", |(parent, _)| parent) == directory
            }
        });
    }

    /// What had returned before the sync was entered is durable when the sync returns.
    fn synced(&mut self, span: Span, covers: impl Fn(&Change) -> bool) {
        self.recording.syncs += 1;
        for timed in &mut self.recording.changes {
            // A call that writes through covers itself.
            let had_returned =
                timed.span.returned < span.entered || timed.span.returned == span.returned;
            if had_returned && covers(&timed.change) {
                timed.durable_from.get_or_insert(span.returned);
            }
        }
    }
}

#[cfg(test)]
mod tests;
