//! The journal: where a record becomes durable before its sender is answered.
//!
//! **What it does.** One writer thread owns the database. Handlers hand it records over a bounded channel
//! ([`Journal::append`]); it commits everything that waits in one transaction with one fsync, overwrites the mark, then
//! answers every waiter. The publisher reads behind the durable position ([`Journal::reader`]) and reports how far Kafka
//! has got ([`Journal::mark_published`]).
//!
//! **Promises.** After `append` returned a position, the record survives kill -9 and power loss and will be read by the
//! publisher at that position; positions count from 1 without holes and are never reused. What damages acknowledged
//! records is detected at start (newest 10,000 and the mark) or at the latest when read, never skipped.
//!
//! **When it fails.** A failed commit, fsync or checkpoint poisons the journal: every waiter and every later `append` gets
//! [`AppendError::Poisoned`], nothing is retried, no connection is used or closed again, and the process leaves with exit
//! code 4. A full disk or the byte limit is refused before it is met ([`AppendError::Full`]) and heals by itself.
//!
//! **Left to others.** What a record means, and its sealing ([`record`](crate::record), [`seal`](crate::seal)).

use std::sync::Arc;

use crate::record::{Placed, Position, Record};

/// What an append led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// The record is durable at this position.
    Durable(Position),
    /// The same delivery was accepted before and is durable; nothing was written. Answer with that event's id.
    Repeated {
        /// The CloudEvents id of the event accepted then.
        id: String,
    },
}

/// The claim of an ESS delivery to its sender's id, checked and recorded in the same transaction as the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The ESS topic, as sent.
    pub topic: String,
    /// The sender's id.
    pub sender_id: String,
    /// SHA-256 of the body.
    pub sha256: [u8; 32],
    /// Whether the record bears an id of ours because an earlier append was answered [`AppendError::IdTaken`].
    pub second: bool,
}

/// Why nothing was written. Each variant is a decision of the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Retry later: at the byte limit, or the free-space floor of the disk is reached.
    #[error("the journal is full: {0}")]
    Full(FullCause),
    /// Retry later: the quarantine is at its limit with requests that are not published yet.
    #[error("the quarantine is full of unpublished requests")]
    QuarantineFull,
    /// Retry later: the writer's queue is full.
    #[error("too many postbacks wait for the disk")]
    QueueFull,
    /// Give up here: the process is stopping.
    #[error("the journal is closing")]
    Closing,
    /// Give up here: a write failed; the process is about to exit with code 4.
    #[error("the journal failed: {0}")]
    Poisoned(Arc<str>),
    /// Try again with an id of ours and [`Claim::second`]: this sender's id belongs to other bytes.
    #[error("the sender's id belongs to another delivery")]
    IdTaken,
}

/// Which limit was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum FullCause {
    /// `journal.max_size`.
    #[error("journal.max_size is reached")]
    MaxSize,
    /// `journal.min_free`.
    #[error("the free space of the disk is below journal.min_free")]
    MinFree,
}

/// A handle on the open journal. Cheap to clone; the writer thread ends when the journal is closed.
#[derive(Clone)]
pub struct Journal {
    #[expect(dead_code, reason = "the writer arrives with the journal's own branch")]
    inner: Arc<()>,
}

impl Journal {
    /// Makes a record durable.
    ///
    /// On `Ok(Durable)` the fsync that covers the record has returned. On `Err` nothing was written.
    /// Cancel safety: a future dropped after its record was queued leaves the record queued; it may still become durable.
    pub async fn append(
        &self,
        record: Record,
        claim: Option<Claim>,
    ) -> Result<Appended, AppendError> {
        let _ = (record, claim);
        Err(AppendError::Closing)
    }
}

/// Stored records with their places, as the publisher reads them.
pub type Batch = Vec<Placed>;
