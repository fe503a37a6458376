//! State of Kafka that went wrong behind the bridge's back: each has a defined, loud answer, and none loses an event.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rustix::process::Signal;
use serde_json::Value;

use crate::arena::Arena;
use crate::runner::{Line, anywhere};
use crate::support::bridge::Replica;
use crate::support::failure::{Doing, Outcome, ensure};
use crate::support::kafka::Kafka;
use crate::support::oracle::Promises;
use crate::support::patience::patience;
use crate::support::sender::{Load, Sent};
use crate::support::wait;
use crate::trial::{Trial, stop};

pub(crate) const LINE: Line = Line {
    name: "kafka-state",
    promise: "Kafka's state gone wrong is answered loudly, and nothing is lost",
    fault: "positions topic deleted, emptied, blocked by a foreign open transaction; journal rolled back, replaced; transactional id expired; our own transaction timed out; partitions added; clock two hours ahead and back",
    how: "done to a stopped or a running bridge, then load again",
    possible: anywhere,
    run,
};

/// A backup may repeat, and never skips; no position is used twice.
const REPEATS: Promises = Promises {
    once: false,
    ..Promises::ALL
};

const LIMIT: Duration = Duration::from_secs(60);

fn run(arena: &Arena) -> Outcome<String> {
    let cases: [(&str, Case); 8] = [
        ("partitions added", partitions_added),
        ("clock ahead", clock_ahead),
        ("positions deleted", positions_deleted),
        ("positions emptied", positions_emptied),
        ("journal rolled back", journal_rolled_back),
        ("journal replaced", journal_replaced),
        ("rolled back twice", rolled_back_without_kafka),
        ("positions blocked", positions_blocked),
    ];
    let mut figures = Vec::new();
    for (name, case) in cases {
        let kafka = arena.kafka()?;
        figures.push(play(arena, kafka, name, case).doing(name)?);
    }
    // A coordinator that forgets within seconds what takes it a week, and looks for it twice a second.
    let impatient = [
        "transactional.id.expiration.ms=15000",
        "transaction.remove.expired.transaction.cleanup.interval.ms=500",
        "transaction.abort.timed.out.transaction.cleanup.interval.ms=500",
    ];
    let options: Vec<String> = impatient
        .iter()
        .flat_map(|property| ["--property".to_owned(), (*property).to_owned()])
        .collect();
    let kafka = Kafka::up(&arena.dir(LINE.name).join("kafka"), 1, &options)?;
    let mut cases: Vec<(&str, Case)> = vec![("id expired", id_expired)];
    if cfg!(feature = "failpoints") {
        cases.push(("own transaction timed out", own_transaction_timed_out));
    }
    for (name, case) in cases {
        figures.push(play(arena, &kafka, name, case).doing(name)?);
    }
    Ok(figures.join("; "))
}

/// One case, on topics of its own.
fn play(arena: &Arena, kafka: &Kafka, name: &str, case: Case) -> Outcome<String> {
    let mut rng = arena.rng(name);
    let slug = name.replace(' ', "-");
    let dir = arena.dir(LINE.name).join(&slug);
    let replica = Replica::new(&dir, &slug, &kafka.bootstrap, &slug)?;
    let trial = Trial::on(arena, replica, &kafka.bootstrap)?;
    let log = load(&trial, 1, rng.next())?;
    trial.bridge.wait_published(LIMIT)?;
    Ok(format!("{name}: {}", case(kafka, trial, log, rng.next())?))
}

/// What is done to a trial that has published everything of this log; the seed is for more load.
type Case = fn(&Kafka, Trial, Vec<Sent>, u64) -> Outcome<String>;

