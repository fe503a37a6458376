//! One group commit: the jobs of a batch applied in order within one transaction.
//!
//! A job that is refused (a limit, an id that is taken) leaves nothing behind and does not touch its neighbours. A job that
//! fails ends the journal, with all of its batch unanswered until then.

use std::time::Duration;

use rusqlite::{Connection, Statement};
use uuid::Uuid;

use super::answer::Answer;
use super::deliveries::{self, Verdict};
use super::fatal::Broken;
use super::limits::Room;
use super::queue::{Encoded, Job, Quarantined, Reply};
use super::schema::{Epoch, Meta};
use super::stored::Stored;
use super::{AppendError, Appended, Claim, FullCause, quarantine};
use crate::record::Position;

/// The newest record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tail {
    pub(super) position: Position,
    /// Running byte count after it.
    pub(super) end_bytes: u64,
}

/// Limits that a batch itself decides about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) quarantine_max_bytes: u64,
    pub(super) dedup_for_ms: i64,
}

/// What a batch has changed, beside the rows.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) records: u64,
    /// Receipt time of the first record.
    pub(super) first_received_ms: Option<i64>,
    /// A UUID under which records are numbered from now on.
    pub(super) epoch: Option<Epoch>,
    /// Whether anything was written at all.
    pub(super) wrote: bool,
}

/// A batch being applied.
pub(super) struct Batch<'a, 'c> {
    pub(super) connection: &'c Connection,
    pub(super) insert: &'a mut Statement<'c>,
    pub(super) meta: &'a mut Meta,
    pub(super) tail: &'a mut Tail,
    pub(super) answers: &'a mut Vec<Answer>,
    pub(super) rules: Rules,
    pub(super) room: Room,
    /// Up to here Kafka has everything.
    pub(super) published: Position,
    pub(super) now_ms: i64,
    pub(super) changes: Changes,
}

impl Batch<'_, '_> {
    /// Applies a job and holds its answer back.
    ///
    /// # Errors
    /// The journal is broken; the answer held back is then to be refused like all others.
    pub(super) fn apply(&mut self, job: Job) -> Result<(), Broken> {
        match job {
            Job::Append {
                record,
                claim,
                reply,
            } => {
                let result = self.append(&record, claim.as_ref());
                self.hold(reply, result, Answer::Append)
            }
            Job::Requeue {
                record,
                quarantined,
                reply,
            } => {
                let result = self.requeue(&record, quarantined);
                self.hold(reply, result, Answer::Requeue)
            }
            Job::Discard { quarantined, reply } => {
                let result = self.discard(quarantined);
                self.hold(reply, result, Answer::Discard)
            }
            Job::KeepOversized {
                position,
                body,
                reply,
            } => {
                let result = self.keep_oversized(position, &body);
                self.hold(reply, result, Answer::Done)
            }
            Job::RenewUuid { after, reply } => {
                let result = self.renew_uuid(after);
                self.hold(reply, result, Answer::Uuid)
            }
            Job::BindCluster { cluster_id, reply } => {
                let result = self.bind_cluster(cluster_id);
                self.hold(reply, result, Answer::Done)
            }
        }
    }

    fn hold<T>(
        &mut self,
        reply: Reply<T>,
        result: Result<Result<T, AppendError>, Broken>,
        answer: fn(Reply<T>, Result<T, AppendError>) -> Answer,
    ) -> Result<(), Broken> {
        match result {
            Ok(result) => {
                self.answers.push(answer(reply, result));
                Ok(())
            }
            Err(broken) => {
                self.answers.push(answer(reply, Err(AppendError::Closing)));
                Err(broken)
            }
        }
    }

    fn append(
        &mut self,
        record: &Encoded,
        claim: Option<&Claim>,
    ) -> Result<Result<Appended, AppendError>, Broken> {
        if let Some(claim) = claim {
            let expired_before = self.now_ms.saturating_sub(self.rules.dedup_for_ms);
            match deliveries::judge(self.connection, claim, expired_before)? {
                Verdict::New => {}
                Verdict::Repeated(id) => return Ok(Ok(Appended::Repeated { id })),
                Verdict::Taken => return Ok(Err(AppendError::IdTaken)),
            }
        }
        if let Some(error) = self.refuse_record() {
            return Ok(Err(error));
        }
        if let Some(body) = &record.quarantined
            && !self.make_room_for(body)?
        {
            return Ok(Err(AppendError::QuarantineFull));
        }
        if let Some(claim) = claim {
            deliveries::record(self.connection, claim, self.now_ms, &record.id)?;
        }
        let position = self.insert(record)?;
        Ok(Ok(Appended::Durable(position)))
    }

