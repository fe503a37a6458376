//! More than the bridge can take, over 2,000 connections.

use std::time::Duration;

use crate::arena::Arena;
use crate::runner::{Line, anywhere};
use crate::support::failure::{Outcome, ensure};
use crate::support::open_request::{OpenRequest, post_once};
use crate::support::oracle::Promises;
use crate::support::sender::{Fate, Load, Sent, quantile};
use crate::support::traffic::{Form, Key, Tag};
use crate::support::wait;
use crate::trial::Trial;

pub(crate) const LINE: Line = Line {
    name: "15",
    promise: "Overload is shed by 503; what is accepted is kept",
    fault: "2,000 connections, each as fast as it is answered",
    how: "max_in_flight = 64: 64 requests are held open and the next is shed; then a load generator",
    possible: anywhere,
    run,
};

const MAX_IN_FLIGHT: u32 = 64;

const LIMIT: Duration = Duration::from_secs(60);

fn run(arena: &Arena) -> Outcome<String> {
    let mut rng = arena.rng("15");
    let time = Duration::from_secs(if arena.long { 60 } else { 2 });
    let mut replica = arena.replica("15", "bridge-0")?;
    replica.set("ingress.max_in_flight", MAX_IN_FLIGHT);
    // The requests that are held open stay so until the line ends them.
    replica.set_text("ingress.body_timeout", "1h");
    let trial = Trial::begin(arena, replica)?;

    let measure = |run: u32, connections: u32, seed: u64| -> Outcome<_> {
        let mut load = Load::new(run, seed).over(connections);
        load.keys = 2;
        load.rest = Duration::from_millis(100);
        let sender = load.start(&trial.target);
        wait::pause(Duration::from_secs(1));
        let (from, accepted) = (sender.elapsed(), sender.accepted());
        wait::pause(time);
        let rate = (sender.accepted() - accepted) as f64 / (sender.elapsed() - from).as_secs_f64();
        let to = sender.elapsed();
        let shed = sender.shed();
        let resident = trial.bridge.process.resident_kib()?;
        let log = sender.finish()?;
        Ok((rate, quantile(&log, from, to, 0.99), shed, resident, log))
    };
    let mut log = shed_when_full(&trial)?;
    let (healthy_rate, healthy_p99, _, healthy_resident, healthy) = measure(1, 64, rng.next())?;
    log.extend(healthy);
    let (rate, p99, shed, resident, overloaded) = measure(2, 2_000, rng.next())?;
    log.extend(overloaded);
    let verdict = trial.settle(&log, Promises::ALL)?;

    Ok(format!(
        "full: one more shed, all others answered 200; 64 connections: {healthy_rate:.0}/s, p99 {:.1} ms; 2,000: {rate:.0}/s accepted, p99 {:.0} ms, {shed} shed, resident {healthy_resident} → {resident} KiB; {verdict}",
        healthy_p99.as_secs_f64() * 1e3,
        p99.as_secs_f64() * 1e3,
    ))
}

/// Holds as many requests open as may be in flight: one more is shed, and those are answered once they are whole.
fn shed_when_full(trial: &Trial) -> Outcome<Vec<Sent>> {
    let ingress = trial.bridge.ready()?.ingress;
    let tag = |worker| Tag {
        key: Key {
            form: Form::Fop,
            run: 3,
            worker,
            index: 0,
        },
        n: 1,
    };
    let held = (0..MAX_IN_FLIGHT)
        .map(|worker| OpenRequest::begin(ingress, tag(worker)))
        .collect::<Outcome<Vec<_>>>()?;
    wait::until(LIMIT, "all requests to be in flight", || {
        let in_flight = trial
            .bridge
            .metric("concur_bridge_ingress_in_flight_requests")?;
        Ok((in_flight >= f64::from(MAX_IN_FLIGHT)).then_some(()))
    })?;
    let one_more = post_once(ingress, tag(MAX_IN_FLIGHT))?;
    ensure(one_more.fate == Fate::Shed, || {
        format!(
            "with {MAX_IN_FLIGHT} in flight one more got {:?}",
            one_more.fate
        )
    })?;
    let mut log = vec![one_more];
    for request in held {
        let sent = request.end()?;
        ensure(matches!(sent.fate, Fate::Accepted(_)), || {
            format!("a request that was in flight got {:?}", sent.fate)
        })?;
        log.push(sent);
    }
    Ok(log)
}
