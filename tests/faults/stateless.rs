//! The stateless mode: no disk, a 2xx only when all in-sync replicas have the event. The same faults, judged by the
//! promise that it makes: nothing is lost; a request without a 2xx may appear.

use std::time::{Duration, Instant};

use crate::arena::Arena;
use crate::runner::{Line, anywhere};
use crate::support::failure::{Doing, Outcome, ensure};
use crate::support::oracle::Promises;
use crate::support::proxy::{PRODUCE, Strike};
use crate::support::sender::{Load, quantile};
use crate::support::wait;
use crate::trial::{Trial, stop};

pub(crate) const LINE: Line = Line {
    name: "stateless",
    promise: "acknowledge_after = \"kafka\": a 2xx is in Kafka; 503 the moment it cannot be",
    fault: "kill -9, SIGTERM, replies lost, broker down and back",
    how: "the faults of lines 1, 7, 8 and 16 one after the other, one load",
    possible: anywhere,
    run,
};

const LIMIT: Duration = Duration::from_secs(60);

fn run(arena: &Arena) -> Outcome<String> {
    let mut rng = arena.rng("stateless");
    let cycles = arena.cycles(5, 200);
    let proxy = arena.proxy()?;
    proxy.calm();
    let mut replica = arena.replica("stateless", "bridge-0")?;
    replica.set_text("kafka.brokers", proxy.address());
    // Both key files must be given in this mode: a run with a journal makes them.
    stop(&replica.start()?)?;
    std::fs::remove_dir_all(replica.journal())?;
    replica.set_text("ingress.acknowledge_after", "kafka");
    replica.set_text("ingress.kafka_ack_timeout", "2s");
    let mut trial = Trial::begin(arena, replica)?;
    ensure(!trial.replica.journal().exists(), || {
        "the stateless mode made a journal".into()
    })?;
    let sender = Load::new(1, rng.next()).at_rate(200).start(&trial.target);

    for _ in 0..cycles {
        wait::pause(rng.between(Duration::from_millis(50), Duration::from_millis(500)));
        trial.bridge.kill9()?;
        trial.restart()?;
    }
    for _ in 0..cycles {
        let before = proxy.struck();
        proxy.strike(PRODUCE, Strike::Cut, 1);
        proxy
            .wait_struck(before + 1, LIMIT)
            .doing("waiting for a produce request")?;
    }
    proxy.calm();
    wait::pause(Duration::from_millis(200));
    stop(&trial.bridge).doing("under load")?;
    trial.restart()?;

    let healthy_from = sender.elapsed();
    wait::pause(Duration::from_secs(2));
    let healthy_to = sender.elapsed();
    arena.kafka()?.tell("kill 1")?;
    let down = Instant::now();
    let shed = sender.shed();
    trial.wait(LIMIT, "postbacks to be refused", || {
        sender.shed() > shed + 10
    })?;
    let refused_after = down.elapsed();
    trial.wait_unready(LIMIT)?;
    arena.kafka()?.tell("start 1")?;
    let (back, accepted) = (Instant::now(), sender.accepted());
    trial.wait(LIMIT, "postbacks to be accepted again", || {
        sender.accepted() > accepted + 50
    })?;
    let healed_after = back.elapsed();

    let log = sender.finish()?;
    let verdict = trial.settle(&log, Promises::STATELESS)?;
    Ok(format!(
        "{cycles} kills, {cycles} lost replies; p99 {:.1} ms; 503 within {} ms of the broker's end, accepting {} ms after its return; {verdict}",
        quantile(&log, healthy_from, healthy_to, 0.99).as_secs_f64() * 1e3,
        refused_after.as_millis(),
        healed_after.as_millis(),
    ))
}
