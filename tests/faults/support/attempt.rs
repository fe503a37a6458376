//! One attempt at a line, in a process of its own: a crash of one line, librdkafka's included, hides no other line.
//!
//! The process writes its [`Ending`] to a file. A process that leaves none has shown nothing. What it leaves running is
//! killed with its process group.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};

use super::failure::{Doing, Failure, Kind, Outcome};

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// The promise was kept; with the figure.
    Passed(String),
    /// The promise was broken; with what was found.
    Broken(String),
    /// The line has shown nothing; with the reason.
    NotShown(String),
    /// This machine cannot run the line; with the reason.
    Skipped(String),
}

impl Ending {
    /// The ending of a line that ran.
    pub fn of(outcome: Outcome<String>) -> Self {
        match outcome {
            Ok(figure) => Self::Passed(figure),
            Err(Failure { kind, text }) => match kind {
                Kind::BrokenPromise => Self::Broken(text),
                Kind::NotShown => Self::NotShown(text),
            },
        }
    }

    /// Leaves it for the runner.
    pub fn write(&self, path: &Path) -> Outcome {
        std::fs::write(path, serde_json::to_string(self)?).doing("writing the result")
    }

    fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }
}

/// Which attempt at a line it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// With the patience that was asked for.
    First,
    /// After one that has shown nothing: with that patience doubled.
    Second,
}

impl Attempt {
    /// From 1.
    pub fn number(self) -> u32 {
        match self {
            Self::First => 1,
            Self::Second => 2,
        }
    }

    /// What the patience that was asked for is multiplied by.
    pub fn factor(self) -> f64 {
        match self {
            Self::First => 1.0,
            Self::Second => 2.0,
        }
    }
}

/// Attempts every line once, then once more, in the same order, those that have shown nothing. Returns how each ended. A
/// broken promise is final.
pub fn attempt_all<L>(
    lines: &[L],
    mut attempt: impl FnMut(&L, Attempt) -> Outcome<Ending>,
) -> Outcome<Vec<Ending>> {
    let mut endings = Vec::new();
    for line in lines {
        endings.push(attempt(line, Attempt::First)?);
    }
    for (line, ending) in lines.iter().zip(&mut endings) {
        if matches!(ending, Ending::NotShown(_)) {
            *ending = attempt(line, Attempt::Second)?;
        }
    }
    Ok(endings)
}

/// Runs `command`, which writes its ending to `result`, for at most `limit`.
pub fn run(command: &mut Command, result: &Path, limit: Duration) -> Outcome<Ending> {
    let mut child = command
        .process_group(0)
        .spawn()
        .doing("starting the process of a line")?;
    let group = Pid::from_child(&child);
    let (tell, told) = sync_channel(1);
    let waiter = std::thread::spawn(move || tell.send(child.wait()));
    let ended = told.recv_timeout(limit);
    // Bridges and tools that a crashed process leaves behind. Usually there is nobody left, which is an error here.
    let _ = kill_process_group(group, Signal::KILL);
    let _ = waiter.join();
    let status = ended.ok().transpose()?;
    Ok(match (status, Ending::read(result)) {
        (_, Some(broken @ Ending::Broken(_))) => broken,
        (Some(status), Some(ending)) if status.success() => ending,
        (Some(status), _) => Ending::NotShown(format!("the line's own process ended, {status}")),
        (None, _) => Ending::NotShown(format!(
            "the line's own process was killed after {limit:?}, in which it did not end"
        )),
    })
}
