//! A disk that is full: while running, at the start, and for good when the floor is switched off.

use std::time::{Duration, Instant};

use crate::arena::Arena;
use crate::runner::Line;
use crate::support::disk::{LoopDisk, can_mount};
use crate::support::failure::{Doing, Failure, Outcome, ensure};
use crate::support::oracle::Promises;
use crate::support::sender::{Load, Sender};
use crate::support::wait;
use crate::trial::{Trial, stop};

pub(crate) const LINE: Line = Line {
    name: "12",
    promise: "A full disk is a 503 before it is an error, and heals by itself",
    fault: "disk full while running, at start, and past the floor",
    how: "the journal on a loop-mounted ext4 of 96 MiB that is filled and relieved, min_free = 16MiB",
    possible: can_mount,
    run,
};

const MEBIBYTE: u64 = 1 << 20;
/// Postbacks of a kilobyte that the pages which the journal has already cannot hold.
const TOO_MANY: u64 = 5_000;
const HEAL_LIMIT: Duration = Duration::from_secs(60);

fn run(arena: &Arena) -> Outcome<String> {
    let mut rng = arena.rng("12");
    let mut replica = arena.replica("12", "bridge-0")?;
    let disk = LoopDisk::make(&arena.dir("12"), 96)?;
    replica.set_text("journal.dir", disk.path().join("journal").display());
    replica.set_text("journal.min_free", "16MiB");
    replica.set_text("journal.max_size", "64MiB");
    let mut trial = Trial::begin(arena, replica)?;
    let mut load = Load::new(1, rng.next()).at_rate(500);
    load.body_bytes = 1_000;
    let sender = load.start(&trial.target);
    accepts(&trial, &sender)?;

    // Below the floor, with room left: nothing has failed yet.
    disk.fill(12 * MEBIBYTE)?;
    let refused_after = refuses(&trial, &sender)?;
    trial.wait_unready(HEAL_LIMIT)?;
    disk.relieve()?;
    let healed_after = accepts(&trial, &sender).doing("after room was made")?;

    // A start below the floor serves, and refuses.
    disk.fill(12 * MEBIBYTE)?;
    trial.bridge.kill9()?;
    trial.restart().doing("starting on a full disk")?;
    refuses(&trial, &sender)?;
    disk.relieve()?;
    accepts(&trial, &sender).doing("started on a full disk, after room was made")?;

    // Without a floor the error itself: then it ends with 4, or refuses; what was answered is there afterwards.
    trial.replica.set_text("journal.min_free", "0B");
    stop(&trial.bridge)?;
    trial.restart()?;
    accepts(&trial, &sender)?;
    disk.fill(0)?;
    let shed = sender.shed();
    let start = Instant::now();
    let ending = wait::until(HEAL_LIMIT, "the full disk to be felt", || {
        match trial.bridge.process.ended()? {
            Some(status) => match status.code() {
                Some(4) => Ok(Some(Some(4))),
                _ => Err(Failure::broken(format!(
                    "a full disk ended the bridge, {status}: {}",
                    trial.bridge.last_words()
                ))),
            },
            None if sender.shed() > shed + 20 => Ok(Some(None)),
            None => Ok(None),
        }
    })?;
    let felt_after = start.elapsed();
    disk.relieve()?;
    if ending.is_some() {
        trial.restart()?;
    }
    accepts(&trial, &sender).doing("after a disk without a single free byte")?;

    let log = sender.finish()?;
    let verdict = trial.settle(&log, Promises::ALL)?;
    Ok(format!(
        "floor: 503 after {} ms, accepting {} ms after room was made, also when started so; past the floor {} after {} ms; {verdict}",
        refused_after.as_millis(),
        healed_after.as_millis(),
        ending.map_or("503".to_owned(), |code| format!("exit {code}")),
        felt_after.as_millis()
    ))
}

fn accepts(trial: &Trial, sender: &Sender) -> Outcome<Duration> {
    let (start, before) = (Instant::now(), sender.accepted());
    trial.wait(HEAL_LIMIT, "postbacks to be accepted", || {
        sender.accepted() > before + 20
    })?;
    Ok(start.elapsed())
}

fn refuses(trial: &Trial, sender: &Sender) -> Outcome<Duration> {
    let (start, accepted, shed) = (Instant::now(), sender.accepted(), sender.shed());
    wait::until(HEAL_LIMIT, "postbacks to be refused", || {
        trial.bridge.goes_on()?;
        let more = sender.accepted() - accepted;
        ensure(more < TOO_MANY, || {
            format!("{more} postbacks were accepted below the floor")
        })?;
        Ok((sender.shed() > shed + 20).then_some(()))
    })?;
    Ok(start.elapsed())
}
