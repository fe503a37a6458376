//! More than the bridge can take, over 2,000 connections.

use std::time::Duration;

use crate::arena::Arena;
use crate::runner::{Line, anywhere};
use crate::support::failure::{Outcome, ensure};
use crate::support::oracle::Promises;
use crate::support::sender::{Load, quantile};
use crate::support::wait;
use crate::trial::Trial;

pub(crate) const LINE: Line = Line {
    name: "15",
    promise: "Overload is shed by 503; what is accepted is answered in bounded time, memory stays flat",
    fault: "2,000 connections, each as fast as it is answered",
    how: "load generator; max_in_flight = 512, so that a quarter of the connections fills it",
    possible: anywhere,
    run,
};

/// Buffers of 2,000 connections are not a leak; one more copy of the load would be.
const GROWTH_LIMIT_KIB: u64 = 96 * 1024;

fn run(arena: &Arena) -> Outcome<String> {
    let mut rng = arena.rng("15");
    let time = Duration::from_secs(if arena.long { 60 } else { 2 });
    let mut replica = arena.replica("15", "bridge-0")?;
    replica.set("ingress.max_in_flight", 512);
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
    let (healthy_rate, healthy_p99, _, healthy_resident, mut log) = measure(1, 64, rng.next())?;
    let (rate, p99, shed, resident, overloaded) = measure(2, 2_000, rng.next())?;
    log.extend(overloaded);
    let verdict = trial.settle(&log, Promises::ALL)?;

    ensure(shed > 0, || {
        "nothing was shed: there was no overload".into()
    })?;
    ensure(rate > healthy_rate / 4.0, || {
        format!("{rate:.0} accepted a second under overload, {healthy_rate:.0} without")
    })?;
    ensure(p99 < Duration::from_secs(10), || {
        format!("accepted p99 {p99:?} under overload")
    })?;
    let growth = resident.saturating_sub(healthy_resident);
    ensure(growth < GROWTH_LIMIT_KIB, || {
        format!("resident memory grew by {growth} KiB under overload")
    })?;
    Ok(format!(
        "64 connections: {healthy_rate:.0}/s, p99 {:.1} ms; 2,000: {rate:.0}/s accepted, p99 {:.0} ms, {shed} shed, resident {healthy_resident} → {resident} KiB; {verdict}",
        healthy_p99.as_secs_f64() * 1e3,
        p99.as_secs_f64() * 1e3,
    ))
}
