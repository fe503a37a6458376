//! The disk says no: fsync fails, a write fails.

use std::time::Duration;

use crate::arena::Arena;
use crate::runner::Line;
use crate::support::disk::{Meddling, can_trace};
use crate::support::failure::{Doing, Outcome, ensure, ensure_shown};
use crate::support::oracle::Promises;
use crate::support::sender::Load;
use crate::trial::Trial;

pub(crate) const LINE: Line = Line {
    name: "4",
    promise: "A failed fsync is final: no 2xx for that batch, no second fsync, exit 4, and a clean restart",
    fault: "fsync EIO, write ENOSPC, write EIO",
    how: "strace changes the system calls of the running process",
    possible: can_trace,
    run,
};

const WAIT_LIMIT: Duration = Duration::from_secs(30);

const CASES: [(&str, &str); 4] = [
    ("fsync EIO", "fsync,fdatasync:error=EIO"),
    ("fsync ENOSPC", "fsync,fdatasync:error=ENOSPC"),
    ("write EIO", "pwrite64,write,writev:error=EIO"),
    ("write ENOSPC", "pwrite64,write,writev:error=ENOSPC"),
];

fn run(arena: &Arena) -> Outcome<String> {
    let mut rng = arena.rng("4");
    let runs = arena.cycles(1, 10);
    let mut trial = Trial::begin(arena, arena.replica("4", "bridge-0")?)?;
    let sender = Load::new(1, rng.next()).at_rate(400).start(&trial.target);
    let mut codes = Vec::new();
    for run in 0..runs {
        for (case, inject) in CASES {
            let accepted = sender.accepted();
            trial.wait(WAIT_LIMIT, "postbacks to be accepted", || {
                sender.accepted() > accepted + 50
            })?;
            codes.push(
                fail(
                    &mut trial,
                    inject,
                    &arena.dir("4").join(format!("strace-{run}-{}", codes.len())),
                )
                .doing(case)?,
            );
            trial.restart().doing(format!("restart after {case}"))?;
        }
    }
    let log = sender.finish()?;
    let verdict = trial.settle(&log, Promises::ALL)?;
    Ok(format!(
        "{} cases, each exit 4 with no further fsync, and a clean restart; {verdict}",
        codes.len()
    ))
}

/// Lets the calls that write the journal fail until the process ends.
fn fail(trial: &mut Trial, inject: &str, log: &std::path::Path) -> Outcome<i32> {
    let journal = trial.replica.journal();
    let meddling = Meddling::on_files(trial.bridge.process.id(), inject, &journal, log)?;
    let ended = trial.bridge.process.wait_exit(WAIT_LIMIT);
    let failed = meddling.injected_by_thread()?;
    // The copier of the log may be at work when the writer's sync fails, and its own then fails as well.
    if inject.starts_with("fsync") {
        ensure(failed.values().all(|failed| *failed <= 1), || {
            format!(
                "a thread synced again after its sync had failed; failed syncs by thread: {failed:?}"
            )
        })?;
    }
    let code = ended?;
    ensure(code == 4, || {
        format!("exit {code} instead of 4: {}", trial.bridge.last_words())
    })?;
    ensure_shown(failed.values().sum::<usize>() > 0, || {
        "no call was made to fail".into()
    })?;
    Ok(code)
}
