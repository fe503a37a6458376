//! A trial: one bridge with a reader behind it. What most lines do before and after their fault.

use std::time::Duration;

use crate::arena::Arena;
use crate::support::bridge::{Bridge, Ready, Replica};
use crate::support::failure::{Doing, Failure, Outcome, ensure};
use crate::support::observed::Observed;
use crate::support::oracle::{Promises, Verdict, judge, taken_back};
use crate::support::reader::{Follower, Source, read_all};
use crate::support::sender::{Fate, Sent, Target};
use crate::support::wait;

/// How long what was accepted may take to be read, once the fault is over.
const SETTLE_LIMIT: Duration = Duration::from_secs(120);

/// How long an orderly stop may take: the default `drain_deadline`, and a second for the process to end.
pub(crate) const STOP_LIMIT: Duration = Duration::from_secs(11);

/// A bridge that runs, a reader that follows, and where to send.
pub(crate) struct Trial {
    /// What does not change when the process is started anew.
    pub replica: Replica,
    /// The process.
    pub bridge: Bridge,
    /// Where senders send.
    pub target: Target,
    /// The reader.
    pub follower: Follower,
    source: Source,
}

impl Trial {
    /// Starts the replica and a reader on the arena's node.
    pub(crate) fn begin(arena: &Arena, replica: Replica) -> Outcome<Self> {
        let bootstrap = arena.kafka()?.bootstrap.clone();
        Self::on(arena, replica, &bootstrap)
    }

    /// Starts the replica and a reader on these brokers.
    pub(crate) fn on(arena: &Arena, replica: Replica, bootstrap: &str) -> Outcome<Self> {
        let bridge = replica.start()?;
        let target = Target::default();
        target.set(bridge.ready()?.ingress);
        let source = arena.source(&replica, bootstrap)?;
        Ok(Self {
            follower: Follower::start(source.clone()),
            replica,
            bridge,
            target,
            source,
        })
    }

    /// Starts the process anew on the same journal and sends there; the old one must have ended.
    pub(crate) fn restart(&mut self) -> Outcome<Ready> {
        self.bridge = self.replica.start()?;
        let ready = self.bridge.ready()?.clone();
        self.target.set(ready.ingress);
        Ok(ready)
    }

    /// Waits until everything accepted has been read.
    pub(crate) fn wait_read(&self, log: &[Sent]) -> Outcome {
        let accepted = || {
            log.iter()
                .filter(|sent| matches!(sent.fate, Fate::Accepted(_)))
                .map(|sent| &sent.tag)
        };
        wait::until_true(SETTLE_LIMIT, "everything accepted to be read", || {
            self.follower.missing(accepted()) == 0
        })
        .map_err(|Failure(sentence)| {
            Failure(format!(
                "{sentence}: {} are missing",
                self.follower.missing(accepted())
            ))
        })
    }

    /// The end: everything accepted is read, the bridge stops in time with 0, everything is read once more from the
    /// beginning and judged. A verdict that is not clean is a failure.
    pub(crate) fn settle(mut self, log: &[Sent], promises: Promises) -> Outcome<Verdict> {
        // A loss ends this wait as well: the verdict names it.
        let waited = self.wait_read(log);
        self.end()?;
        let verdict = self.judge(log, promises)?;
        waited.map(|()| verdict)
    }

    /// As [`Self::settle`], for a line that judges by itself what was read along the way.
    pub(crate) fn read_along(mut self, log: &[Sent]) -> Outcome<Vec<Observed>> {
        self.still_serves()?;
        self.bridge.wait_published(SETTLE_LIMIT)?;
        self.follower.begin_anew();
        let waited = self.wait_read(log);
        self.end()?;
        let read = self.follower.finish()?;
        waited.map(|()| read)
    }

    fn still_serves(&mut self) -> Outcome {
        match self.bridge.process.ended()? {
            None => Ok(()),
            Some(status) => Err(Failure(format!(
                "the bridge ended by itself, {status}: {}",
                self.bridge.last_words()
            ))),
        }
    }

    /// An orderly stop once everything is published.
    fn end(&mut self) -> Outcome {
        self.still_serves()?;
        if self.replica.journal().exists() {
            self.bridge.wait_published(SETTLE_LIMIT)?;
        }
        let code = self.bridge.stop(STOP_LIMIT).doing("stopping the bridge")?;
        ensure(code == 0, || {
            format!(
                "the bridge stopped with {code}: {}",
                self.bridge.last_words()
            )
        })
    }

    /// Judges what is in Kafka. The bridge must have ended.
    pub(crate) fn judge(self, log: &[Sent], promises: Promises) -> Outcome<Verdict> {
        let read = read_all(&self.source)?;
        let during = self.follower.finish()?;
        let mut verdict = judge(log, &read, promises);
        verdict.gaps.extend(taken_back(&during, &read));
        ensure(verdict.is_clean(), || verdict.to_string())?;
        ensure(verdict.accepted > 0, || {
            "nothing was accepted: the line has shown nothing".into()
        })?;
        Ok(verdict)
    }
}

/// The `q`-quantile of durations.
pub(crate) fn quantile(durations: &[Duration], q: f64) -> Duration {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    let last = sorted.len().saturating_sub(1);
    sorted
        .get((last as f64 * q).round() as usize)
        .copied()
        .unwrap_or_default()
}
