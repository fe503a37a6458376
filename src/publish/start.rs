//! The start sequence: from nothing to a producer that knows where to go on.
//!
//! 1. Survey: is it our cluster, are the topics there, make the missing ones.
//! 2. `init_transactions`: from here on a twin is fenced and no transaction of a predecessor is undecided for long.
//! 3. The end of the positions topic, read *uncommitted*: whatever a predecessor may have committed lies before it.
//! 4. The newest position record of ours, read *committed*, until past that end.
//! 5. Is it this journal's? Then publishing goes on behind it; else loudly from the journal's own mark.
//! 6. A first position record of our own: from here on a twin can see that we took over.
//!
//! `at_least_once` does step 1 alone.

use std::time::{Duration, Instant};

use uuid::Uuid;

use super::backlog::Backlog;
use super::cluster::{CallError, Cluster, Limits, Producer};
use super::engine::{Engine, Interruption, NewestRun};
use super::failure::{Failure, FailureKind};
use super::positions::{Found, Verdict};
use super::status::Degraded;
use super::topics;
use crate::failpoint;
use crate::record::Position;

impl<C: Cluster, B: Backlog> Engine<C, B> {
    /// Step 1; after fencing, first a look at who did it.
    pub(super) fn connect(&mut self) -> Result<C::Producer, Interruption> {
        self.leave_if_stopping()?;
        if self.fenced {
            let newest = self.newest_position()?;
            self.leave_to_twin(newest.as_ref())?;
            self.fenced = false;
        }
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
        let limits = topics::message_limits(&seen);
        let judged = if self.cluster.compresses() {
            Vec::new()
        } else {
            seen
        };
        self.topic_limits = judged
            .into_iter()
            .filter_map(|topic| Some((topic.name, topic.state.ok()?.max_message_bytes?)))
            .collect();
        Ok(self.cluster.producer(Limits {
            batch_bytes: limits.map(|(smallest, _)| smallest),
            message_bytes: limits.map(|(_, largest)| largest),
        })?)
    }

    /// Steps 2 to 6.
    pub(super) fn catch_up(&mut self, producer: &mut C::Producer) -> Result<(), Interruption> {
        if self.transactional() {
            failpoint!("publish.start.before_init");
            self.init_transactions(producer)?;
            failpoint!("publish.after_init");
            let newest = self.newest_position()?;
            self.leave_to_twin(newest.as_ref())?;
            self.adopt(newest)?;
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
        let began = Instant::now();
        loop {
            match producer.init_transactions(self.pacing.slice) {
                Ok(()) => return Ok(()),
                Err(CallError::Failed(failure)) => return Err(failure.into()),
                Err(CallError::Unfinished(reason)) => {
                    self.leave_if_stopping()?;
                    if let Some(reason) = producer.lost_all_brokers() {
                        return Err(Failure::new(FailureKind::Unreachable, reason).into());
                    }
                    if began.elapsed() >= self.pacing.init_timeout {
                        let what = "taking the transactional id";
                        return Err(
                            Failure::gave_up(what, self.pacing.init_timeout, &reason).into()
                        );
                    }
                }
            }
        }
    }

    /// Steps 3 and 4.
    fn newest_position(&mut self) -> Result<Option<Found>, Interruption> {
        let end = self.cluster.end_of_positions()?;
        loop {
            self.leave_if_stopping()?;
            match self
                .cluster
                .newest_position(&self.transactional_id, self.hint, end)
            {
                Ok(found) => {
                    self.status
                        .clear(|degraded| degraded == Degraded::PositionsBlocked);
                    return Ok(found);
                }
                Err(CallError::Unfinished(reason)) => {
                    self.status.degrade(Degraded::PositionsBlocked, &reason);
                }
                Err(CallError::Failed(failure)) => return Err(failure.into()),
            }
        }
    }

    /// Ends here when the newest position record is neither ours nor of whom we took over from.
    fn leave_to_twin(&self, newest: Option<&Found>) -> Result<(), Interruption> {
        let Some(run) = newest.and_then(Found::run) else {
            return Ok(());
        };
        let is_twins = match self.newest_run {
            NewestRun::Unread => false,
            NewestRun::Predecessor(known) => run != self.run && Some(run) != known,
            NewestRun::Ours => run != self.run,
        };
        if is_twins {
            return Err(Interruption::Fenced);
        }
        Ok(())
    }

    /// Step 5.
    fn adopt(&mut self, newest: Option<Found>) -> Result<(), Interruption> {
        let run = newest.as_ref().and_then(Found::run);
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
                    self.hint = Some(found.offset);
                    if position > self.confirmed {
                        self.confirmed = position;
                        self.status.set_published(position);
                        self.backlog.mark_published(position, self.hint);
                    }
                }
                Verdict::Foreign(reason) => {
                    let journal = self.backlog.renew_uuid()?;
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
        if self.newest_run == NewestRun::Unread {
            self.newest_run = NewestRun::Predecessor(run);
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

impl Found {
    fn run(&self) -> Option<Uuid> {
        self.record.as_ref().map(|record| record.run)
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
