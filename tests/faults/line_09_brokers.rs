//! Three brokers: each killed, stopped and paused in turn, leaders moved.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::arena::Arena;
use crate::runner::{Line, anywhere};
use crate::support::bridge::{Bridge, Replica};
use crate::support::failure::{Doing, Failure, Outcome, ensure};
use crate::support::kafka::Kafka;
use crate::support::oracle::Promises;
use crate::support::sender::{Load, Target};
use crate::support::wait;
use crate::trial::{Trial, stop};

pub(crate) const LINE: Line = Line {
    name: "9",
    promise: "One of three brokers at a time may go: exactly once, in order",
    fault: "a broker killed, restarted, paused; leaders moved",
    how: "three nodes on loopback, min.insync.replicas 2, one fault after the other under load",
    possible: anywhere,
    run,
};

/// How long publishing may stand still: a broker's session, an election, the client's backoff and retries.
const RECOVERY_LIMIT: Duration = Duration::from_secs(90);

fn run(arena: &Arena) -> Outcome<String> {
    let mut rng = arena.rng("9");
    let runs = arena.cycles(3, 100);
    let kafka = Kafka::up(&arena.dir("9").join("kafka"), 3, &[])?;
    let replica = Replica::new(
        &arena.dir("9").join("bridge-0"),
        "bridge-0",
        &kafka.bootstrap,
        "line-9",
    )?;
    let trial = Trial::on(arena, replica, &kafka.bootstrap)?;
    let sender = Load::new(1, rng.next()).at_rate(200).start(&trial.target);
    let mut slowest = Duration::ZERO;
    for run in 0..runs {
        let node = run % 3 + 1;
        let start = Instant::now();
        let doing = match run % 4 {
            0 => format!("kill {node}"),
            1 => format!("stop {node}"),
            2 => format!("pause {node}"),
            _ => "leader-election --election-type preferred --all-topic-partitions".to_owned(),
        };
        kafka.tell(&doing)?;
        trial.wait_flow(RECOVERY_LIMIT, 100).doing(&doing)?;
        slowest = slowest.max(start.elapsed());
        match run % 4 {
            0 | 1 => drop(kafka.tell(&format!("start {node}"))?),
            2 => drop(kafka.tell(&format!("cont {node}"))?),
            _ => {}
        }
        trial.bridge.goes_on().doing(&doing)?;
        if run + 1 < runs {
            in_sync(&kafka).doing(&doing)?;
        }
    }
    let log = sender.finish()?;
    let verdict = trial.settle(&log, Promises::ALL)?;
    in_sync(&kafka)?;
    let healed = leaderless(arena, &kafka)?;
    Ok(format!(
        "{runs} faults, reading on after at most {:.1} s; {verdict}; a partition without a leader is waited for, {:.1} s after its return all is well",
        slowest.as_secs_f64(),
        healed.as_secs_f64()
    ))
}

/// No session begins while a partition has no leader: Kafka 4.3 would end a transaction without its marker there. Returns how
/// long the bridge took once there was one.
fn leaderless(arena: &Arena, kafka: &Kafka) -> Outcome<Duration> {
    let replica = Replica::new(
        &arena.dir("9").join("leaderless"),
        "leaderless",
        &kafka.bootstrap,
        "line-9-leaderless",
    )?;
    kafka.tell("topics --create --topic line-9-leaderless.other --replica-assignment 2")?;
    kafka.tell("stop 2")?;
    wait::until(RECOVERY_LIMIT, "the partition to have no leader", || {
        let unavailable = kafka.tell("topics --describe --unavailable-partitions")?;
        Ok(unavailable
            .contains("line-9-leaderless.other")
            .then_some(()))
    })?;
    let bridge = replica.start()?;
    let degraded = || -> Outcome<Value> { Ok(bridge.readyz()?.1["degraded"].clone()) };
    wait::until(RECOVERY_LIMIT, "the partition to be named", || {
        no_session(&bridge)?;
        let named = "topic line-9-leaderless.other partition 0: ";
        let named = bridge.process.output().contains(named);
        Ok((named && degraded()? == json!(["kafka_down"])).then_some(()))
    })?;
    serves_without_transactions(&replica)?;
    no_session(&bridge)?;
    let start = Instant::now();
    kafka.tell("start 2")?;
    wait::until(RECOVERY_LIMIT, "publishing to begin", || {
        Ok((degraded()? == json!([])).then_some(()))
    })?;
    let healed = start.elapsed();
    stop(&bridge)?;
    Ok(healed)
}

/// The bridge calls Kafka reachable once nothing keeps it from beginning a session.
fn no_session(bridge: &Bridge) -> Outcome {
    match bridge.log_line("kafka is reachable") {
        None => Ok(()),
        Some(line) => Err(Failure::broken(format!(
            "a session began although a partition has no leader: {line}"
        ))),
    }
}

/// Without transactions only what goes to that partition would wait: all else is taken in and acknowledged by Kafka.
fn serves_without_transactions(replica: &Replica) -> Outcome {
    let mut replica = replica.clone();
    replica.set_text("ingress.acknowledge_after", "kafka");
    let bridge = replica.start()?;
    let target = Target::default();
    target.set(bridge.ready()?.ingress);
    let sender = Load::new(1, 9).at_rate(50).start(&target);
    wait::until(RECOVERY_LIMIT, "Kafka to acknowledge", || {
        bridge.goes_on()?;
        Ok((sender.accepted() >= 50).then_some(()))
    })?;
    sender.finish()?;
    ensure(
        bridge.process.output().contains("partition 0: no leader"),
        || "a partition without a leader was not warned of".into(),
    )?;
    stop(&bridge).map(drop)
}

/// The next fault may come only when this one has healed: two of three at once is another promise.
fn in_sync(kafka: &Kafka) -> Outcome {
    wait::until(RECOVERY_LIMIT, "all replicas to be in sync", || {
        Ok(kafka
            .tell("topics --describe --under-replicated-partitions")?
            .trim()
            .is_empty()
            .then_some(()))
    })
}
