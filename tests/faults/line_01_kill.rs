//! kill -9 of the bridge at random moments under load, and a fresh start on the same journal.

use std::time::Duration;

use crate::arena::Arena;
use crate::runner::{Line, anywhere};
use crate::support::failure::Outcome;
use crate::support::oracle::Promises;
use crate::support::sender::Load;
use crate::support::traffic::Form;
use crate::support::wait;
use crate::trial::{Trial, quantile};

pub(crate) const LINE: Line = Line {
    name: "1",
    promise: "A 2xx is durable; exactly once into Kafka, in order of acceptance",
    fault: "kill -9 under load",
    how: "SIGKILL at a random moment, at once a fresh start on the same journal, load going on",
    possible: anywhere,
    run,
};

fn run(arena: &Arena) -> Outcome<String> {
    let mut rng = arena.rng("1");
    let cycles = arena.cycles(20, 1_000);
    let mut trial = Trial::begin(arena, arena.replica("1", "bridge-0")?)?;
    // Paced, so that reading back takes a reasonable time; fast enough that kills hit open commits and transactions.
    let mut load = Load::new(1, rng.next()).at_rate(400);
    load.forms = &[Form::Itinerary, Form::Profile, Form::Fop, Form::Ess];
    let sender = load.start(&trial.target);
    let mut recovery = Vec::new();
    for _ in 0..cycles {
        // From "hardly begun to publish" to "in full flow".
        wait::pause(rng.between(Duration::from_millis(1), Duration::from_millis(600)));
        trial.bridge.kill9()?;
        recovery.push(trial.restart()?.after);
    }
    let log = sender.finish()?;
    let verdict = trial.settle(&log, Promises::ALL)?;
    Ok(format!(
        "{cycles} cycles, ready again p50 {} ms, p99 {} ms; {verdict}",
        quantile(&recovery, 0.5).as_millis(),
        quantile(&recovery, 0.99).as_millis(),
    ))
}
