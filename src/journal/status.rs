//! How far the journal has got, for the publisher, the metrics and readiness: no disk is touched to read it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::FullCause;
use crate::clock::Clock;
use crate::record::Position;

/// A picture of the journal at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The last durable position; zero when there is none.
    pub durable: Position,
    /// The oldest kept record; beyond `durable` when there is none.
    pub first: Position,
    /// Up to here Kafka has everything.
    pub published: Position,
    /// Records that wait for Kafka.
    pub backlog_records: u64,
    /// Their bytes.
    pub backlog_bytes: u64,
    /// When the oldest record that waits for Kafka was received.
    pub oldest_unpublished: Option<Timestamp>,
    /// Used pages plus the write-ahead log.
    pub used_bytes: u64,
    /// Bytes that can still be accepted: what is left of `journal.max_size`, or of the disk above `journal.min_free`,
    /// whichever is less.
    pub free_bytes: u64,
    /// Bytes of quarantined requests.
    pub quarantine_bytes: u64,
    /// Why a postback would be refused now; `None` when it would be accepted.
    pub refusal: Option<Refusal>,
}

/// Why the journal accepts nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A limit is reached; it heals by itself.
    Full(FullCause),
    /// The process is stopping.
    Closing,
    /// The process is about to end with a failing code.
    Failed,
}

/// How far records have got. Changed by the writer after each commit and by the publisher.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    pub(super) durable: Position,
    /// Running byte count after the last durable record.
    pub(super) durable_end_bytes: u64,
    pub(super) first: Position,
    pub(super) published: Position,
    pub(super) published_end_bytes: u64,
    pub(super) published_hint: Option<i64>,
    pub(super) oldest_unpublished_ms: Option<i64>,
    pub(super) quarantine_bytes: u64,
}

/// The shared [`Progress`], and the way to wait for it.
#[derive(Debug)]
pub(super) struct ProgressCell {
    progress: Mutex<Progress>,
    moved: Condvar,
    clock: Arc<dyn Clock>,
}

impl ProgressCell {
    pub(super) fn new(progress: Progress, clock: Arc<dyn Clock>) -> Self {
        Self {
            progress: Mutex::new(progress),
            moved: Condvar::new(),
            clock,
        }
    }

    pub(super) fn get(&self) -> Progress {
        *self.lock()
    }

    /// Notes a commit: `first_received_ms` is the receipt time of the batch's first record.
    pub(super) fn committed(
        &self,
        durable: Position,
        durable_end_bytes: u64,
        first_received_ms: Option<i64>,
        first: Position,
        quarantine_bytes: u64,
    ) {
        let mut progress = self.lock();
        if progress.published == progress.durable {
            progress.oldest_unpublished_ms = first_received_ms;
        }
        progress.durable = durable;
        progress.durable_end_bytes = durable_end_bytes;
        progress.first = first;
        progress.quarantine_bytes = quarantine_bytes;
        drop(progress);
        self.moved.notify_all();
    }

    /// Notes that Kafka has everything up to `position`; never goes back, never beyond what is durable. The receipt time
    /// of the next record is filled in by [`Self::oldest_unpublished`].
    pub(super) fn published(&self, position: Position, end_bytes: u64, hint: Option<i64>) {
        let mut progress = self.lock();
        if position < progress.published || position > progress.durable {
            return;
        }
        if position > progress.published {
            progress.published = position;
            progress.published_end_bytes = end_bytes;
            if position == progress.durable {
                progress.oldest_unpublished_ms = None;
            }
        }
        progress.published_hint = hint.or(progress.published_hint);
    }

    /// Notes the receipt time of the record after `published`, unless the mark has moved meanwhile.
    pub(super) fn oldest_unpublished(&self, published: Position, received_ms: i64) {
        let mut progress = self.lock();
        if progress.published == published && progress.durable > published {
            progress.oldest_unpublished_ms = Some(received_ms);
        }
    }

    /// Waits until something beyond `position` is durable, at most `timeout`.
    pub(super) fn wait_beyond(&self, position: Position, timeout: Duration) -> Position {
        self.clock
            .wait_while(&self.moved, self.lock(), timeout, |progress| {
                progress.durable <= position
            })
            .durable
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
