//! The power goes under load: what was not synced is gone, what was answered is not.

use std::time::Duration;

use crate::arena::Arena;
use crate::runner::Line;
use crate::support::disk::{LoopDisk, can_mount};
use crate::support::failure::{Doing, Outcome};
use crate::support::oracle::Promises;
use crate::support::sender::Load;
use crate::support::wait;
use crate::trial::{Trial, quantile};

pub(crate) const LINE: Line = Line {
    name: "3",
    promise: "What was answered 2xx survives a power cut, and the start needs no hand",
    fault: "power loss",
    how: "the journal on a loop-mounted ext4 that is shut down without a flush under load, unmounted, mounted again",
    possible: can_mount,
    run,
};

fn run(arena: &Arena) -> Outcome<String> {
    let mut rng = arena.rng("3");
    let cycles = arena.cycles(5, 200);
    let mut replica = arena.replica("3", "bridge-0")?;
    let disk = LoopDisk::make(&arena.dir("3"), 256)?;
    replica.set_text("journal.dir", disk.path().join("journal").display());
    replica.set_text("journal.min_free", "16MiB");
    let mut trial = Trial::begin(arena, replica)?;
    let sender = Load::new(1, rng.next()).at_rate(400).start(&trial.target);
    let mut recovery = Vec::new();
    for cycle in 1..=cycles {
        wait::pause(rng.between(Duration::from_millis(50), Duration::from_millis(900)));
        disk.lose_power()?;
        trial.bridge.process.kill9()?;
        disk.restore_power()?;
        recovery.push(
            trial
                .restart()
                .doing(format!("start after power cut {cycle}"))?
                .after,
        );
    }
    let log = sender.finish()?;
    let verdict = trial.settle(&log, Promises::ALL)?;
    Ok(format!(
        "{cycles} power cuts, ready again p50 {} ms; {verdict}",
        quantile(&recovery, 0.5).as_millis()
    ))
}
