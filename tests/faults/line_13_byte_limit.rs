//! The journal's byte limit with Kafka down: 503 and nothing else, and it heals when Kafka is back.

use std::time::Duration;

use crate::arena::Arena;
use crate::runner::{Line, anywhere};
use crate::support::failure::{Outcome, ensure};
use crate::support::oracle::Promises;
use crate::support::sender::Load;
use crate::support::wait;
use crate::trial::Trial;

pub(crate) const LINE: Line = Line {
    name: "13",
    promise: "The status code tells the truth: 503 + Retry-After when the journal is full, and it heals",
    fault: "byte limit with Kafka down",
    how: "journal.max_size = 8MiB, the broker stopped under load until postbacks are refused, then started",
    possible: anywhere,
    run,
};

const LIMIT: Duration = Duration::from_secs(90);

const LIMIT_BYTES: u64 = 8 << 20;

/// What the directory may hold beyond the limit: the last group commit, the shared-memory index, the mark.
const SLACK_BYTES: u64 = 2 << 20;

fn run(arena: &Arena) -> Outcome<String> {
    let mut rng = arena.rng("13");
    let mut replica = arena.replica("13", "bridge-0")?;
    replica.set_text("journal.max_size", "8MiB");
    let trial = Trial::begin(arena, replica)?;
    let mut load = Load::new(1, rng.next());
    load.body_bytes = 8_000;
    let sender = load.start(&trial.target);
    trial.wait_flow(LIMIT, 20)?;
    arena.kafka()?.tell("stop 1")?;
    wait::until(LIMIT, "the journal to be full", || {
        trial.bridge.goes_on()?;
        size_within_limit(&trial)?;
        Ok((sender.shed() > 100).then_some(()))
    })?;
    let filled = sender.elapsed();
    trial.wait_unready(LIMIT)?;
    let size = size_within_limit(&trial)?;

    let full = sender.accepted();
    arena.kafka()?.tell("start 1")?;
    let back = std::time::Instant::now();
    trial.wait(LIMIT, "postbacks to be accepted again", || {
        sender.accepted() > full + 100
    })?;
    let healed = back.elapsed();
    let log = sender.finish()?;
    let shed = log
        .iter()
        .filter(|sent| matches!(sent.fate, crate::support::sender::Fate::Shed))
        .count();
    let verdict = trial.settle(&log, Promises::ALL)?;
    Ok(format!(
        "full after {full} postbacks and {:.1} s, {size} bytes on disk; {shed} answered 503 with Retry-After; accepting again {:.1} s after Kafka's return; {verdict}",
        filled.as_secs_f64(),
        healed.as_secs_f64()
    ))
}

fn size_within_limit(trial: &Trial) -> Outcome<u64> {
    let size = directory_bytes(&trial.replica.journal())?;
    ensure(size <= LIMIT_BYTES + SLACK_BYTES, || {
        format!("the journal has {size} bytes, its limit is {LIMIT_BYTES}")
    })?;
    Ok(size)
}

fn directory_bytes(dir: &std::path::Path) -> Outcome<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}
