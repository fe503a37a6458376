//! The runner: which lines, with which seed, and what is reported of each.
//!
//! Every line runs in a process of its own (see [`attempt`](crate::support::attempt)). A line that passes prints its
//! figure. A *broken promise* fails at once and is never repeated. A line that has *not shown* anything runs once more at
//! the end, with every deadline doubled; a second time fails. Both print what was found, the command that replays it with
//! its seed, and the directory that holds journals and logs. A line that this machine cannot run says so, and fails where
//! `CONCUR_BRIDGE_REQUIRE` names `faults`.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::arena::{Arena, line_dir, shared_kafka};
use crate::support::attempt::{self, Attempt, Ending, attempt_all};
use crate::support::failure::{Doing, Failure, Outcome};
use crate::support::kafka::Kafka;
use crate::support::patience;

/// How long the process of a line may take before it counts as hung. The slowest of the short form takes two minutes.
const LINE_LIMIT: Duration = Duration::from_secs(20 * 60);
const LONG_LINE_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// One line of the matrix.
pub(crate) struct Line {
    /// Its number in the matrix, or a word.
    pub name: &'static str,
    /// What is promised.
    pub promise: &'static str,
    /// The fault.
    pub fault: &'static str,
    /// How it is brought about.
    pub how: &'static str,
    /// What this machine must let us do; an error is the reason why not.
    pub possible: fn() -> Outcome,
    /// Runs it and returns its figure.
    pub run: fn(&Arena) -> Outcome<String>,
}

/// For lines that any machine can run.
pub(crate) fn anywhere() -> Outcome {
    Ok(())
}

/// What the command line asked for.
pub(crate) struct Options {
    lines: Vec<String>,
    /// Repetitions; none: what each line holds right.
    pub cycles: Option<u32>,
    /// The seed of everything random.
    pub seed: u64,
    /// The long form.
    pub long: bool,
    /// How long a soak lasts.
    pub soak: Option<Duration>,
    markdown: Option<PathBuf>,
    /// Everything of this run is below it.
    pub root: PathBuf,
    /// Of the process of a line: which attempt it is, from 1.
    pub attempt: u32,
}

impl Options {
    /// Reads the arguments after `--run` or `--line`. A wrong one is told in a sentence.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Outcome<Self> {
        let clock = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let mut root = None;
        let mut options = Self {
            lines: Vec::new(),
            cycles: None,
            // Six digits are enough to differ, and few enough to type.
            seed: (clock % 1_000_000) as u64,
            long: false,
            soak: None,
            markdown: None,
            root: PathBuf::new(),
            attempt: 1,
        };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().doing(format!("{argument} wants a value"));
            match argument.as_str() {
                "--cycles" => options.cycles = Some(value()?.parse().doing("--cycles")?),
                "--seed" => options.seed = value()?.parse().doing("--seed")?,
                "--for" => {
                    options.soak = Some(Duration::from_secs(
                        value()?.trim_end_matches('s').parse().doing("--for")?,
                    ))
                }
                "--long" => options.long = true,
                "--markdown" => options.markdown = Some(value()?.into()),
                "--dir" => root = Some(PathBuf::from(value()?)),
                "--attempt" => options.attempt = value()?.parse().doing("--attempt")?,
                line if !line.starts_with('-') => options.lines.push(line.to_owned()),
                unknown => return Err(Failure::not_shown(format!("unknown option {unknown}"))),
            }
        }
        options.root = match root {
            Some(root) => root,
            None => tempfile::tempdir()?.keep(),
        };
        Ok(options)
    }

    /// The options that a line looks at, as arguments.
    fn of_a_line(&self) -> String {
        let mut arguments = format!(" --seed {}", self.seed);
        if let Some(cycles) = self.cycles {
            let _ = write!(arguments, " --cycles {cycles}");
        }
        if let Some(soak) = self.soak {
            let _ = write!(arguments, " --for {}s", soak.as_secs());
        }
        if self.long {
            arguments.push_str(" --long");
        }
        arguments
    }

    fn replay(&self, line: &str) -> String {
        let patience = match patience::factor() {
            1.0 => String::new(),
            factor => format!("{}={factor} ", patience::VARIABLE),
        };
        format!("{patience}dev/faults {line}{}", self.of_a_line())
    }

    fn asks_for(&self, line: &Line) -> bool {
        self.lines.is_empty() || self.lines.iter().any(|name| name == line.name)
    }
}

