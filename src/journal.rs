//! The journal: where a record becomes durable before its sender is answered.
//!
//! **What it does.** One writer thread owns the database. Handlers hand it records over a bounded channel
//! ([`Journal::append`]); it commits everything that waits in one transaction with one fsync, overwrites the mark, then
//! answers every waiter. The publisher reads behind the durable position and reports how far Kafka has got
//! ([`Journal::backlog`]).
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
//!
//! **Layout.** `queue` stands between the handlers and the `writer`, which applies a `batch`, then marks (`mark`) and
//! answers (`answer`), at times has the log copied (`checkpoint`) and tidies up (`housekeeping`). `start`, `open` and `recovery`
//! (with `log_tail`) come before it; `limits`, `retention`, `quarantine` and `deliveries` are its rules; `reader` and
//! `backlog` are what the publisher sees; `verify` runs in the background; `inspect` and `repair` serve the command line;
//! `schema`, `stored` and `record_codec` are the format. On disk: `journal.db`, `journal.db-wal`, `journal.mark`, `journal.lock`, and
//! `journal.runs` for the publisher (`runs`).

mod answer;
mod backlog;
mod batch;
mod checkpoint;
mod deliveries;
mod fatal;
mod housekeeping;
mod inspect;
mod limits;
mod log_tail;
mod mark;
mod open;
mod quarantine;
mod queue;
mod reader;
pub mod record_codec;
mod recovery;
pub mod repair;
mod retention;
mod runs;
mod schema;
mod shared;
mod start;
mod status;
mod stored;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

pub use backlog::PublisherBacklog;
pub use fatal::{Damage, Fatal, FatalHook};
pub use inspect::{Inspector, Summary};
pub(crate) use open::{DATABASE, check_access};
pub use open::{OpenError, Options};
pub use quarantine::{Entry as QuarantineEntry, KEPT_FOR as QUARANTINE_KEPT_FOR};
pub use start::host_name;
pub use status::{Refusal, Status};
pub use verify::Verified;

use self::queue::{Encoded, Job, Quarantined, Reply};
use self::shared::Shared;
use crate::event::EventType;
use crate::publish::backlog::BacklogError;
use crate::record::{Position, Record};

/// The version of SQLite that is linked in.
pub fn sqlite_version() -> &'static str {
    rusqlite::version()
}

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
#[derive(Clone, PartialEq, Eq)]
pub struct Claim {
    /// The ESS topic, as sent.
    pub topic: String,
    /// The sender's id.
    pub sender_id: String,
    /// SHA-256 of the body.
    pub sha256: [u8; 32],
    /// Whether the record bears an id of ours: the sender's cannot serve, or an earlier append was answered
    /// [`AppendError::IdTaken`].
    pub second: bool,
}

/// Without the sender's id: as it was sent it may hold a token.
impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim")
            .field("topic", &self.topic)
            .field("second", &self.second)
            .finish_non_exhaustive()
    }
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

/// A handle on the open journal. Cheap to clone; the writer thread ends when the journal is closed or the last handle
/// is gone.
#[derive(Clone)]
pub struct Journal {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    ended: watch::Receiver<bool>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.queue.close();
    }
}

