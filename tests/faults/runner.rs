//! The runner: which lines, with which seed, and what is reported of each.
//!
//! A line that passes prints its figure. One that fails prints what was found, the seed, the command that replays it
//! and the directory that holds its journals and logs. One that this machine cannot run says so, and fails where
//! `CONCUR_BRIDGE_REQUIRE` names `faults`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::arena::Arena;
use crate::support::failure::{Doing, Failure, Outcome};

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
}

impl Options {
    /// Reads the arguments after `--run`. A wrong one is told in a sentence.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Outcome<Self> {
        let clock = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let mut options = Self {
            lines: Vec::new(),
            cycles: None,
            // Six digits are enough to differ, and few enough to type.
            seed: (clock % 1_000_000) as u64,
            long: false,
            soak: None,
            markdown: None,
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
                line if !line.starts_with('-') => options.lines.push(line.to_owned()),
                unknown => return Err(Failure(format!("unknown option {unknown}"))),
            }
        }
        Ok(options)
    }

    fn replay(&self, line: &str) -> String {
        let mut command = format!("dev/faults {line} --seed {}", self.seed);
        if let Some(cycles) = self.cycles {
            let _ = write!(command, " --cycles {cycles}");
        }
        if self.long {
            command.push_str(" --long");
        }
        command
    }
}

enum Ending {
    Passed(String),
    Failed(Failure),
    Skipped(Failure),
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
[protections.md](protections.md) shows which line fails when a protection is taken away.

";

/// The head of the table.
const HEADER: &str = "\
| # | promise | fault | how | figure | command |
|---|---|---|---|---|---|
";

/// Runs the lines asked for, all of them when none is.
pub(crate) fn run(lines: &[Line], options: Options) -> Outcome<ExitCode> {
    for name in &options.lines {
        if !lines.iter().any(|line| line.name == name) {
            let known: Vec<&str> = lines.iter().map(|line| line.name).collect();
            return Err(Failure(format!(
                "there is no line {name:?}; there are {}",
                known.join(" ")
            )));
        }
    }
    let required = std::env::var("CONCUR_BRIDGE_REQUIRE").unwrap_or_default();
    let required = required.split(',').any(|word| word.trim() == "faults");
    let arena = Arena::open(&options)?;
    let mut report = format!("{PREFACE}{HEADER}");
    let mut failed = Vec::new();
    println!(
        "fault suite, seed {}, work in {}",
        options.seed,
        arena.root().display()
    );
    for line in lines {
        if !options.lines.is_empty() && !options.lines.iter().any(|name| name == line.name) {
            continue;
        }
        let start = Instant::now();
        let ending = match (line.possible)() {
            Err(reason) => Ending::Skipped(reason),
            Ok(()) => match (line.run)(&arena) {
                Ok(figure) => Ending::Passed(figure),
                Err(failure) => Ending::Failed(failure),
            },
        };
        let took = start.elapsed().as_secs_f64();
        let replay = options.replay(line.name);
        let figure = match ending {
            Ending::Passed(figure) => {
                println!(
                    "line {:<10} ok      {took:6.1} s  {}: {figure}",
                    line.name, line.fault
                );
                arena.forget(line.name);
                figure
            }
            Ending::Failed(Failure(found)) => {
                println!(
                    "line {:<10} FAILED  {took:6.1} s  {}: {found}",
                    line.name, line.fault
                );
                println!("     replay: {replay}");
                failed.push(line.name);
                format!("FAILED: {found}")
            }
            Ending::Skipped(reason) => {
                println!("line {:<10} skipped: {reason}", line.name);
                if required {
                    println!(
                        "     CONCUR_BRIDGE_REQUIRE names `faults`: what is skipped counts as failed"
                    );
                    failed.push(line.name);
                }
                format!("skipped: {reason}")
            }
        };
        let cells = [
            line.name,
            line.promise,
            line.fault,
            line.how,
            &figure.replace('|', "\\|"),
            &format!("`{replay}`"),
        ];
        let _ = writeln!(report, "| {} |", cells.join(" | "));
    }
    if let Some(path) = &options.markdown {
        std::fs::write(path, report).doing(format!("writing {}", path.display()))?;
    }
    if failed.is_empty() {
        println!("all lines passed");
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "failed: {}; their journals and logs are in {}",
        failed.join(" "),
        arena.keep().display()
    );
    Ok(ExitCode::FAILURE)
}
