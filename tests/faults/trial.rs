//! A trial: one bridge with a reader behind it. What most lines do before and after their fault.

use std::time::{Duration, Instant};

use crate::arena::Arena;
use crate::support::bridge::{Bridge, Ready, Replica};
use crate::support::failure::{Doing, Outcome, ensure, ensure_shown};
use crate::support::observed::Observed;
use crate::support::oracle::{Promises, Verdict, judge, taken_back};
use crate::support::reader::{Follower, Source, read_all};
use crate::support::sender::{Fate, Sent, Target};
use crate::support::wait;

/// How long what was accepted may take to be read, once the fault is over.
const SETTLE_LIMIT: Duration = Duration::from_secs(120);

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

    /// Waits for a condition that the bridge lives to see: its end breaks a promise.
    pub(crate) fn wait(
        &self,
        limit: Duration,
        what: &str,
        mut look: impl FnMut() -> bool,
    ) -> Outcome {
        wait::until(limit, what, || {
            self.bridge.goes_on()?;
            Ok(look().then_some(()))
        })
    }

    /// Waits until the reader has read more than `count` further events.
    pub(crate) fn wait_flow(&self, limit: Duration, count: usize) -> Outcome {
        let seen = self.follower.count();
        self.wait(limit, "publishing to go on", || {
            self.follower.count() > seen + count
        })
    }

    /// Waits until `/readyz` says that publishing is degraded. Meanwhile postbacks are accepted: another status than 200
    /// is a broken promise.
    pub(crate) fn wait_degraded(&self, limit: Duration) -> Outcome {
        wait::until(limit, "/readyz to be degraded", || {
            let (status, body) = self.bridge.readyz()?;
            ensure(status == 200, || {
                format!("not ready because of Kafka: {status} {body}")
            })?;
            let codes = body["degraded"].as_array();
            Ok(codes.is_some_and(|codes| !codes.is_empty()).then_some(()))
        })
    }

    /// Waits until `/readyz` answers 503 and gives a reason.
    pub(crate) fn wait_unready(&self, limit: Duration) -> Outcome {
        wait::until(limit, "/readyz to answer 503", || {
            let (status, body) = self.bridge.readyz()?;
            let reasons = body["reasons"].as_array();
            ensure(
                status != 503 || reasons.is_some_and(|reasons| !reasons.is_empty()),
                || format!("/readyz gives no reason: {body}"),
            )?;
            Ok((status == 503).then_some(()))
        })
    }

    /// Waits until everything accepted has been read.
    pub(crate) fn wait_read(&self, log: &[Sent]) -> Outcome {
        wait_read(&self.follower, log, || self.bridge.goes_on())
    }

    /// The end: everything accepted is read, the bridge stops with 0, everything is read once more from the beginning and
    /// judged. A verdict that is not clean is a broken promise, also when the wait before it was in vain.
    pub(crate) fn settle(mut self, log: &[Sent], promises: Promises) -> Outcome<Verdict> {
        let waited = unless_broken(self.wait_read(log))?;
        let ended = unless_broken(self.end())?;
        if ended.is_err() {
            // What it published from here on would be judged by half.
            self.bridge.process.kill9()?;
        }
        let verdict = self.judge(log, promises, ended.is_ok())?;
        ended.and(waited).map(|()| verdict)
    }

    /// As [`Self::settle`], for a line that judges by itself what was read along the way. Returns that, and whether it is
    /// everything accepted: only then is what is missing lost.
    pub(crate) fn read_along(mut self, log: &[Sent]) -> Outcome<(Vec<Observed>, Outcome)> {
        let waited = unless_broken(self.wait_read(log))?;
        let ended = unless_broken(self.end())?;
        Ok((self.follower.finish()?, ended.and(waited)))
    }

    /// An orderly stop once everything is published.
    fn end(&mut self) -> Outcome {
        self.bridge.goes_on()?;
        if self.replica.journal().exists() {
            self.bridge.wait_published(SETTLE_LIMIT)?;
        }
        stop(&self.bridge).map(drop)
    }

    /// Judges what is in Kafka. The bridge must have ended. Unless everything was `published`, what is missing is not lost:
    /// it may wait in the journal.
    pub(crate) fn judge(
        self,
        log: &[Sent],
        promises: Promises,
        published: bool,
    ) -> Outcome<Verdict> {
        examine(&self.source, self.follower, log, promises, published)
    }
}

/// A broken promise ends the line at once. That nothing was shown waits for the verdict, which may find a broken promise.
pub(crate) fn unless_broken(outcome: Outcome) -> Outcome<Outcome> {
    match outcome {
        Err(failure) if failure.is_broken_promise() => Err(failure),
        shown => Ok(shown),
    }
}

/// Waits until everything accepted has been read, and while `holds`.
pub(crate) fn wait_read(
    follower: &Follower,
    log: &[Sent],
    mut holds: impl FnMut() -> Outcome,
) -> Outcome {
    let missing = || {
        let accepted = log
            .iter()
            .filter(|sent| matches!(sent.fate, Fate::Accepted(_)));
        follower.missing(accepted.map(|sent| &sent.tag))
    };
    wait::until_none_left(SETTLE_LIMIT, "everything accepted to be read", || {
        holds()?;
        Ok(missing())
    })
}

/// Reads everything once more and judges it, with what `follower` saw. Unless everything was `published`, what is missing
/// is not lost.
pub(crate) fn examine(
    source: &Source,
    follower: Follower,
    log: &[Sent],
    promises: Promises,
    published: bool,
) -> Outcome<Verdict> {
    let read = read_all(source)?;
    let during = follower.finish()?;
    let mut verdict = judge(log, &read, promises);
    verdict.gaps.extend(taken_back(&during, &read));
    if !published {
        verdict.lost.clear();
    }
    ensure(verdict.is_clean(), || verdict.to_string())?;
    ensure_shown(verdict.accepted > 0, || "nothing was accepted".into())?;
    Ok(verdict)
}

/// SIGTERM; the process must end with 0. Returns how long it took.
pub(crate) fn stop(bridge: &Bridge) -> Outcome<Duration> {
    let start = Instant::now();
    let code = bridge.stop().doing("stopping the bridge")?;
    ensure(code == 0, || {
        format!("SIGTERM ended it with {code}: {}", bridge.last_words())
    })?;
    Ok(start.elapsed())
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