impl Journal {
    /// Opens the journal in a directory, or makes one: on `Ok` all that was ever acknowledged is durable in the database
    /// itself, and the writer runs. Blocks, for about as long as it takes to read 10,000 records.
    ///
    /// # Errors
    /// Each [`OpenError`] is a decision how the process ends. Nothing in the directory was changed but `journal.lock`,
    /// except when writing failed.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let (shared, ended) = start::start(options)?;
        Ok(Self {
            inner: Arc::new(Inner { shared, ended }),
        })
    }

    /// Makes a record durable.
    ///
    /// On `Ok(Durable)` the fsync that covers the record has returned. On `Err` nothing was written.
    /// Cancel safety: a future dropped after its record was queued leaves the record queued; it may still become durable.
    pub async fn append(
        &self,
        record: Record,
        claim: Option<Claim>,
    ) -> Result<Appended, AppendError> {
        let record = encoded(record);
        self.ask(|reply| Job::Append {
            record,
            claim,
            reply,
        })
        .await
    }

    /// Makes the record that a quarantined request became durable, and drops that request: both or neither. `None`: the
    /// request is not there any more, and nothing was written.
    pub async fn requeue(
        &self,
        quarantined: Position,
        record: Record,
    ) -> Result<Option<Position>, AppendError> {
        let record = encoded(record);
        self.ask(|reply| Job::Requeue {
            record,
            quarantined,
            reply,
        })
        .await
    }

    /// Drops the body of a quarantined request, durably. False: it is not there any more.
    pub async fn discard(&self, quarantined: Position) -> Result<bool, AppendError> {
        self.ask(|reply| Job::Discard { quarantined, reply }).await
    }

    /// The backlog for the publisher's thread. One per publisher.
    ///
    /// # Errors
    /// The database cannot be opened once more.
    pub fn backlog(&self) -> Result<PublisherBacklog, BacklogError> {
        PublisherBacklog::open(self.inner.shared.clone())
    }

    /// Identity of this replica.
    pub fn instance(&self) -> &str {
        &self.inner.shared.instance
    }

    /// The UUID for new records.
    pub fn uuid(&self) -> Uuid {
        self.inner.shared.uuid()
    }

    /// How far the journal has got, and whether it accepts. Touches no disk.
    pub fn status(&self) -> Status {
        let shared = &self.inner.shared;
        let progress = shared.progress.get();
        let refusal = if shared.poison.cause().is_some() {
            Some(Refusal::Failed)
        } else if !shared.queue.is_open() {
            Some(Refusal::Closing)
        } else {
            shared.limits.unready().map(Refusal::Full)
        };
        Status {
            durable: progress.durable,
            first: progress.first,
            published: progress.published,
            backlog_records: progress.durable.0.saturating_sub(progress.published.0),
            backlog_bytes: progress
                .durable_end_bytes
                .saturating_sub(progress.published_end_bytes),
            oldest_unpublished: progress
                .oldest_unpublished_ms
                .and_then(|ms| Timestamp::from_millisecond(ms).ok()),
            used_bytes: shared.limits.used_bytes(),
            free_bytes: shared.limits.free_bytes(),
            quarantine_bytes: progress.quarantine_bytes,
            refusal,
        }
    }

    /// Accepts nothing more, makes durable and answers what waits, saves the published mark and ends the writer.
    /// Cancel safety: closing goes on when the future is dropped.
    pub async fn close(&self) {
        self.inner.shared.queue.close();
        let mut ended = self.inner.ended.clone();
        // An error means that the writer is gone, which is what is waited for.
        let _ = ended.wait_for(|ended| *ended).await;
    }

    async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, AppendError> {
        let shared = &self.inner.shared;
        let (reply, answer) = oneshot::channel();
        let queued = shared.queue.push(job(reply), |reserved_bytes| {
            match shared.limits.refusal(reserved_bytes) {
                Some(cause) => Err(AppendError::Full(cause)),
                None => Ok(()),
            }
        });
        let answered = match queued {
            Ok(()) => answer.await.unwrap_or_else(|_| {
                Err(shared
                    .poison
                    .cause()
                    .map_or(AppendError::Closing, shared::poisoned))
            }),
            Err(refused) => Err(refused),
        };
        if let Err(AppendError::Full(cause)) = &answered {
            shared.limits.note_refusal(*cause);
        }
        answered
    }
}

/// Encodes on the caller's thread, so that the writer only binds bytes. A quarantined request is split: the row of
/// `records` says everything but the content.
fn encoded(mut record: Record) -> Encoded {
    let quarantined = match (&record.kind, &record.quarantine) {
        (EventType::Quarantined, Some(facts)) => Some(Quarantined::new(&record, &facts.reason)),
        _ => None,
    };
    if quarantined.is_some() {
        record.content = bytes::Bytes::new();
    }
    let payload = record_codec::encode(&record);
    Encoded {
        received_ms: record.received_at.as_millisecond(),
        crc: record_codec::crc_of_bytes(&payload),
        payload,
        quarantined,
        id: record.id,
    }
}
