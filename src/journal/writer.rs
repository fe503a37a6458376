//! The writer: the one thread that changes the journal.
//!
//! It takes everything that waits, commits it in one transaction with one fsync, overwrites the mark and answers every
//! waiter; what arrives meanwhile is the next batch. Retention and the published mark ride along in the same transactions;
//! when nothing arrives they get one of their own, every [`TICK`] at most. Checkpoints are begun after the answers.
//!
//! After the first failure it touches nothing any more: neither the statement nor the connection is closed.

use std::fs::File;
use std::mem::ManuallyDrop;
use std::time::{Duration, Instant};

use metrics::Histogram;
use rusqlite::{Connection, Statement};
use tokio::sync::watch;

use super::answer::{Answer, Messenger};
use super::batch::{Batch, Changes, Rules, Tail};
use super::checkpoint::{self, Copier, Depth, Reached};
use super::fatal::Broken;
use super::limits::Room;
use super::mark::{Mark, MarkFile};
use super::queue::{Job, Taken};
use super::retention::{self, Bounds, Retention};
use super::schema::Meta;
use super::shared::{EndsLoudly, Shared};
use super::{AppendError, stored, verify};
use crate::failpoint;
use crate::record::Position;

/// How often the writer looks around when nothing arrives, and how old a published mark on disk may be.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// What a commit adds to the log beside its records, about: the last page of records again, the one of `meta`, and room for
/// an inner page or two. Only decides when to checkpoint, so it need not be exact.
pub(super) const COMMIT_LOG_BYTES: u64 = 16_384;

/// Published records that a commit may delete however few came with it, so that deleting keeps up when batches are small.
const LEAST_DELETED: u64 = 64;

/// What the thread begins with.
pub(super) struct Start {
    pub(super) connection: Connection,
    pub(super) lock: File,
    pub(super) kept: Kept,
    /// The last record, when the start did not check all up to it.
    pub(super) unverified: Option<Position>,
}

/// What the writer keeps from one batch to the next.
pub(super) struct Kept {
    pub(super) mark: MarkFile,
    /// As it is on disk.
    pub(super) saved: Meta,
    /// As it should be: the generation of this start may still be unsaved when the disk was full.
    pub(super) meta: Meta,
    pub(super) tail: Tail,
    pub(super) retention: Retention,
    pub(super) rules: Rules,
    pub(super) log_bytes_wanted: u64,
    pub(super) messenger: Messenger,
}

/// The thread. After a failure the connection is neither used nor closed and the lock stays until the process ends.
pub(super) fn run(start: Start, shared: &Shared, ended: &watch::Sender<bool>) {
    let Start {
        connection,
        lock,
        kept,
        unverified,
    } = start;
    // Closed and unlocked on purpose or not at all.
    let connection = ManuallyDrop::new(connection);
    let lock = ManuallyDrop::new(lock);
    let end = std::thread::scope(|scope| {
        // In here, so that the other threads hear of a panic: the scope waits for them.
        let _loud = EndsLoudly(shared);
        let copier = Copier::start(scope, shared)?;
        let insert = ManuallyDrop::new(stored::prepare_insert(&connection)?);
        if let Some(last) = unverified {
            verify::start(scope, shared, last)?;
        }
        let mut writer = Writer {
            connection: &connection,
            insert,
            shared,
            copier,
            kept,
            log_bytes: 0,
            answers: Vec::new(),
            unapplied: Vec::new(),
            meta_saved: shared.clock.now(),
            ages_checked: None,
            commit_seconds: metrics::histogram!("concur_bridge_journal_commit_seconds"),
            batch_records: metrics::histogram!("concur_bridge_journal_batch_records"),
        };
        match writer.work() {
            Ok(End::Closed) => {
                drop(ManuallyDrop::into_inner(writer.insert));
                Ok(End::Closed)
            }
            Ok(End::Poisoned) => Ok(End::Poisoned),
            Err(broken) => {
                let error = shared.poison(broken);
                writer.refuse_batch(&error);
                shared.poison.announce();
                Ok(End::Poisoned)
            }
        }
    });
    match end {
        // The copier may have failed at last.
        Ok(End::Closed) if shared.poison.cause().is_none() => {
            drop(ManuallyDrop::into_inner(connection));
            drop(ManuallyDrop::into_inner(lock));
        }
        Ok(End::Closed | End::Poisoned) => {}
        Err(broken) => shared.fail(broken),
    }
    let _ = ended.send(true);
}

/// Why the writer stopped without a failure of its own.
enum End {
    /// It was asked to; all that waited is durable.
    Closed,
    /// Another part of the journal failed.
    Poisoned,
}

pub(super) struct Writer<'c> {
    pub(super) connection: &'c Connection,
    pub(super) insert: ManuallyDrop<Statement<'c>>,
    pub(super) shared: &'c Shared,
    copier: Copier,
    pub(super) kept: Kept,
    /// Bytes that went into the log since it was last copied whole, about.
    pub(super) log_bytes: u64,
    pub(super) answers: Vec<Answer>,
    /// What was taken from the queue after the job that broke the journal.
    pub(super) unapplied: Vec<Job>,
    pub(super) meta_saved: Instant,
    pub(super) ages_checked: Option<Instant>,
    pub(super) commit_seconds: Histogram,
    pub(super) batch_records: Histogram,
}

