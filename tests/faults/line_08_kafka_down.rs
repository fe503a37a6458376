//! Every broker down while postbacks go on, then back.

use std::time::Duration;

use crate::arena::Arena;
use crate::runner::{Line, anywhere};
use crate::support::failure::{Outcome, ensure, ensure_shown};
use crate::support::oracle::Promises;
use crate::support::sender::{Fate, Load, quantile};
use crate::support::wait;
use crate::trial::Trial;

pub(crate) const LINE: Line = Line {
    name: "8",
    promise: "A Kafka outage is invisible to Concur",
    fault: "all brokers down at full ingest, then back",
    how: "the broker is stopped and started again under load",
    possible: anywhere,
    run,
};

const LIMIT: Duration = Duration::from_secs(60);

fn run(arena: &Arena) -> Outcome<String> {
    let mut rng = arena.rng("8");
    let outage = Duration::from_secs(if arena.long { 180 } else { 8 });
    let trial = Trial::begin(arena, arena.replica("8", "bridge-0")?)?;
    let mut load = Load::new(1, rng.next())
        .at_rate(if arena.long { 2_000 } else { 300 })
        .over(16);
    load.body_bytes = 550;
    let sender = load.start(&trial.target);

    // The first second warms up.
    wait::pause(Duration::from_secs(1));
    let healthy_from = sender.elapsed();
    wait::pause(outage.min(Duration::from_secs(20)) / 2);
    let healthy_to = sender.elapsed();
    let resident_before = trial.bridge.process.resident_kib()?;

    arena.kafka()?.tell("stop 1")?;
    let down_from = sender.elapsed();
    wait::pause(outage);
    let down_to = sender.elapsed();
    let resident_after = trial.bridge.process.resident_kib()?;
    trial.wait_degraded(LIMIT)?;
    let backlog = trial
        .bridge
        .metric("concur_bridge_journal_backlog_records")?;
    ensure_shown(backlog > 0.0, || {
        "nothing has piled up: Kafka was not down".into()
    })?;

    arena.kafka()?.tell("start 1")?;
    let up = std::time::Instant::now();
    let log = sender.finish()?;
    let waiting = trial
        .bridge
        .metric("concur_bridge_journal_backlog_records")?;
    trial.bridge.wait_published(Duration::from_secs(120))?;
    let drained = up.elapsed();
    let verdict = trial.settle(&log, Promises::ALL)?;

    let count = |fate| log.iter().filter(|sent| sent.fate == fate).count();
    let (refused, unanswered) = (count(Fate::Shed), count(Fate::Unanswered));
    ensure(refused == 0, || {
        format!("{refused} of {} requests were refused", log.len())
    })?;
    ensure_shown(unanswered == 0, || {
        format!(
            "{unanswered} of {} requests got no answer in time",
            log.len()
        )
    })?;
    let (healthy, down) = (
        quantile(&log, healthy_from, healthy_to, 0.99),
        quantile(&log, down_from, down_to, 0.99),
    );
    Ok(format!(
        "down {} s: every request 200, p99 {:.1} ms ({:.1} ms healthy), resident {resident_before} → {resident_after} KiB; \
         {waiting} waiting drained within {:.1} s of the broker's return; {verdict}",
        outage.as_secs(),
        down.as_secs_f64() * 1e3,
        healthy.as_secs_f64() * 1e3,
        drained.as_secs_f64(),
    ))
}
