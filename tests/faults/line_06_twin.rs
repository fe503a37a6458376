//! A twin on the same identity: the old one is stopped, its journal copied, a new one started on the copy, the old
//! one continued. And a second process on the same directory.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::arena::Arena;
use crate::runner::{Line, anywhere};
use crate::support::failure::{Doing, Outcome, ensure};
use crate::support::oracle::Promises;
use crate::support::sender::{Load, Sent, Target};
use crate::support::wait;
use crate::trial::{Trial, quantile};

pub(crate) const LINE: Line = Line {
    name: "6",
    promise: "A twin is fenced: it stops with 5, and nothing is published twice",
    fault: "a second process with the same identity",
    how: "SIGSTOP, copy of the journal directory, start on the copy, SIGCONT; a second start on the same directory",
    possible: anywhere,
    run,
};

/// How long the old one may take to see that it was fenced: the next transaction tells it.
const FENCE_LIMIT: Duration = Duration::from_secs(30);

fn run(arena: &Arena) -> Outcome<String> {
    let mut rng = arena.rng("6");
    let cycles = arena.cycles(2, 100);
    let first = arena.replica("6", "bridge-0")?;
    let home = first.dir.clone();
    let mut trial = Trial::begin(arena, first)?;
    let locked = the_second_on_the_same_directory_stops(&trial)?;

    let mut log = Vec::new();
    let mut fenced = Vec::new();
    for cycle in 1..=cycles {
        let sender = Load::new(cycle * 2, rng.next())
            .at_rate(500)
            .start(&trial.target);
        let seen = trial.follower.count();
        wait::until_true(FENCE_LIMIT, "events to be read", || {
            trial.follower.count() > seen + 50
        })?;
        wait::pause(rng.between(Duration::ZERO, Duration::from_millis(600)));
        // Stopped in full flow: an open transaction, answers on the way.
        let stopped = sender.elapsed();
        trial.bridge.process.signal(Signal::STOP)?;
        let mut twin = trial.replica.clone();
        twin.set_text(
            "journal.dir",
            home.join(format!("journal-{cycle}")).display(),
        );
        copy_directory(&trial.replica.journal(), &twin.journal())?;
        let mut old = std::mem::replace(&mut trial.bridge, twin.start()?);
        trial.replica = twin;
        let new_ingress = trial.bridge.ready()?.ingress;
        let old_ingress = old.ready()?.ingress;
        trial.target.set(new_ingress);
        // Until here requests went to the old one.
        let switched = sender.elapsed();
        // The twin has taken over once it publishes; before that the old one would still be the owner.
        wait::until(FENCE_LIMIT, "the twin to publish", || {
            let published = trial.bridge.metric("concur_bridge_publish_events_total")?;
            Ok((published > 0.0).then_some(()))
        })?;

        old.process.signal(Signal::CONT)?;
        let start = Instant::now();
        // Something to publish, else it has no reason to ask Kafka for anything.
        let strayed = Target::default();
        strayed.set(old_ingress);
        let mut stray = Load::new(cycle * 2 + 1, rng.next()).at_rate(200);
        stray.patience = Duration::from_secs(2);
        let stray = stray.start(&strayed);
        let code = old
            .process
            .wait_exit(FENCE_LIMIT)
            .doing("the old one is to stop");
        fenced.push(start.elapsed());
        // What only the old journal has is for its operator to recover; it must not appear twice.
        log.extend(stray.finish()?.into_iter().map(Sent::unanswered));
        let open = |sent: &Sent| sent.at <= switched && sent.at + sent.took >= stopped;
        log.extend(
            sender
                .finish()?
                .into_iter()
                .map(|sent| if open(&sent) { sent.unanswered() } else { sent }),
        );
        let code = code?;
        ensure(code == 5, || {
            format!(
                "the fenced one stopped with {code} instead of 5: {}",
                old.last_words()
            )
        })?;
        ensure(trial.bridge.process.ended()?.is_none(), || {
            "the twin ended as well".into()
        })?;
    }
    let verdict = trial.settle(&log, Promises::ALL)?;
    Ok(format!(
        "{cycles} runs, fenced within p50 {} ms, max {} ms of SIGCONT; second start on the same directory exits 5 after {} ms; {verdict}",
        quantile(&fenced, 0.5).as_millis(),
        quantile(&fenced, 1.0).as_millis(),
        locked.as_millis(),
    ))
}

fn the_second_on_the_same_directory_stops(trial: &Trial) -> Outcome<Duration> {
    let start = Instant::now();
    let mut second = trial.replica.spawn()?;
    let code = second
        .process
        .wait_exit(FENCE_LIMIT)
        .doing("the second process on one directory")?;
    ensure(code == 5, || {
        format!(
            "the second process ended with {code} instead of 5: {}",
            second.last_words()
        )
    })?;
    Ok(start.elapsed())
}

fn copy_directory(from: &Path, to: &Path) -> Outcome {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}
