//! SIGTERM under load, with Kafka down, with an answer that stays open; a second SIGTERM.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::arena::Arena;
use crate::runner::Line;
use crate::support::bridge::STOP_LIMIT;
use crate::support::failure::{Doing, Outcome, ensure, ensure_shown};
use crate::support::open_request::OpenRequest;
use crate::support::oracle::Promises;
use crate::support::sender::{Fate, Load, Sent};
use crate::support::traffic::{Form, Key, Tag};
use crate::support::wait;
use crate::trial::{Trial, stop};

pub(crate) const LINE: Line = Line {
    name: "16",
    promise: "An orderly stop answers what is in flight, ends in time and loses nothing",
    fault: "SIGTERM under load, with Kafka down, with an open request; a second SIGTERM",
    how: "signals",
    possible,
    run,
};

/// The connection of an open request ends so many milliseconds after the process is asked to stop, half a second without
/// this.
const STOPPING_GRACE: (&str, &str) = ("CONCUR_BRIDGE_STOPPING_GRACE_MS", "3600000");

const LIMIT: Duration = Duration::from_secs(60);

fn possible() -> Outcome {
    ensure_shown(cfg!(feature = "failpoints"), || {
        "needs --features failpoints, as dev/faults has it".into()
    })
}

fn run(arena: &Arena) -> Outcome<String> {
    let mut rng = arena.rng("16");
    let cycles = arena.cycles(3, 50);
    let mut trial = Trial::begin(arena, arena.replica("16", "bridge-0")?)?;
    let sender = Load::new(1, rng.next()).at_rate(500).start(&trial.target);

    let mut log = Vec::new();
    let mut under_load = Duration::ZERO;
    for _ in 0..cycles {
        wait::pause(rng.between(Duration::from_millis(100), Duration::from_millis(600)));
        under_load = under_load.max(stop(&trial.bridge)?);
        trial.restart()?;
    }
    log.extend(sender.finish()?);

    // Without other load, so that the gauge tells when a head was read. No limit of the bridge ends an open request: only
    // its client and the second signal do.
    let usual = trial.replica.clone();
    let (name, value) = STOPPING_GRACE;
    trial.replica.env.insert(name.to_owned(), value.to_owned());
    trial.replica.set_text("ingress.body_timeout", "1h");
    trial.replica.set_text("shutdown.drain_deadline", "1h");
    stop(&trial.bridge)?;
    trial.restart()?;
    let in_flight = answers_what_is_in_flight(&trial, &mut log)?;
    trial.restart()?;
    let second = a_second_signal_ends_at_once(&trial, &mut log)?;
    trial.replica = usual;
    trial.restart()?;

    let sender = Load::new(4, rng.next()).at_rate(500).start(&trial.target);
    arena.kafka()?.tell("stop 1")?;
    let before = sender.accepted();
    trial.wait(LIMIT, "postbacks accepted without Kafka", || {
        sender.accepted() > before + 300
    })?;
    let without_kafka = stop(&trial.bridge).doing("with Kafka down")?;
    arena.kafka()?.tell("start 1")?;
    trial.restart()?;

    log.extend(sender.finish()?);
    let verdict = trial.settle(&log, Promises::ALL)?;
    Ok(format!(
        "under load at most {} ms, with an open request {} ms after its end, second signal {} ms, with Kafka down {} ms; {verdict}",
        under_load.as_millis(),
        in_flight.as_millis(),
        second.as_millis(),
        without_kafka.as_millis()
    ))
}

/// A request that is open, and of which the head has been read.
fn open_request(trial: &Trial, run: u32) -> Outcome<OpenRequest> {
    let key = Key {
        form: Form::Fop,
        run,
        worker: 0,
        index: 0,
    };
    let request = OpenRequest::begin(trial.bridge.ready()?.ingress, Tag { key, n: 1 })?;
    // From the end of its head a request is in flight; it is the only one.
    wait::until(LIMIT, "the request to be in flight", || {
        let in_flight = trial
            .bridge
            .metric("concur_bridge_ingress_in_flight_requests")?;
        Ok((in_flight > 0.0).then_some(()))
    })?;
    Ok(request)
}

/// SIGTERM, and readiness that goes before the process does.
fn ask_to_stop(trial: &Trial) -> Outcome {
    trial.bridge.process.signal(Signal::TERM)?;
    trial.wait_unready(LIMIT)
}

/// The open request is answered, then the process ends with 0.
fn answers_what_is_in_flight(trial: &Trial, log: &mut Vec<Sent>) -> Outcome<Duration> {
    let request = open_request(trial, 2)?;
    ask_to_stop(trial)?;
    let sent = request.end()?;
    ensure(matches!(sent.fate, Fate::Accepted(_)), || {
        format!("the request that was open at SIGTERM got {:?}", sent.fate)
    })?;
    log.push(sent);
    let start = Instant::now();
    let code = trial.bridge.process.wait_exit(STOP_LIMIT)?;
    ensure(code == 0, || {
        format!(
            "ended with {code} after all was answered: {}",
            trial.bridge.last_words()
        )
    })?;
    Ok(start.elapsed())
}

/// An open request keeps the process; the second SIGTERM ends it with 6.
fn a_second_signal_ends_at_once(trial: &Trial, log: &mut Vec<Sent>) -> Outcome<Duration> {
    let request = open_request(trial, 3)?;
    log.push(request.unanswered());
    ask_to_stop(trial)?;
    trial.bridge.goes_on()?;
    let start = Instant::now();
    let code = trial.bridge.stop().doing("second SIGTERM")?;
    ensure(code == 6, || {
        format!("the second SIGTERM ended with {code} instead of 6")
    })?;
    Ok(start.elapsed())
}