/// What `--markdown` writes above the figures.
const PREFACE: &str = "\
# Reliability: what is promised, and what was done to break it

Written by `dev/faults --markdown docs/reliability.md`: each line ran against the real binary as a process of its own and a real Apache Kafka, on one
machine; the last column replays it. `dev/faults --long` runs the long form, `dev/soak --for 1800s` the soak.

The oracle behind every figure: senders log each request and its answer; a reader with `isolation.level=read_committed` reads during the fault, and
everything is read once more afterwards. *Lost*: answered 2xx and never read. *Doubled*: read twice. *Reordered*: read before one of the same key that had
been answered 2xx before it was sent. *Phantom*: never sent. *Altered*: not valid by its JSON Schema, or a field, key, header or the sealed token differs.
*Gaps*: holes or repetitions in `concur-bridge-position`. A request without a 2xx may appear once or not at all.

A line fails in one of two ways. *Broken promise*: the oracle found something, a status or an exit code was wrong, or the bridge ended by itself. That fails
at once and is never tried again. *Not shown*: the line could not bring its fault about, did not see the awaited state before its deadline, a tool of the suite
failed, or the process of the line itself crashed. Such a line says nothing about the bridge; it runs once more at the end, alone, with every deadline doubled,
and a second time fails the suite. Latency, throughput and memory are printed, never judged.

[protections.md](protections.md) shows which line fails when a protection is taken away.

";

/// The head of the table.
const HEADER: &str = "\
| # | promise | fault | how | figure | command |
|---|---|---|---|---|---|
";

/// Runs the lines asked for, all of them when none is.
pub(crate) fn run(lines: &[Line], options: &Options) -> Outcome<ExitCode> {
    let known: Vec<&str> = lines.iter().map(|line| line.name).collect();
    if let Some(name) = options
        .lines
        .iter()
        .find(|name| !known.contains(&name.as_str()))
    {
        return Err(Failure::not_shown(format!(
            "there is no line {name:?}; there are {}",
            known.join(" ")
        )));
    }
    let chosen: Vec<&Line> = lines.iter().filter(|line| options.asks_for(line)).collect();
    std::fs::create_dir_all(&options.root)?;
    let runner = Runner {
        options,
        listener: TcpListener::bind(("127.0.0.1", 0))?,
        skips_fail: required(),
    };
    println!(
        "fault suite, seed {}, patience {}, work in {}",
        options.seed,
        patience::factor(),
        options.root.display()
    );
    let endings = attempt_all(&chosen, |line, attempt| runner.attempt(line, attempt))?;
    Kafka::remove(&shared_kafka(&options.root))?;

    let mut report = format!("{PREFACE}{HEADER}");
    let (mut broken, mut not_shown, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
    for (line, ending) in chosen.iter().zip(&endings) {
        let figure = match ending {
            Ending::Passed(figure) => figure.clone(),
            Ending::Broken(found) => {
                broken.push(line.name);
                format!("BROKEN PROMISE: {found}")
            }
            Ending::NotShown(reason) => {
                not_shown.push(line.name);
                format!("NOT SHOWN: {reason}")
            }
            Ending::Skipped(reason) => {
                skipped.push(line.name);
                format!("skipped: {reason}")
            }
        };
        let cells = [
            line.name,
            line.promise,
            line.fault,
            line.how,
            &figure.replace('|', "\\|"),
            &format!("`{}`", options.replay(line.name)),
        ];
        let _ = writeln!(report, "| {} |", cells.join(" | "));
    }
    if let Some(path) = &options.markdown {
        std::fs::write(path, report).doing(format!("writing {}", path.display()))?;
    }
    let mut failed = vec![("broken promise", broken), ("not shown, twice", not_shown)];
    if runner.skips_fail {
        failed.push((
            "skipped, though CONCUR_BRIDGE_REQUIRE names `faults`",
            skipped,
        ));
    }
    failed.retain(|(_, lines)| !lines.is_empty());
    if failed.is_empty() {
        println!("all lines passed");
        return Ok(ExitCode::SUCCESS);
    }
    for (kind, lines) in failed {
        println!("{kind}: {}", lines.join(" "));
    }
    // What `dev/faults` finds here it leaves alone.
    std::fs::write(options.root.join("keep"), "")?;
    println!("journals and logs are in {}", options.root.display());
    Ok(ExitCode::FAILURE)
}

/// The process of one line: runs it and leaves its ending in a file.
pub(crate) fn run_one(lines: &[Line], options: &Options) -> Outcome {
    for line in lines.iter().filter(|line| options.asks_for(line)) {
        let ending = match (line.possible)() {
            Err(reason) => Ending::Skipped(reason.text),
            Ok(()) => Ending::of((line.run)(&Arena::enter(options))),
        };
        ending.write(&result_file(&options.root, line.name, options.attempt))?;
    }
    Ok(())
}

fn result_file(root: &Path, line: &str, attempt: u32) -> PathBuf {
    line_dir(root, line, attempt).with_extension("json")
}

fn required() -> bool {
    let required = std::env::var("CONCUR_BRIDGE_REQUIRE").unwrap_or_default();
    required.split(',').any(|word| word.trim() == "faults")
}

/// What all attempts share.
struct Runner<'o> {
    options: &'o Options,
    /// Where the proxy of each line listens.
    listener: TcpListener,
    skips_fail: bool,
}

