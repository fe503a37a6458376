//! A disk that takes its time for every fsync.

use std::time::{Duration, Instant};

use crate::arena::Arena;
use crate::runner::Line;
use crate::support::disk::{Meddling, can_trace};
use crate::support::failure::{Outcome, ensure, ensure_shown};
use crate::support::oracle::Promises;
use crate::support::sender::{Load, quantile};
use crate::support::wait;
use crate::trial::{self, Trial};

pub(crate) const LINE: Line = Line {
    name: "14",
    promise: "A slow disk slows answers, not health, and batches grow instead of queues",
    fault: "every fsync takes 300 ms; 2 s",
    how: "strace delays the system calls of the running process, 64 connections",
    possible: can_trace,
    run,
};

fn run(arena: &Arena) -> Outcome<String> {
    let mut rng = arena.rng("14");
    let trial = Trial::begin(arena, arena.replica("14", "bridge-0")?)?;
    let mut log = Vec::new();
    let mut figures = Vec::new();
    for (run, delay) in [(1, Duration::from_millis(300)), (2, Duration::from_secs(2))] {
        let sender = Load::new(run, rng.next()).over(64).start(&trial.target);
        let inject = format!("fsync,fdatasync:delay_enter={}", delay.as_micros());
        let records = |trial: &Trial| -> Outcome<(f64, f64)> {
            Ok((
                trial
                    .bridge
                    .metric("concur_bridge_journal_batch_records_sum")?,
                trial
                    .bridge
                    .metric("concur_bridge_journal_batch_records_count")?,
            ))
        };
        let meddling = Meddling::on_files(
            trial.bridge.process.id(),
            &inject,
            &trial.replica.journal(),
            &arena.dir("14").join(format!("strace-{run}")),
        )?;
        meddling.wait_injected(Duration::from_secs(60))?;
        let before = records(&trial)?;
        let from = sender.elapsed();
        let mut health = Vec::new();
        while sender.elapsed() < from + delay * 4 {
            let start = Instant::now();
            let answer = trial.bridge.admin("/livez")?;
            health.push(start.elapsed());
            ensure(answer.status == 200, || {
                format!("/livez says {} on a slow disk", answer.status)
            })?;
            wait::pause(Duration::from_millis(20));
        }
        let to = sender.elapsed();
        let after = records(&trial)?;
        drop(meddling);
        let answers = sender.finish()?;
        let batch = (after.0 - before.0) / (after.1 - before.1).max(1.0);
        ensure_shown(batch > 1.0, || {
            format!("batches of {batch:.1} records with 64 connections: they did not grow")
        })?;
        let health = trial::quantile(&health, 0.99);
        figures.push(format!(
            "{} ms per fsync: answers p99 {} ms, batches of {batch:.0}, /livez p99 {:.1} ms",
            delay.as_millis(),
            quantile(&answers, from, to, 0.99).as_millis(),
            health.as_secs_f64() * 1e3
        ));
        log.extend(answers);
    }
    let verdict = trial.settle(&log, Promises::ALL)?;
    Ok(format!("{}; {verdict}", figures.join("; ")))
}
