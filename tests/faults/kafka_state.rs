//! State of Kafka that went wrong behind the bridge's back: each has a defined, loud answer, and none loses an event.

use std::time::Duration;

use serde_json::Value;

use crate::arena::Arena;
use crate::runner::{Line, anywhere};
use crate::support::failure::{Doing, Outcome, ensure};
use crate::support::oracle::Promises;
use crate::support::sender::{Load, Sent};
use crate::support::wait;
use crate::trial::{STOP_LIMIT, Trial};

pub(crate) const LINE: Line = Line {
    name: "kafka-state",
    promise: "Kafka's state gone wrong is answered loudly, and nothing is lost",
    fault: "positions topic deleted, emptied; journal rolled back, replaced; partitions added; clock two hours ahead and back",
    how: "done to a stopped or a running bridge, then load again",
    possible: anywhere,
    run,
};

const LIMIT: Duration = Duration::from_secs(60);

fn run(arena: &Arena) -> Outcome<String> {
    let cases: [(&str, Case); 6] = [
        ("partitions added", partitions_added),
        ("clock ahead", clock_ahead),
        ("positions deleted", positions_deleted),
        ("positions emptied", positions_emptied),
        ("journal rolled back", journal_rolled_back),
        ("journal replaced", journal_replaced),
    ];
    let mut figures = Vec::new();
    for (name, case) in cases {
        let mut rng = arena.rng(name);
        let slug = name.replace(' ', "-");
        let mut replica = arena.replica("kafka-state", &slug)?;
        for stream in [
            "itinerary",
            "fop",
            "profile",
            "other",
            "quarantine",
            "positions",
        ] {
            replica.set_text(&format!("topics.{stream}"), format!("{slug}.{stream}"));
        }
        let trial = Trial::begin(arena, replica)?;
        let log = load(&trial, 1, rng.next()).doing(name)?;
        trial.bridge.wait_published(LIMIT).doing(name)?;
        figures.push(format!(
            "{name}: {}",
            case(arena, trial, log, rng.next()).doing(name)?
        ));
    }
    Ok(figures.join("; "))
}

/// What is done to a trial that has published everything of this log; the seed is for more load.
type Case = fn(&Arena, Trial, Vec<Sent>, u64) -> Outcome<String>;

/// Some hundred postbacks.
fn load(trial: &Trial, run: u32, seed: u64) -> Outcome<Vec<Sent>> {
    let sender = Load::new(run, seed).at_rate(1_000).start(&trial.target);
    wait::until_true(LIMIT, "postbacks to be accepted", || {
        sender.accepted() >= 300
    })?;
    sender.finish()
}

fn stop(trial: &mut Trial) -> Outcome {
    let code = trial.bridge.stop(STOP_LIMIT)?;
    ensure(code == 0, || format!("stopped with {code}"))
}

fn positions_topic(trial: &Trial) -> String {
    trial
        .replica
        .config
        .get("topics.positions")
        .map(|topic| topic.trim_matches('"').to_owned())
        .unwrap_or_default()
}

/// Whether the log has a warning or an error.
fn is_loud(trial: &Trial) -> bool {
    trial
        .bridge
        .process
        .output()
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .any(|line| {
            matches!(
                line.get("level").and_then(Value::as_str),
                Some("WARN" | "ERROR")
            )
        })
}

/// Restarts, sends more, and judges.
fn go_on(
    mut trial: Trial,
    mut log: Vec<Sent>,
    seed: u64,
    promises: Promises,
    loud: bool,
) -> Outcome<String> {
    trial.restart()?;
    log.extend(load(&trial, 2, seed)?);
    trial.wait_read(&log)?;
    ensure(!loud || is_loud(&trial), || "the log has no warning".into())?;
    Ok(trial.settle(&log, promises)?.to_string())
}

fn partitions_added(arena: &Arena, trial: Trial, mut log: Vec<Sent>, seed: u64) -> Outcome<String> {
    let topic = trial
        .replica
        .topics()
        .into_iter()
        .next()
        .doing("no topic")?;
    arena
        .kafka()?
        .tell(&format!("topics --alter --topic {topic} --partitions 9"))?;
    log.extend(load(&trial, 2, seed)?);
    // Keys move when partitions are added: order holds within each partition, which is how it is judged.
    Ok(trial.settle(&log, Promises::ALL)?.to_string())
}

/// The clock is two hours ahead for a while. Publishing has to wait for its return: librdkafka's waits are of a kind that
/// libfaketime does not move along, so under it they last two hours.
fn clock_ahead(_: &Arena, mut trial: Trial, mut log: Vec<Sent>, seed: u64) -> Outcome<String> {
    stop(&mut trial)?;
    trial.replica.clock = Some("+2h".to_owned());
    trial.restart()?;
    log.extend(load(&trial, 3, seed)?);
    trial.bridge.process.kill9()?;
    trial.replica.clock = None;
    go_on(trial, log, seed, Promises::ALL, false)
}

fn positions_deleted(
    arena: &Arena,
    mut trial: Trial,
    log: Vec<Sent>,
    seed: u64,
) -> Outcome<String> {
    stop(&mut trial)?;
    arena.kafka()?.tell(&format!(
        "topics --delete --topic {}",
        positions_topic(&trial)
    ))?;
    go_on(trial, log, seed, Promises::ALL, true)
}

fn positions_emptied(
    arena: &Arena,
    mut trial: Trial,
    log: Vec<Sent>,
    seed: u64,
) -> Outcome<String> {
    stop(&mut trial)?;
    let offsets = trial.replica.dir.join("offsets.json");
    let topic = positions_topic(&trial);
    std::fs::write(
        &offsets,
        format!(
            r#"{{"partitions":[{{"topic":"{topic}","partition":0,"offset":-1}}],"version":1}}"#
        ),
    )?;
    let kafka = arena.kafka()?;
    // Only what may be deleted can be emptied.
    kafka.tell(&format!("configs --alter --entity-type topics --entity-name {topic} --add-config cleanup.policy=[compact,delete]"))?;
    kafka.tell(&format!(
        "delete-records --offset-json-file {}",
        offsets.display()
    ))?;
    go_on(trial, log, seed, Promises::ALL, false)
}

/// A backup is put back: what was accepted after it is not in the journal any more, but in Kafka.
fn journal_rolled_back(
    _: &Arena,
    mut trial: Trial,
    mut log: Vec<Sent>,
    seed: u64,
) -> Outcome<String> {
    stop(&mut trial)?;
    let (journal, backup) = (trial.replica.journal(), trial.replica.dir.join("backup"));
    copy(&journal, &backup)?;
    trial.restart()?;
    log.extend(load(&trial, 3, seed)?);
    trial.bridge.wait_published(LIMIT)?;
    stop(&mut trial)?;
    std::fs::remove_dir_all(&journal)?;
    copy(&backup, &journal)?;
    // It may repeat, and never skips. What comes in before Kafka's position was read is numbered as what the backup
    // lacks was: such positions are there twice, with different ids.
    let promises = Promises {
        once: false,
        positions: false,
        ..Promises::ALL
    };
    go_on(trial, log, seed, promises, true)
}

fn journal_replaced(_: &Arena, mut trial: Trial, log: Vec<Sent>, seed: u64) -> Outcome<String> {
    stop(&mut trial)?;
    std::fs::remove_dir_all(trial.replica.journal())?;
    go_on(trial, log, seed, Promises::ALL, true)
}

fn copy(from: &std::path::Path, to: &std::path::Path) -> Outcome {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}