impl Writer<'_> {
    fn work(&mut self) -> Result<End, Broken> {
        let mut jobs = Vec::new();
        let mut patience = TICK;
        loop {
            match self.shared.queue.take(&mut jobs, patience) {
                Taken::Jobs { reserved_bytes } => {
                    self.commit(&mut jobs, reserved_bytes)?;
                    patience = TICK;
                }
                Taken::Idle => {
                    let more = self.keep_house()?;
                    patience = if more { Duration::ZERO } else { TICK };
                }
                Taken::Closed if self.shared.poison.cause().is_some() => {
                    return Ok(End::Poisoned);
                }
                Taken::Closed => {
                    self.save_last()?;
                    return Ok(End::Closed);
                }
            }
        }
    }

    /// Commits a batch and answers it.
    fn commit(&mut self, jobs: &mut Vec<Job>, reserved_bytes: u64) -> Result<(), Broken> {
        let begun = Instant::now();
        self.shared.limits.measure_disk()?;
        let room = self.shared.limits.room(reserved_bytes);
        let bounds = self.bounds();
        failpoint!("journal.append.before_begin");
        self.begin()?;
        let changes = self.apply(jobs, room, &bounds)?;
        if room != Room::None {
            self.delete_published(
                &bounds,
                (2 * changes.records).clamp(LEAST_DELETED, retention::STEP),
            )?;
            if changes.wrote || self.mark_is_due() {
                self.save_meta(changes.wrote)?;
            }
        }
        if changes.epoch.is_some() {
            self.kept.mark.blank().map_err(|cause| Broken::File {
                what: "writing journal.mark",
                cause,
            })?;
        }
        failpoint!("journal.append.before_commit");
        self.end()?;
        failpoint!("journal.append.after_commit");
        self.publish_progress(&changes)?;
        self.shared.queue.release(reserved_bytes);
        if changes.records > 0 {
            self.shared.limits.appended(reserved_bytes);
            self.commit_seconds.record(begun.elapsed());
            self.batch_records.record(changes.records as f64);
        }
        failpoint!("journal.append.before_answers");
        self.kept.messenger.tell(&mut self.answers);
        failpoint!("journal.append.after_answers");
        self.log_bytes += reserved_bytes + COMMIT_LOG_BYTES;
        self.checkpoint_when_due()
    }

    fn apply(
        &mut self,
        jobs: &mut Vec<Job>,
        room: Room,
        bounds: &Bounds,
    ) -> Result<Changes, Broken> {
        let mut batch = Batch {
            connection: self.connection,
            insert: &mut self.insert,
            meta: &mut self.kept.meta,
            tail: &mut self.kept.tail,
            answers: &mut self.answers,
            rules: self.kept.rules,
            room,
            published: bounds.published,
            now_ms: bounds.now_ms,
            changes: Changes::default(),
        };
        let mut waiting = jobs.drain(..);
        for job in waiting.by_ref() {
            if let Err(broken) = batch.apply(job) {
                self.unapplied.extend(waiting);
                return Err(broken);
            }
        }
        drop(waiting);
        failpoint!("journal.append.applied");
        Ok(batch.changes)
    }

    /// The mark, then what readers and handles may see.
    pub(super) fn publish_progress(&mut self, changes: &Changes) -> Result<(), Broken> {
        if let Some(epoch) = changes.epoch {
            self.shared.begin_epoch(epoch);
        }
        if changes.records > 0 || changes.epoch.is_some() {
            self.kept
                .mark
                .write(Mark {
                    journal: self.shared.uuid(),
                    position: self.kept.tail.position,
                })
                .map_err(|cause| Broken::File {
                    what: "writing journal.mark",
                    cause,
                })?;
            failpoint!("journal.mark.written");
        }
        self.shared
            .set_cluster_id(self.kept.meta.cluster_id.as_deref());
        self.shared.progress.committed(
            self.kept.tail.position,
            self.kept.tail.end_bytes,
            changes.first_received_ms,
            self.kept.retention.first(),
            self.kept.meta.quarantine_bytes,
        );
        Ok(())
    }

    pub(super) fn bounds(&self) -> Bounds {
        let progress = self.shared.progress.get();
        Bounds {
            published: progress.published,
            published_end_bytes: progress.published_end_bytes,
            newest: self.kept.tail.position,
            now_ms: self.shared.clock.timestamp().as_millisecond(),
            tight: self.shared.limits.is_tight(),
        }
    }

    pub(super) fn checkpoint_when_due(&mut self) -> Result<(), Broken> {
        if self.log_bytes < self.kept.log_bytes_wanted {
            return Ok(());
        }
        let depth = if self.shared.limits.is_tight() {
            // With the copier in the way the log would stay as long as it is, and the journal be full of it.
            if !self.copier.finish() {
                return Ok(());
            }
            Depth::Truncate
        } else if self.copier.has_copied() {
            Depth::Passive
        } else {
            return Ok(());
        };
        self.log_bytes = match checkpoint::run(self.connection, depth)? {
            Reached::All => 0,
            // Try again after a quarter of the usual log.
            Reached::Part => self.kept.log_bytes_wanted / 4 * 3,
        };
        self.shared.limits.measure(self.connection)
    }

    pub(super) fn begin(&self) -> Result<(), Broken> {
        self.connection
            .prepare_cached("BEGIN IMMEDIATE")?
            .execute([])?;
        Ok(())
    }

    /// Commits: on `Ok` the fsync of the log has returned.
    pub(super) fn end(&self) -> Result<(), Broken> {
        #[cfg(test)]
        self.shared.fail_when_sabotaged()?;
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }

    fn refuse_batch(&mut self, error: &AppendError) {
        for answer in self.answers.drain(..) {
            answer.refuse(error.clone());
        }
        for job in self.unapplied.drain(..) {
            job.refuse(error.clone());
        }
    }
}
