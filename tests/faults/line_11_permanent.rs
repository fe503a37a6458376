//! Errors that no retry mends: a record too large, a topic that is gone, an ACL that was removed.

use std::time::{Duration, Instant};

use crate::arena::Arena;
use crate::runner::{Line, anywhere};
use crate::support::bridge::Replica;
use crate::support::failure::{Doing, Outcome, ensure, ensure_shown};
use crate::support::kafka::Kafka;
use crate::support::oracle::Promises;
use crate::support::sender::{Fate, Load, Sent};
use crate::support::traffic::Form;
use crate::trial::Trial;

pub(crate) const LINE: Line = Line {
    name: "11",
    promise: "What no retry mends is quarantined or pauses with an alarm; nothing is skipped",
    fault: "record too large, topic deleted, ACL removed",
    how: "max.message.bytes lowered, topic deleted and made again, deny ACL added and removed, under load",
    possible: anywhere,
    run,
};

/// Until /readyz tells: librdkafka asks for a missing topic for 30 s before it gives up.
const ALARM_LIMIT: Duration = Duration::from_secs(60);

fn run(arena: &Arena) -> Outcome<String> {
    Ok(format!(
        "too large: {}. topic deleted: {}. ACL removed: {}",
        too_large(arena).doing("too large")?,
        topic_deleted(arena).doing("topic deleted")?,
        acl_removed(arena).doing("ACL removed")?
    ))
}

fn too_large(arena: &Arena) -> Outcome<String> {
    const FAT: usize = 5;
    let mut rng = arena.rng("11a");
    let mut trial = Trial::begin(arena, arena.replica("11", "large")?)?;
    let sender = Load::new(1, rng.next()).at_rate(150).start(&trial.target);
    let topic = "line-11.itinerary";
    arena.kafka()?.tell(&format!("configs --alter --entity-type topics --entity-name {topic} --add-config max.message.bytes=8000"))?;
    let mut fat = send_fat(&trial, 2, FAT)?;
    trial.bridge.wait_published(ALARM_LIMIT)?;
    // Known from the start, it is not even tried.
    trial.bridge.kill9()?;
    trial.restart()?;
    fat.extend(send_fat(&trial, 3, FAT)?);
    trial.bridge.wait_published(ALARM_LIMIT)?;
    let counted = trial
        .bridge
        .metric("concur_bridge_publish_errors_total{kind=\"too_large\"}")?;
    let told = trial
        .bridge
        .process
        .output()
        .contains("goes to the quarantine");
    ensure(counted >= 1.0 && told, || {
        format!("records that are not even tried are counted {counted} times; in the log: {told}")
    })?;
    let mut log = sender.finish()?;
    let wanted = fat
        .iter()
        .filter(|sent| matches!(sent.fate, Fate::Accepted(_)))
        .count();
    ensure_shown(wanted == fat.len(), || {
        format!("of {} large postbacks {wanted} were accepted", fat.len())
    })?;
    // What became of them is counted by hand: they are not lost, but stubs and copies.
    log.extend(fat.into_iter().map(Sent::unanswered));
    let replica = trial.replica.clone();
    let verdict = trial.settle(&log, Promises::ALL)?;
    let stub = (topic.to_owned(), "too_large".to_owned());
    let stubs = verdict.quarantined.get(&stub).copied().unwrap_or(0);
    ensure(stubs == wanted, || {
        format!("{wanted} records were too large, {stubs} stubs are in {topic}")
    })?;
    let list = ["quarantine", "list", "--json", "--reason", "too_large"];
    let kept = replica.run(&list)?.lines().count();
    ensure(kept == wanted, || {
        format!("{wanted} records were too large, {kept} are in the quarantine")
    })?;
    Ok(format!(
        "{wanted} stubs, as many records in the quarantine; {verdict}"
    ))
}

