//! The process ends at each named step of append, publish, commit and start, each also twice in a row.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use crate::arena::Arena;
use crate::runner::Line;
use crate::support::bridge::Bridge;
use crate::support::failure::{Doing, Failure, Outcome, ensure_shown};
use crate::support::oracle::Promises;
use crate::support::sender::Load;
use crate::support::traffic::Form;
use crate::support::wait;
use crate::trial::Trial;

pub(crate) const LINE: Line = Line {
    name: "2",
    promise: "No step between a postback and its position is one at which to die would lose or double",
    fault: "the process ends at each named step, twice in a row",
    how: "failpoints (feature `failpoints`, compiled only for tests): every `failpoint!` in `src`, under load",
    possible,
    run,
};

const VARIABLE: &str = "CONCUR_BRIDGE_FAILPOINT";

/// How long until a step is reached under load.
const REACH_LIMIT: Duration = Duration::from_secs(60);

/// Bytes of the log at which the journal checkpoints, so that one comes every few commits.
const CHECKPOINT_BYTES: (&str, &str) = ("CONCUR_BRIDGE_CHECKPOINT_BYTES", "16384");

fn possible() -> Outcome {
    ensure_shown(cfg!(feature = "failpoints"), || {
        "needs --features failpoints, as dev/faults has it".into()
    })
}

fn run(arena: &Arena) -> Outcome<String> {
    let mut rng = arena.rng("2");
    let runs = arena.cycles(1, 25);
    let steps = steps(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")))?;
    ensure_shown(!steps.is_empty(), || "there is no failpoint in src".into())?;
    let mut replica = arena.replica("2", "bridge-0")?;
    // So that retention has something to do within the line.
    replica.set_text("journal.retain_for", "100ms");
    replica.set_text("journal.retain_size", "0B");
    let (name, value) = CHECKPOINT_BYTES;
    replica.env.insert(name.to_owned(), value.to_owned());
    let mut trial = Trial::begin(arena, replica)?;
    let mut load = Load::new(1, rng.next()).at_rate(200);
    load.forms = &[Form::Itinerary, Form::Profile, Form::Fop, Form::Ess];
    let sender = load.start(&trial.target);
    let mut deaths = 0_u32;
    for _ in 0..runs {
        for step in &steps {
            trial.bridge.kill9()?;
            for time in ["once", "twice"] {
                // A step of the start is passed once a life.
                let nth = if step.contains(".start.")
                    || step.contains("init")
                    || step.contains("first")
                {
                    1
                } else {
                    1 + rng.below(4)
                };
                trial
                    .replica
                    .env
                    .insert(VARIABLE.to_owned(), format!("{step}:{nth}"));
                trial.bridge = trial.replica.spawn()?;
                dies(&mut trial.bridge, &trial.target).doing(format!("{step}, {time}"))?;
                deaths += 1;
            }
            trial.replica.env.remove(VARIABLE);
            trial.restart().doing(format!("start after {step}"))?;
            trial
                .wait_flow(REACH_LIMIT, 20)
                .doing(format!("after {step}"))?;
        }
    }
    let log = sender.finish()?;
    let verdict = trial.settle(&log, Promises::ALL)?;
    Ok(format!("{} steps, {deaths} deaths; {verdict}", steps.len()))
}

/// Waits until the process has died of its failpoint; once it is ready, the load goes there.
fn dies(bridge: &mut Bridge, target: &crate::support::sender::Target) -> Outcome {
    let mut sent_there = false;
    let status = wait::until(REACH_LIMIT, "the step to be reached", || {
        if !sent_there && let Some(line) = bridge.log_line("ready") {
            target.set(crate::support::bridge::parse_ready(&line, Duration::ZERO)?.ingress);
            sent_there = true;
        }
        bridge.process.ended()
    })?;
    match status.code() {
        None => Ok(()),
        Some(code) => Err(Failure::broken(format!(
            "ended with {code} instead of dying: {}",
            bridge.last_words()
        ))),
    }
}

/// The names in every `failpoint!("…")` below `dir`: one that is added is tried without being listed here.
fn steps(dir: &Path) -> Outcome<BTreeSet<String>> {
    let mut steps = BTreeSet::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            steps.extend(self::steps(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path)?;
            steps.extend(
                text.split("failpoint!(\"")
                    .skip(1)
                    .filter_map(|rest| rest.split('"').next())
                    .map(str::to_owned),
            );
        }
    }
    Ok(steps)
}
