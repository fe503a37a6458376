//! The start sequence: from nothing to a producer that knows where to go on.
//!
//! 1. Survey: is it our cluster, are the topics there, make the missing ones.
//! 2. The first look, once a process: where does the positions topic end now, before we take anything from anybody?
//! 3. `init_transactions`: from here on a twin is fenced and no transaction of a predecessor is undecided for long.
//! 4. The end of the positions topic, read *uncommitted*: whatever a predecessor may have committed lies before it.
//! 5. The newest position record of ours, read *committed*, until past that end.
//! 6. Is it this journal's? Then publishing goes on behind it; else loudly from the journal's own mark.
//! 7. A first position record of our own: from here on a twin can see that we took over.
//!
//! `at_least_once` does step 1 alone.
//!
//! # Twins
//!
//! A process can be stopped at any step, and before it goes on another one, on a copy of its journal, may have taken the
//! identity and published. Fencing keeps its open transaction from being committed, but fencing is mutual: who is fenced
//! and simply starts again fences the other in turn, and publishes from a journal that knows nothing of what the other
//! did. So the question is always: *did another run take over after us?* The one that finds so ends, with exit code 5, and
//! writes nothing. [`succession`](super::succession) answers it for the newest record P, which names its run and the
//! runs before that on its journal (each journal remembers a few, the copy those of the original):
//!
//! | P | means | so |
//! |---|---|---|
//! | is our run's | our own commit, even if we never heard of it; fencing was the broker giving our transaction up | go on |
//! | has our run among those before it | a copy made since we opened the journal is in use, whenever it started | leave |
//! | before the first look (later: before step 4's end) | a crashed predecessor, a journal restored or replaced | step 6 |
//! | behind it, of a run before us, id not yet taken, fits the journal | a predecessor's commit that arrived late | go on |
//! | behind it, else | another process came after us, on an older copy or another journal | leave |
//!
//! - Nothing is taken before the first look, and what a dead process wrote has arrived when step 3 is done: so what is
//!   behind the end of step 4 is by somebody alive, and both may count on it.
//! - After fencing the positions are read before the id is taken back, so a twin that has committed is left alone.
//! - Of two that start at once exactly one stays. Until one commits they may fence each other, out of step
//!   by a random wait. Who commits P holds the id, so the other can only see P before its own commit, and leaves; to
//!   leave as well, the first would have to see a later record of the other, who writes none.
//! - A restored backup never finds its own run in P, nor P behind its first look: it starts, loudly, at the first try. So
//!   does what cannot be told from one, a copy started after the original had ended or before its first look;
//!   the other then leaves.

use std::time::Duration;

use super::backlog::Backlog;
use super::cluster::{CallError, Cluster, Producer};
use super::engine::{Engine, Interruption};
use super::failure::{Failure, FailureKind};
use super::positions::{Found, Verdict};
use super::status::Degraded;
use super::succession::Whose;
use super::topics;
use crate::failpoint;
use crate::record::Position;

impl<C: Cluster, B: Backlog> Engine<C, B> {
    /// Steps 1 and 2; after fencing, a look at who did it.
    pub(super) fn connect(&mut self) -> Result<C::Producer, Interruption> {
        self.leave_if_stopping()?;
        let backlog = &mut self.backlog;
        let seen = self
            .preparation
            .prepare(&mut self.cluster, &self.stop, |cluster_id| {
                recognise_cluster(backlog, cluster_id)
            })?;
        self.status.kafka_is_up();
        self.status.clear(|degraded| {
            matches!(degraded, Degraded::TopicMissing | Degraded::ClusterChanged)
        });
        if self.transactional() && self.succession.is_new() {
            let end = self.cluster.end_of_positions()?;
            self.succession.look(end);
            failpoint!("publish.start.after_first_look");
        }
        if self.fenced {
            let (newest, _) = self.newest_position()?;
            self.leave_to_twin(newest.as_ref())?;
            self.fenced = false;
        }
        let limits = topics::limits(&seen);
        let judged = if self.cluster.compresses() {
            Vec::new()
        } else {
            seen
        };
        self.topic_limits = judged
            .into_iter()
            .filter_map(|topic| Some((topic.name, topic.state.ok()?.max_message_bytes?)))
            .collect();
        Ok(self.cluster.producer(limits)?)
    }

    /// Steps 3 to 7.
    pub(super) fn catch_up(&mut self, producer: &mut C::Producer) -> Result<(), Interruption> {
        if self.transactional() {
            failpoint!("publish.start.before_init");
            self.init_transactions(producer)?;
            failpoint!("publish.after_init");
            let (newest, end) = self.newest_position()?;
            self.leave_to_twin(newest.as_ref())?;
            self.adopt(newest)?;
            self.succession.taken(end);
            failpoint!("publish.start.before_first_position");
            self.commit_position(producer, self.confirmed)?;
            failpoint!("publish.after_first_position");
        }
        if self.backlog.wait_beyond(self.confirmed, Duration::ZERO) <= self.confirmed {
            self.status.publishing_works();
        }
        Ok(())
    }