/// Some hundred postbacks.
fn load(trial: &Trial, run: u32, seed: u64) -> Outcome<Vec<Sent>> {
    let sender = Load::new(run, seed).at_rate(1_000).start(&trial.target);
    trial.wait(LIMIT, "postbacks to be accepted", || {
        sender.accepted() >= 300
    })?;
    sender.finish()
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

fn partitions_added(kafka: &Kafka, trial: Trial, mut log: Vec<Sent>, seed: u64) -> Outcome<String> {
    let topic = trial
        .replica
        .topics()
        .into_iter()
        .next()
        .doing("no topic")?;
    kafka.tell(&format!("topics --alter --topic {topic} --partitions 9"))?;
    log.extend(load(&trial, 2, seed)?);
    // Keys move when partitions are added: order holds within each partition, which is how it is judged.
    Ok(trial.settle(&log, Promises::ALL)?.to_string())
}

/// The clock is two hours ahead for a while. Publishing has to wait for its return, which is libfaketime's doing and not
/// the bridge's: see [`shift_clock`](crate::support::process::shift_clock).
fn clock_ahead(_: &Kafka, mut trial: Trial, mut log: Vec<Sent>, seed: u64) -> Outcome<String> {
    stop(&trial.bridge)?;
    trial.replica.clock = Some("+2h".to_owned());
    trial.restart()?;
    log.extend(load(&trial, 3, seed)?);
    trial.bridge.kill9()?;
    trial.replica.clock = None;
    go_on(trial, log, seed, Promises::ALL, false)
}

fn positions_deleted(kafka: &Kafka, trial: Trial, log: Vec<Sent>, seed: u64) -> Outcome<String> {
    stop(&trial.bridge)?;
    let topic = positions_topic(&trial);
    kafka.tell(&format!("topics --delete --topic {topic}"))?;
    go_on(trial, log, seed, Promises::ALL, true)
}

fn positions_emptied(kafka: &Kafka, trial: Trial, log: Vec<Sent>, seed: u64) -> Outcome<String> {
    stop(&trial.bridge)?;
    let offsets = trial.replica.dir.join("offsets.json");
    let topic = positions_topic(&trial);
    std::fs::write(
        &offsets,
        format!(
            r#"{{"partitions":[{{"topic":"{topic}","partition":0,"offset":-1}}],"version":1}}"#
        ),
    )?;
    // Only what may be deleted can be emptied.
    kafka.tell(&format!("configs --alter --entity-type topics --entity-name {topic} --add-config cleanup.policy=[compact,delete]"))?;
    kafka.tell(&format!(
        "delete-records --offset-json-file {}",
        offsets.display()
    ))?;
    go_on(trial, log, seed, Promises::ALL, false)
}

/// Puts a backup back: what was accepted after it is not in the journal any more, but in Kafka.
fn roll_back(trial: &mut Trial, log: &mut Vec<Sent>, seed: u64) -> Outcome {
    stop(&trial.bridge)?;
    let (journal, backup) = (trial.replica.journal(), trial.replica.dir.join("backup"));
    copy(&journal, &backup)?;
    trial.restart()?;
    log.extend(load(trial, 3, seed)?);
    trial.bridge.wait_published(LIMIT)?;
    stop(&trial.bridge)?;
    std::fs::remove_dir_all(&journal)?;
    copy(&backup, &journal)
}

fn journal_rolled_back(
    _: &Kafka,
    mut trial: Trial,
    mut log: Vec<Sent>,
    seed: u64,
) -> Outcome<String> {
    roll_back(&mut trial, &mut log, seed)?;
    go_on(trial, log, seed, REPEATS, true)
}

/// A backup is put back while Kafka is away: a whole life of the bridge passes before it can know. What it took in then
/// has the numbers of other events in Kafka, and must not be published under them.
fn rolled_back_without_kafka(
    _: &Kafka,
    mut trial: Trial,
    mut log: Vec<Sent>,
    seed: u64,
) -> Outcome<String> {
    roll_back(&mut trial, &mut log, seed)?;
    let brokers = trial.replica.config.get("kafka.brokers").cloned();
    // Nobody listens there.
    trial.replica.set_text("kafka.brokers", "127.0.0.1:1");
    trial.restart()?;
    log.extend(load(&trial, 4, seed.wrapping_add(1))?);
    stop(&trial.bridge)?;
    trial
        .replica
        .set("kafka.brokers", brokers.doing("no brokers")?);
    go_on(trial, log, seed, REPEATS, true)
}

fn journal_replaced(_: &Kafka, trial: Trial, log: Vec<Sent>, seed: u64) -> Outcome<String> {
    stop(&trial.bridge)?;
    std::fs::remove_dir_all(trial.replica.journal())?;
    go_on(trial, log, seed, Promises::ALL, true)
}

/// Somebody else's transaction lies open on the positions topic when the bridge starts. It takes postbacks in, says why it
/// does not publish, and goes on by itself once the transaction ends.
fn positions_blocked(
    kafka: &Kafka,
    mut trial: Trial,
    mut log: Vec<Sent>,
    seed: u64,
) -> Outcome<String> {
    stop(&trial.bridge)?;
    let foreign: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &kafka.bootstrap)
        .set("transactional.id", "somebody-else")
        .set("transaction.timeout.ms", "600000")
        .create()?;
    let limit = patience(LIMIT);
    foreign.init_transactions(limit)?;
    foreign.begin_transaction()?;
    let topic = positions_topic(&trial);
    foreign
        .send(BaseRecord::to(&topic).key("somebody").payload("else"))
        .map_err(|(error, _)| error)?;
    foreign.flush(limit)?;
    trial.restart()?;
    log.extend(load(&trial, 2, seed)?);
    wait::until(LIMIT, "the alarm", || {
        let (status, body) = trial.bridge.readyz()?;
        ensure(status == 200, || format!("not ready: {body}"))?;
        Ok(is_degraded(&body, "positions_blocked").then_some(()))
    })?;
    let published = trial.bridge.metric("concur_bridge_publish_events_total")?;
    ensure(published == 0.0, || {
        format!("{published} published past an open transaction")
    })?;
    foreign.abort_transaction(limit)?;
    trial.wait_read(&log)?;
    wait::until(LIMIT, "the end of the alarm", || {
        let (_, body) = trial.bridge.readyz()?;
        Ok((!is_degraded(&body, "positions_blocked")).then_some(()))
    })?;
    Ok(trial.settle(&log, Promises::ALL)?.to_string())
}