fn send_fat(trial: &Trial, run: u32, count: usize) -> Outcome<Vec<Sent>> {
    let mut load = Load::new(run, 1).over(1);
    load.keys = 1;
    load.forms = &[Form::Itinerary];
    load.body_bytes = 40_000;
    load.rate = Some(20);
    let sender = load.start(&trial.target);
    trial.wait(ALARM_LIMIT, "large postbacks to be accepted", || {
        sender.accepted() >= count as u64
    })?;
    sender.finish()
}

fn topic_deleted(arena: &Arena) -> Outcome<String> {
    let mut rng = arena.rng("11b");
    let kafka = arena.kafka()?;
    let mut replica = Replica::new(
        &arena.dir("11").join("gone"),
        "gone",
        &kafka.bootstrap,
        "line-11-gone",
    )?;
    replica.set("kafka.create_topics", false);
    let make = |topic: &str| kafka.tell(&format!("topics --create --topic {topic} --partitions 6"));
    for topic in replica.topics() {
        make(&topic)?;
    }
    kafka.tell("topics --create --topic line-11-gone.positions --partitions 1 --config cleanup.policy=compact")?;
    let trial = Trial::begin(arena, replica)?;
    let mut trips = Load::new(1, rng.next()).at_rate(100);
    trips.forms = &[Form::Itinerary];
    let trips = trips.start(&trial.target);
    trial.wait_flow(ALARM_LIMIT, 50)?;
    kafka.tell("topics --delete --topic line-11-gone.fop")?;
    let start = Instant::now();
    let mut fops = Load::new(2, rng.next()).at_rate(50);
    fops.forms = &[Form::Fop];
    let fops = fops.start(&trial.target);
    trial.wait_degraded(ALARM_LIMIT)?;
    let alarm = start.elapsed();
    make("line-11-gone.fop")?;
    let back = Instant::now();
    let mut log = trips.finish()?;
    log.extend(fops.finish()?);
    trial.wait_read(&log)?;
    let healed = back.elapsed();
    let verdict = trial.settle(&log, Promises::ALL)?;
    Ok(format!(
        "alarm after {:.1} s, all published {:.1} s after it was made again; {verdict}",
        alarm.as_secs_f64(),
        healed.as_secs_f64()
    ))
}

fn acl_removed(arena: &Arena) -> Outcome<String> {
    let mut rng = arena.rng("11c");
    let options = ["--sasl".to_owned(), "bridge:secret".to_owned()];
    let kafka = Kafka::up(&arena.dir("11").join("kafka-acl"), 1, &options)?;
    for resource in [
        "--topic *",
        "--transactional-id *",
        "--group *",
        "--cluster",
    ] {
        kafka.tell(&format!(
            "acls --add --allow-principal User:bridge --operation All {resource}"
        ))?;
    }
    let sasl = kafka
        .sasl
        .clone()
        .doing("dev/kafka env names no KAFKA_SASL_BOOTSTRAP")?;
    let mut replica = Replica::new(&arena.dir("11").join("acl"), "acl", &sasl, "line-11-acl")?;
    replica.set(
        "kafka.properties",
        r#"{ "security.protocol" = "SASL_PLAINTEXT", "sasl.mechanism" = "PLAIN", "sasl.username" = "bridge", "sasl.password" = "secret" }"#,
    );
    let trial = Trial::on(arena, replica, &kafka.bootstrap)?;
    let sender = Load::new(1, rng.next()).at_rate(100).start(&trial.target);
    trial.wait_flow(ALARM_LIMIT, 50)?;
    let deny = "--deny-principal User:bridge --operation Write --topic line-11-acl.itinerary";
    kafka.tell(&format!("acls --add {deny}"))?;
    let start = Instant::now();
    trial.wait_degraded(ALARM_LIMIT)?;
    let alarm = start.elapsed();
    kafka.tell(&format!("acls --remove --force {deny}"))?;
    let back = Instant::now();
    let log = sender.finish()?;
    trial.wait_read(&log)?;
    let healed = back.elapsed();
    let verdict = trial.settle(&log, Promises::ALL)?;
    Ok(format!(
        "alarm after {:.1} s, all published {:.1} s after it was granted again; {verdict}",
        alarm.as_secs_f64(),
        healed.as_secs_f64()
    ))
}
