//! A twin on the same identity: the old one is stopped, in full flow or at a step of its start, its journal copied, a new
//! one started on the copy, the old one continued. And a second process on the same directory.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::arena::Arena;
use crate::runner::{Line, anywhere};
use crate::support::bridge::Bridge;
use crate::support::failure::{Doing, Outcome, ensure};
use crate::support::oracle::Promises;
use crate::support::rng::Rng;
use crate::support::sender::{Load, Sender, Sent, Target};
use crate::support::wait;
use crate::trial::{Trial, quantile};

pub(crate) const LINE: Line = Line {
    name: "6",
    promise: "A twin is fenced: it stops with 5, and nothing is published twice",
    fault: "a second process with the same identity",
    how: "SIGSTOP in full flow, at each step of the start and at random moments of it, copy of the journal directory, start on the copy, SIGCONT; a second start on the same directory",
    possible: anywhere,
    run,
};

/// The steps of the start sequence at which to be stopped.
const STEPS: [&str; 5] = [
    "publish.start.after_first_look",
    "publish.start.before_init",
    "publish.after_init",
    "publish.start.before_first_position",
    "publish.after_first_position",
];

/// How long the old one may take to see that it was fenced: the next transaction tells it.
const FENCE_LIMIT: Duration = Duration::from_secs(60);

fn run(arena: &Arena) -> Outcome<String> {
    let mut rng = arena.rng("6");
    let cycles = arena.cycles(2, 100);
    let first = arena.replica("6", "bridge-0")?;
    let home = first.dir.clone();
    let mut trial = Trial::begin(arena, first)?;
    let locked = the_second_on_the_same_directory_stops(&trial)?;

    let mut log = Vec::new();
    let mut fenced = Vec::new();
    let mut starting = 0;
    for cycle in 1..=cycles {
        let sender = Load::new(cycle * 4, rng.next())
            .at_rate(500)
            .start(&trial.target);
        trial.wait_flow(FENCE_LIMIT, 50)?;
        wait::pause(rng.between(Duration::ZERO, Duration::from_millis(600)));
        // Stopped in full flow: an open transaction, answers on the way.
        let stopped = sender.elapsed();
        trial.bridge.process.stop_whole(FENCE_LIMIT)?;
        let takeover = Takeover {
            home: &home,
            name: format!("journal-{cycle}"),
            seed: rng.next(),
            run: cycle * 4 + 1,
        };
        fenced.push(takeover.happens(&mut trial, sender, stopped, &mut log)?);

        // The next one is stopped while it starts, with a backlog behind it that its predecessor left.
        let sender = Load::new(cycle * 4 + 2, rng.next())
            .at_rate(500)
            .start(&trial.target);
        trial.wait_flow(FENCE_LIMIT, 50)?;
        let stopped = sender.elapsed();
        trial.bridge.kill9()?;
        let step = STEPS
            .get(rng.below(2 * STEPS.len() as u64) as usize)
            .filter(|_| cfg!(feature = "failpoints"));
        let doing = step.map_or("stopped while starting".to_owned(), |step| {
            format!("stopped at {step}")
        });
        trial.bridge = stopped_while_starting(&trial, step, &mut rng).doing(&doing)?;
        starting += 1;
        let takeover = Takeover {
            home: &home,
            name: format!("journal-{cycle}-start"),
            seed: rng.next(),
            run: cycle * 4 + 3,
        };
        fenced.push(
            takeover
                .happens(&mut trial, sender, stopped, &mut log)
                .doing(&doing)?,
        );
    }
    let verdict = trial.settle(&log, Promises::ALL)?;
    Ok(format!(
        "{cycles} runs in full flow, {starting} while starting, fenced within p50 {} ms, max {} ms of SIGCONT; second start on the same directory exits 5 after {} ms; {verdict}",
        quantile(&fenced, 0.5).as_millis(),
        quantile(&fenced, 1.0).as_millis(),
        locked.as_millis(),
    ))
}

/// Starts the process anew; it is stopped at this step, or at a random moment around its first position record.
fn stopped_while_starting(trial: &Trial, step: Option<&&str>, rng: &mut Rng) -> Outcome<Bridge> {
    let Some(step) = step else {
        let mut bridge = trial.replica.spawn()?;
        bridge.wait_ready(FENCE_LIMIT)?;
        wait::pause(rng.between(Duration::ZERO, Duration::from_millis(400)));
        bridge.process.stop_whole(FENCE_LIMIT)?;
        return Ok(bridge);
    };
    let mut replica = trial.replica.clone();
    replica
        .env
        .insert("CONCUR_BRIDGE_FAILPOINT".to_owned(), format!("stop@{step}"));
    let bridge = replica.spawn()?;
    bridge.process.wait_stopped(FENCE_LIMIT)?;
    Ok(bridge)
}

/// What happens after every thread of the old one was stopped, so that the copy of its journal is not torn: a twin takes over, and the old one, continued, must leave.
struct Takeover<'a> {
    home: &'a Path,
    /// Of the copied directory.
    name: String,
    seed: u64,
    /// Of what is sent to the old one alone.
    run: u32,
}

impl Takeover<'_> {
    /// Returns how long the old one took to leave.
    fn happens(
        self,
        trial: &mut Trial,
        sender: Sender,
        stopped: Duration,
        log: &mut Vec<Sent>,
    ) -> Outcome<Duration> {
        let mut twin = trial.replica.clone();
        twin.set_text("journal.dir", self.home.join(self.name).display());
        copy_directory(&trial.replica.journal(), &twin.journal())?;
        let mut old = std::mem::replace(&mut trial.bridge, twin.start()?);
        trial.replica = twin;
        trial.target.set(trial.bridge.ready()?.ingress);
        // Until here requests went to the old one.
        let switched = sender.elapsed();
        // The twin has taken over once it publishes; before that the old one would still be the owner.
        wait::until(FENCE_LIMIT, "the twin to publish", || {
            let published = trial.bridge.metric("concur_bridge_publish_events_total")?;
            Ok((published > 0.0).then_some(()))
        })?;

        old.process.signal(Signal::CONT)?;
        let start = Instant::now();
        // Something to publish, else it may have no reason to ask Kafka for anything. One that was stopped while
        // starting may end before it has a port.
        let strayed = Target::default();
        if let Ok(ready) = old.wait_ready(FENCE_LIMIT) {
            strayed.set(ready.ingress);
        }
        let mut stray = Load::new(self.run, self.seed).at_rate(200);
        stray.patience = Duration::from_secs(2);
        let stray = stray.start(&strayed);
        let code = old
            .process
            .wait_exit(FENCE_LIMIT)
            .doing("the old one is to stop");
        let took = start.elapsed();
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
        trial.bridge.goes_on().doing("the twin")?;
        Ok(took)
    }
}

fn the_second_on_the_same_directory_stops(trial: &Trial) -> Outcome<Duration> {
    let start = Instant::now();
    let second = trial.replica.spawn()?;
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