    fn init_transactions(&mut self, producer: &mut C::Producer) -> Result<(), Interruption> {
        let began = self.clock.now();
        loop {
            match producer.init_transactions(self.pacing.slice) {
                Ok(()) => return Ok(()),
                Err(CallError::Failed(failure)) => return Err(failure.into()),
                Err(CallError::Unfinished(reason)) => {
                    self.leave_if_stopping()?;
                    if let Some(reason) = producer.lost_all_brokers() {
                        return Err(Failure::new(FailureKind::Unreachable, reason).into());
                    }
                    if self.is_over(began, self.pacing.init_timeout) {
                        let what = "taking the transactional id";
                        return Err(
                            Failure::gave_up(what, self.pacing.init_timeout, &reason).into()
                        );
                    }
                }
            }
        }
    }

    /// Steps 4 and 5: what was found, and the end up to which was looked.
    fn newest_position(&mut self) -> Result<(Option<Found>, i64), Interruption> {
        let end = self.cluster.end_of_positions()?;
        self.succession.look(end);
        loop {
            self.leave_if_stopping()?;
            match self
                .cluster
                .newest_position(&self.transactional_id, self.hint, end)
            {
                Ok(found) => {
                    self.status
                        .clear(|degraded| degraded == Degraded::PositionsBlocked);
                    return Ok((found, end));
                }
                Err(CallError::Unfinished(reason)) => {
                    self.status.degrade(Degraded::PositionsBlocked, &reason);
                }
                Err(CallError::Failed(failure)) => return Err(failure.into()),
            }
        }
    }

    /// Ends here when another process took over after us.
    fn leave_to_twin(&self, newest: Option<&Found>) -> Result<(), Interruption> {
        match newest.map(|found| self.succession.whose(found)) {
            Some(Whose::Twins) => Err(Interruption::Fenced),
            Some(Whose::Ours | Whose::Earlier | Whose::LastWords) | None => Ok(()),
        }
    }

    /// Step 6.
    fn adopt(&mut self, newest: Option<Found>) -> Result<(), Interruption> {
        match newest {
            None => {
                let published_before = self.hint.take().is_some();
                if published_before {
                    self.status.degrade(
                        Degraded::PositionsLost,
                        &format!(
                            "topic {} has no position of {}, although this journal was published before; publishing goes on after position {}, events may be repeated",
                            self.positions_topic, self.transactional_id, self.confirmed
                        ),
                    );
                }
            }
            Some(found) if self.disowned == Some(found.offset) => {}
            Some(found) => match self.judge(&found)? {
                Verdict::Ours(position) => {
                    let acknowledged = self.hint.replace(found.offset);
                    if position < self.confirmed && acknowledged > Some(found.offset) {
                        self.status.degrade(
                            Degraded::PositionsLost,
                            &format!(
                                "the newest position of {} in topic {} is {position}, although Kafka had acknowledged {}: events between may be gone as well; send them again with `concur-bridge journal replay --from {} --to {} --apply`",
                                self.transactional_id, self.positions_topic, self.confirmed, position.0 + 1, self.confirmed
                            ),
                        );
                    }
                    if position > self.confirmed {
                        self.confirmed = position;
                        self.status.set_published(position);
                        self.backlog.mark_published(position, self.hint);
                    }
                }
                Verdict::Foreign(_) if self.succession.whose(&found) == Whose::LastWords => {
                    return Err(Interruption::Fenced);
                }
                Verdict::Foreign(reason) => {
                    let journal = self.backlog.renew_uuid(self.confirmed)?;
                    self.disowned = Some(found.offset);
                    self.status.degrade(
                        Degraded::PositionMismatch,
                        &format!(
                            "the position of {} in topic {} is not this journal's: {reason}; the journal goes on as {journal}, publishing goes on after position {}, events may be repeated",
                            self.transactional_id, self.positions_topic, self.confirmed
                        ),
                    );
                }
            },
        }
        Ok(())
    }

    fn judge(&mut self, found: &Found) -> Result<Verdict, Interruption> {
        match &found.record {
            Some(record) => Ok(record.judge(&mut self.backlog, self.confirmed)?),
            None => Ok(Verdict::Foreign("it cannot be read".to_owned())),
        }
    }

    /// A transaction of a position record alone.
    fn commit_position(
        &mut self,
        producer: &mut C::Producer,
        position: Position,
    ) -> Result<(), Interruption> {
        producer.begin()?;
        let crc = self.backlog.crc_at(position)?.unwrap_or(0);
        self.send_position(producer, position, crc)?;
        self.drain(producer)?;
        self.commit(producer)?;
        self.note_position(producer, position);
        Ok(())
    }

    pub(super) fn leave_if_stopping(&self) -> Result<(), Interruption> {
        if self.stop.requested() {
            return Err(Interruption::Stopped {
                transaction_open: false,
            });
        }
        Ok(())
    }
}

/// Binds a journal to the first cluster it meets; later it takes no other.
fn recognise_cluster(backlog: &mut impl Backlog, cluster_id: &str) -> Result<(), Interruption> {
    match backlog.cluster_id() {
        None => Ok(backlog.bind_cluster(cluster_id)?),
        Some(known) if known == cluster_id => Ok(()),
        Some(known) => Err(Failure::new(
            FailureKind::ForeignCluster,
            format!(
                "this journal was published to Kafka cluster {known}, but the brokers are cluster {cluster_id}: point kafka.brokers at the former, or give the bridge a new journal.dir"
            ),
        )
        .into()),
    }
}