    fn insert(&mut self, record: &Encoded) -> Result<Position, Broken> {
        let position = Position(self.tail.position.0 + 1);
        let end_bytes = self.tail.end_bytes + record.payload.len() as u64;
        Stored::new(position, end_bytes, &record.payload, record.crc).insert(self.insert)?;
        if let Some(body) = &record.quarantined {
            self.keep(position, body)?;
        }
        *self.tail = Tail {
            position,
            end_bytes,
        };
        self.changes.records += 1;
        self.changes
            .first_received_ms
            .get_or_insert(record.received_ms);
        self.changes.wrote = true;
        Ok(position)
    }

    fn requeue(
        &mut self,
        record: &Encoded,
        quarantined: Position,
    ) -> Result<Result<Option<Position>, AppendError>, Broken> {
        if let Some(error) = self.refuse_record() {
            return Ok(Err(error));
        }
        if !self.drop_body(quarantined)? {
            return Ok(Ok(None));
        }
        self.insert(record).map(|position| Ok(Some(position)))
    }

    fn discard(&mut self, quarantined: Position) -> Result<Result<bool, AppendError>, Broken> {
        if let Some(error) = self.refuse_housekeeping() {
            return Ok(Err(error));
        }
        self.drop_body(quarantined).map(Ok)
    }

    /// A full quarantine does not refuse it: the bytes are in the journal already, and publishing must go on.
    fn keep_oversized(
        &mut self,
        position: Position,
        body: &Quarantined,
    ) -> Result<Result<(), AppendError>, Broken> {
        if let Some(error) = self.refuse_housekeeping() {
            return Ok(Err(error));
        }
        self.make_room_for(body)?;
        self.keep(position, body)?;
        Ok(Ok(()))
    }

    fn renew_uuid(&mut self, after: Position) -> Result<Result<Uuid, AppendError>, Broken> {
        if let Some(error) = self.refuse_housekeeping() {
            return Ok(Err(error));
        }
        let epoch = Epoch {
            first_position: Position(after.min(self.tail.position).0 + 1),
            uuid: Uuid::now_v7(),
        };
        epoch.replace_from(self.connection)?;
        self.changes.epoch = Some(epoch);
        self.changes.wrote = true;
        Ok(Ok(epoch.uuid))
    }

    fn bind_cluster(&mut self, cluster_id: String) -> Result<Result<(), AppendError>, Broken> {
        if let Some(error) = self.refuse_housekeeping() {
            return Ok(Err(error));
        }
        self.meta.cluster_id = Some(cluster_id);
        self.changes.wrote = true;
        Ok(Ok(()))
    }

    fn refuse_record(&self) -> Option<AppendError> {
        match self.room {
            Room::Open => None,
            Room::Housekeeping(cause) => Some(AppendError::Full(cause)),
            Room::None => Some(AppendError::Full(FullCause::MinFree)),
        }
    }

    fn refuse_housekeeping(&self) -> Option<AppendError> {
        (self.room == Room::None).then_some(AppendError::Full(FullCause::MinFree))
    }

    fn make_room_for(&mut self, body: &Quarantined) -> Result<bool, Broken> {
        let made = quarantine::make_room(
            self.connection,
            &body.reason,
            self.published,
            self.meta.quarantine_bytes,
            quarantine::counted_bytes(body.payload.len()),
            self.rules.quarantine_max_bytes,
        )?;
        self.meta.quarantine_freed(made.freed_bytes);
        self.changes.wrote |= made.freed_bytes > 0;
        Ok(made.enough)
    }

    fn keep(&mut self, position: Position, body: &Quarantined) -> Result<(), Broken> {
        if quarantine::keep(self.connection, position, body)? {
            self.meta.quarantine_bytes += quarantine::counted_bytes(body.payload.len());
            self.changes.wrote = true;
        }
        Ok(())
    }

    fn drop_body(&mut self, position: Position) -> Result<bool, Broken> {
        let freed = quarantine::drop_body(self.connection, position)?;
        self.meta.quarantine_freed(freed.unwrap_or(0));
        self.changes.wrote |= freed.is_some();
        Ok(freed.is_some())
    }
}

/// A duration in whole milliseconds; one that is longer than they can say is for ever.
pub(super) fn whole_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
