//! SIGTERM under load, with Kafka down, with an answer that stays open; a second SIGTERM.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::arena::Arena;
use crate::runner::{Line, anywhere};
use crate::support::failure::{Doing, Outcome, ensure};
use crate::support::oracle::Promises;
use crate::support::sender::{Fate, Load, Sent};
use crate::support::traffic::{self, Form, Key, Tag};
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
    let sender = Load::new(1, rng.next()).at_rate(500).start(&trial.target);

    let mut log = Vec::new();
    let mut under_load = Duration::ZERO;
    for _ in 0..cycles {
        wait::pause(rng.between(Duration::from_millis(100), Duration::from_millis(600)));
        under_load = under_load.max(stop(&mut trial, 0)?);
        trial.restart()?;
    }
    let in_flight = answers_what_is_in_flight(&mut trial, &mut log)?;
    trial.restart()?;
    let second = a_second_signal_ends_at_once(&mut trial, &mut log)?;
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

/// A request of which the last byte has not come.
struct OpenRequest {
    stream: TcpStream,
    tag: Tag,
    last: u8,
}

impl OpenRequest {
    fn begin(trial: &Trial, run: u32) -> Outcome<Self> {
        let tag = Tag {
            key: Key {
                form: Form::Fop,
                run,
                worker: 0,
                index: 0,
            },
            n: 1,
        };
        let mut bytes = traffic::request(tag, 0);
        let last = bytes.pop().doing("an empty request")?;
        let mut stream = TcpStream::connect(trial.bridge.ready()?.ingress)?;
        stream.set_read_timeout(Some(Duration::from_secs(15)))?;
        stream.write_all(&bytes)?;
        // Nothing tells from outside that the head has been read; it takes microseconds.
        wait::pause(Duration::from_millis(200));
        Ok(Self { stream, tag, last })
    }

    fn unanswered(&self) -> Sent {
        Sent {
            tag: self.tag,
            fate: Fate::Unanswered,
            at: Duration::ZERO,
            took: Duration::ZERO,
        }
    }
}

/// SIGTERM, and readiness that goes before the process does.
fn ask_to_stop(trial: &Trial) -> Outcome {
    trial.bridge.process.signal(Signal::TERM)?;
    wait::until(
        Duration::from_secs(5),
        "/readyz to say 503 before the end",
        || Ok((trial.bridge.readyz()?.0 == 503).then_some(())),
    )
}

/// The open request is answered, then the process ends with 0.
fn answers_what_is_in_flight(trial: &mut Trial, log: &mut Vec<Sent>) -> Outcome<Duration> {
    let mut request = OpenRequest::begin(trial, 2)?;
    log.push(request.unanswered());
    ask_to_stop(trial)?;
    request.stream.write_all(&[request.last])?;
    let mut answer = [0; 12];
    let read = request.stream.read_exact(&mut answer);
    read.doing("the request that was open at SIGTERM got no answer")?;
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
fn a_second_signal_ends_at_once(trial: &mut Trial, log: &mut Vec<Sent>) -> Outcome<Duration> {
    let request = OpenRequest::begin(trial, 3)?;
    log.push(request.unanswered());
    ask_to_stop(trial)?;
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