/// The coordinator forgets the idle transactional id of a bridge that runs.
fn id_expired(kafka: &Kafka, trial: Trial, mut log: Vec<Sent>, seed: u64) -> Outcome<String> {
    wait::until(LIMIT, "the transactional id to expire", || {
        let known = kafka.tell("transactions list")?;
        Ok((!known.contains("concur-bridge.")).then_some(()))
    })?;
    log.extend(load(&trial, 2, seed)?);
    Ok(trial.settle(&log, Promises::ALL)?.to_string())
}

/// The bridge is stopped right before a commit for longer than its transaction may last: the broker aborts it and moves
/// the epoch on, which looks like a twin, but is none.
fn own_transaction_timed_out(
    kafka: &Kafka,
    mut trial: Trial,
    mut log: Vec<Sent>,
    seed: u64,
) -> Outcome<String> {
    stop(&trial.bridge)?;
    trial.replica.set(
        "kafka.properties",
        r#"{ "transaction.timeout.ms" = "2000", "socket.timeout.ms" = "2000" }"#,
    );
    let failpoint = "CONCUR_BRIDGE_FAILPOINT".to_owned();
    let step = "stop@publish.before_commit:3".to_owned();
    trial.replica.env.insert(failpoint, step);
    trial.restart()?;
    let sender = Load::new(2, seed).at_rate(300).start(&trial.target);
    trial.bridge.process.wait_stopped(LIMIT)?;
    wait::until(LIMIT, "the transaction to be aborted", || {
        let listed = kafka.tell("transactions list")?;
        let mut ours = listed
            .lines()
            .filter(|line| line.contains("own-transaction"));
        Ok(ours.all(|line| !line.contains("Ongoing")).then_some(()))
    })?;
    trial.bridge.process.signal(Signal::CONT)?;
    wait::until(LIMIT, "the bridge to see it", || {
        let errors = trial.bridge.metric("concur_bridge_publish_errors_total")?;
        Ok((errors > 0.0).then_some(()))
    })?;
    trial.wait(LIMIT, "postbacks to be accepted", || {
        sender.accepted() >= 300
    })?;
    log.extend(sender.finish()?);
    Ok(trial.settle(&log, Promises::ALL)?.to_string())
}

fn is_degraded(body: &Value, code: &str) -> bool {
    let codes = body.get("degraded").and_then(Value::as_array);
    codes.is_some_and(|codes| codes.iter().any(|known| known.as_str() == Some(code)))
}

fn copy(from: &std::path::Path, to: &std::path::Path) -> Outcome {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}
