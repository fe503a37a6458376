//! SIGTERM under load, with Kafka down, with an answer that stays open; a second SIGTERM.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::arena::Arena;
use crate::runner::{Line, anywhere};
use crate::support::failure::{Doing, Outcome, ensure};
use crate::support::oracle::Promises;
use crate::support::sender::Load;
use crate::support::wait;
use crate::trial::{STOP_LIMIT, Trial};

pub(crate) const LINE: Line = Line {
    name: "16",
    promise: "An orderly stop answers what is in flight, ends in time and loses nothing",
    fault: "SIGTERM under load, with Kafka down, with an open request; a second SIGTERM",
    how: "signals",
    possible: anywhere,
    run,
};

fn run(arena: &Arena) -> Outcome<String> {
    let mut rng = arena.rng("16");
    let cycles = arena.cycles(3, 50);
    let mut trial = Trial::begin(arena, arena.replica("16", "bridge-0")?)?;
    let sender = Load::new(1, rng.next()).at_rate(1_500).start(&trial.target);

    let mut under_load = Duration::ZERO;
    for _ in 0..cycles {
        wait::pause(rng.between(Duration::from_millis(100), Duration::from_millis(600)));
        under_load = under_load.max(stop(&mut trial, 0)?);
        trial.restart()?;
    }
    let in_flight = answers_what_is_in_flight(&mut trial)?;
    trial.restart()?;
    let second = a_second_signal_ends_at_once(&mut trial)?;
    trial.restart()?;

    arena.kafka()?.tell("stop 1")?;
    let before = sender.accepted();
    wait::until_true(
        Duration::from_secs(20),
        "postbacks accepted without Kafka",
        || sender.accepted() > before + 300,
    )?;
    let without_kafka = stop(&mut trial, 0);
    arena.kafka()?.tell("start 1")?;
    let without_kafka = without_kafka.doing("with Kafka down")?;
    trial.restart()?;

    let log = sender.finish()?;
    let verdict = trial.settle(&log, Promises::ALL)?;
    Ok(format!(
        "under load at most {} ms, with an open request {} ms after its end, second signal {} ms, with Kafka down {} ms; {verdict}",
        under_load.as_millis(),
        in_flight.as_millis(),
        second.as_millis(),
        without_kafka.as_millis()
    ))
}

/// SIGTERM; the process must end in time with this code.
fn stop(trial: &mut Trial, wanted: i32) -> Outcome<Duration> {
    let start = Instant::now();
    let code = trial.bridge.stop(STOP_LIMIT)?;
    ensure(code == wanted, || {
        format!(
            "stopped with {code} instead of {wanted}: {}",
            trial.bridge.last_words()
        )
    })?;
    Ok(start.elapsed())
}

/// A request whose body has not come in full.
fn open_request(trial: &Trial) -> Outcome<TcpStream> {
    let mut stream = TcpStream::connect(trial.bridge.ready()?.ingress)?;
    stream.set_read_timeout(Some(Duration::from_secs(15)))?;
    stream.write_all(
        b"POST /postback?type=fop&oauth_token_key=open HTTP/1.1\r\nhost: bridge\r\ncontent-length: 1\r\n\r\n",
    )?;
    // The metrics tell when the request has begun; an older answer of this kind of load does as well as a newer one.
    wait::pause(Duration::from_millis(100));
    Ok(stream)
}

/// Readiness goes first, the open request is answered, then the process ends with 0.
fn answers_what_is_in_flight(trial: &mut Trial) -> Outcome<Duration> {
    let mut stream = open_request(trial)?;
    trial.bridge.process.signal(Signal::TERM)?;
    wait::until(
        Duration::from_secs(5),
        "/readyz to say 503 before the end",
        || Ok((trial.bridge.readyz()?.0 == 503).then_some(())),
    )?;
    stream.write_all(b" ")?;
    let mut answer = [0; 12];
    stream
        .read_exact(&mut answer)
        .doing("the request that was open at SIGTERM got no answer")?;
    ensure(&answer == b"HTTP/1.1 200", || {
        format!(
            "the open request got {:?}",
            String::from_utf8_lossy(&answer)
        )
    })?;
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
fn a_second_signal_ends_at_once(trial: &mut Trial) -> Outcome<Duration> {
    let _stream = open_request(trial)?;
    trial.bridge.process.signal(Signal::TERM)?;
    wait::until(Duration::from_secs(5), "/readyz to say 503", || {
        Ok((trial.bridge.readyz()?.0 == 503).then_some(()))
    })?;
    let start = Instant::now();
    let code = trial
        .bridge
        .stop(Duration::from_secs(3))
        .doing("second SIGTERM")?;
    ensure(code == 6, || {
        format!("the second SIGTERM ended with {code} instead of 6")
    })?;
    Ok(start.elapsed())
}
