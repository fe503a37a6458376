//! The accept loop: it owns every connection, keeps their number bounded, and ends them in two steps.
//!
//! **Too many connections.** Clients that connect and then take their time must not lock out honest ones, so at
//! `ingress.max_connections` the newcomer is let in and the connection that has waited longest for its client goes
//! instead: first those whose client never got through authentication. One that is owed an answer is never chosen; if
//! all are, the newcomer waits in the kernel's queue. Running out of file descriptors, or of the `budget` of bytes that
//! slow clients hold, is treated the same way.
//!
//! **Stopping.** At `stop` no connection is accepted any more, idle ones are closed, and requests in progress get their
//! answer with `connection: close` until the deadline.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::Accept;
use super::handler::Handler;
use super::listener::Listener;
use super::meters::{Ending, Throttle};
use super::opening::Opening;
use super::pace::{Pace, Patience};

/// How long accepting pauses when the system has no more sockets to give.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(20);

/// How often a newcomer's wait for a place looks for a connection that is no longer owed an answer.
const CROWDED_PAUSE: Duration = Duration::from_millis(5);

/// How often the gauges are set.
const GAUGE_INTERVAL: Duration = Duration::from_secs(1);

/// How an orderly stop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every answer went out.
    Complete,
    /// At the deadline this many requests had no answer yet; their connections were cut.
    Cut {
        /// Requests between head and answer.
        answers: usize,
    },
}

/// Accepts connections and owns them.
pub(super) struct AcceptLoop<A> {
    pub(super) handler: Arc<Handler<A>>,
    pub(super) opening: Arc<Opening>,
    pub(super) patience: Patience,
    pub(super) max_connections: usize,
}

struct Member {
    /// Counts up: of two that wait equally long, the older goes.
    number: u64,
    pace: Arc<Pace>,
    task: AbortHandle,
}

/// The connections that are open.
#[derive(Default)]
struct Roster {
    tasks: JoinSet<()>,
    members: HashMap<Id, Member>,
    admitted: u64,
}

impl<A: Accept> AcceptLoop<A> {
    /// Serves until `stop`, then until every answer in progress went out or `drain_deadline` has passed.
    pub(super) async fn serve<L: Listener>(
        self,
        mut listener: L,
        stop: CancellationToken,
        drain_deadline: Duration,
    ) -> Drained {
        let mut roster = Roster::default();
        let origin = Instant::now();
        let throttle = Throttle::default();
        let mut gauged = tokio::time::interval(GAUGE_INTERVAL);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = gauged.tick() => {
                    let meters = &self.handler.meters;
                    meters.connections.set(roster.members.len() as f64);
                    meters.in_flight.set(self.handler.in_flight.now() as f64);
                }
                evicted = self.handler.budget.exceeded() => {
                    for _ in 0..evicted {
                        if !self.evict(&mut roster) {
                            break;
                        }
                    }
                }
                Some(id) = roster.reaped() => roster.forget(id),
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        tokio::select! {
                            () = stop.cancelled() => break,
                            () = self.make_room(&mut roster) => {}
                        }
                        self.open(stream, peer.ip(), origin, &mut roster, &stop);
                    }
                    Err(failure) => {
                        if let Some(more) = throttle.admit() {
                            warn!(error = %failure, more, "cannot accept a connection");
                        }
                        self.evict(&mut roster);
                        tokio::time::sleep(EXHAUSTED_PAUSE).await;
                    }
                },
            }
        }
        // Refuses newcomers at once instead of leaving them in the queue.
        drop(listener);
        let drained = tokio::time::timeout(drain_deadline, roster.end()).await;
        self.handler.meters.connections.set(0.0);
        match (drained, self.handler.in_flight.now()) {
            (Ok(()), _) | (Err(_), 0) => Drained::Complete,
            (Err(_), answers) => {
                error!(answers, "answers were still open at the drain deadline");
                Drained::Cut { answers }
            }
        }
    }

    fn open<T>(
        &self,
        stream: T,
        peer: IpAddr,
        origin: Instant,
        roster: &mut Roster,
        stop: &CancellationToken,
    ) where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let pace = Arc::new(Pace::new(origin, self.patience));
        let handler = Arc::clone(&self.handler);
        let opening = Arc::clone(&self.opening);
        let connection = {
            let pace = Arc::clone(&pace);
            let stop = stop.clone();
            async move {
                if let Some(ending) = opening.serve(stream, peer, &handler, pace, stop).await {
                    handler.meters.ended(ending);
                }
            }
        };
        let task = roster.tasks.spawn(connection);
        roster.admitted += 1;
        let number = roster.admitted;
        roster
            .members
            .insert(task.id(), Member { number, pace, task });
    }

    /// Waits until there is a place for one more.
    ///
    /// Cancel safe.
    async fn make_room(&self, roster: &mut Roster) {
        if self.opening.is_crowded() {
            self.evict(roster);
        }
        while roster.members.len() >= self.max_connections && !self.evict(roster) {
            if let Ok(Some(id)) = tokio::time::timeout(CROWDED_PAUSE, roster.reaped()).await {
                roster.forget(id);
            }
        }
    }

    fn evict(&self, roster: &mut Roster) -> bool {
        let evicted = roster.evict();
        if evicted {
            self.handler.meters.ended(Ending::Evicted);
        }
        evicted
    }
}

impl Roster {
    /// The next connection that ended; `None` when there is none to wait for.
    ///
    /// Cancel safe.
    async fn reaped(&mut self) -> Option<Id> {
        match self.tasks.join_next_with_id().await? {
            Ok((id, ())) => Some(id),
            Err(ended) => Some(ended.id()),
        }
    }

    fn forget(&mut self, id: Id) {
        self.members.remove(&id);
    }

    /// Ends the connection that deserves it most; `false` when the bridge owes an answer to all.
    fn evict(&mut self) -> bool {
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            self.forget(ended.map_or_else(|failed| failed.id(), |(id, ())| id));
        }
        while let Some(id) = self.slowest() {
            let Some(member) = self.members.get(&id) else {
                return false;
            };
            if member.pace.evict() {
                member.task.abort();
                self.members.remove(&id);
                return true;
            }
        }
        false
    }

    fn slowest(&self) -> Option<Id> {
        self.members
            .iter()
            .filter_map(|(id, member)| Some(((member.pace.standing()?, member.number), *id)))
            .min_by_key(|(standing, _)| *standing)
            .map(|(_, id)| id)
    }

    /// Waits for all connections to end by themselves.
    async fn end(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}