impl Runner<'_> {
    /// Runs one line in a process of its own, reports how it ended, and leaves a clean place for the next.
    fn attempt(&self, line: &&Line, attempt: Attempt) -> Outcome<Ending> {
        let Options { root, long, .. } = self.options;
        let number = attempt.number();
        let limit = if *long { LONG_LINE_LIMIT } else { LINE_LIMIT };
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["--line", line.name])
            .args(self.options.of_a_line().split_whitespace())
            .args(["--attempt", &number.to_string(), "--dir"])
            .arg(root)
            .env(
                patience::VARIABLE,
                (patience::factor() * attempt.factor()).to_string(),
            )
            .stdin(OwnedFd::from(self.listener.try_clone()?));
        let start = Instant::now();
        let result = result_file(root, line.name, number);
        let ending = attempt::run(
            &mut command,
            &result,
            patience::patience(limit.mul_f64(attempt.factor())),
        )?;
        self.tell(line, attempt, &ending, start.elapsed());
        let dir = line_dir(root, line.name, number);
        match ending {
            // What cannot be deleted is swept with the whole directory.
            Ending::Passed(_) | Ending::Skipped(_) => drop(std::fs::remove_dir_all(dir)),
            // The line may have left the shared node stopped, and nodes of its own running.
            Ending::Broken(_) | Ending::NotShown(_) => {
                Kafka::remove(&shared_kafka(root))?;
                for entry in std::fs::read_dir(dir).into_iter().flatten() {
                    Kafka::remove(&entry?.path())?;
                }
            }
        }
        Ok(ending)
    }

    fn tell(&self, line: &Line, attempt: Attempt, ending: &Ending, took: Duration) {
        let (name, fault, took) = (line.name, line.fault, took.as_secs_f64());
        let replay = self.options.replay(name);
        match ending {
            Ending::Passed(figure) => {
                println!("line {name:<10} ok      {took:6.1} s  {fault}: {figure}");
            }
            Ending::Skipped(reason) => println!("line {name:<10} skipped: {reason}"),
            Ending::Broken(found) => {
                println!("line {name:<10} FAILED  {took:6.1} s  broken promise: {fault}: {found}");
                println!("     replay: {replay}");
            }
            Ending::NotShown(reason) if attempt == Attempt::First => {
                println!("line {name:<10} not shown {took:4.1} s  {fault}: {reason}");
                println!(
                    "     it runs once more at the end, with every deadline doubled; replay: {replay}"
                );
            }
            Ending::NotShown(reason) => {
                println!(
                    "line {name:<10} FAILED  {took:6.1} s  not shown, twice: {fault}: {reason}"
                );
                println!("     replay: {replay}");
            }
        }
    }
}
