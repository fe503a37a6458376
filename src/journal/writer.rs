//! The writer: the one thread that changes the journal.
//!
//! It takes everything that waits, commits it in one transaction with one fsync, overwrites the mark and answers every
//! waiter; what arrives meanwhile is the next batch. Retention and the published mark ride along in the same transactions;
//! when nothing arrives they get one of their own, every [`TICK`] at most. Checkpoints come after the answers.
//!
//! After the first failure it touches nothing any more: neither the statement nor the connection is closed.

use std::fs::File;
use std::mem::ManuallyDrop;
use std::time::{Duration, Instant};

use metrics::Histogram;
use rusqlite::{Connection, Statement};
use tokio::sync::watch;

use super::AppendError;
use super::answer::Answer;
use super::batch::{self, Batch, Changes, Rules, Tail};
use super::checkpoint::{self, Depth};
use super::fatal::Broken;
use super::limits::Room;
use super::mark::{Mark, MarkFile};
use super::queue::{Job, Taken};
use super::retention::{self, Bounds, Retention};
use super::schema::Meta;
use super::shared::Shared;
use super::{deliveries, quarantine};
use crate::failpoint;

/// How often the writer looks around when nothing arrives, and how old a published mark on disk may be.
const TICK: Duration = Duration::from_millis(100);
/// How often deliveries and quarantined bodies are looked at for their age.
const AGE_CHECK: Duration = Duration::from_secs(5);

/// What the thread begins with.
pub(super) struct Start {
    pub(super) connection: Connection,
    pub(super) lock: File,
    pub(super) mark: MarkFile,
    /// As it is on disk.
    pub(super) saved: Meta,
    /// As it should be: the generation of this start may still be unsaved when the disk was full.
    pub(super) meta: Meta,
    pub(super) tail: Tail,
    pub(super) retention: Retention,
    pub(super) rules: Rules,
    pub(super) log_bytes_wanted: u64,
}

/// The thread. After a failure the connection is neither used nor closed and the lock stays until the process ends.
pub(super) fn run(start: Start, shared: &Shared, ended: &watch::Sender<bool>) {
    let Start {
        connection,
        lock,
        mark,
        saved,
        meta,
        tail,
        retention,
        rules,
        log_bytes_wanted,
    } = start;
    // Closed and unlocked on purpose or not at all.
    let connection = ManuallyDrop::new(connection);
    let lock = ManuallyDrop::new(lock);
    let insert = match batch::prepare_insert(&connection) {
        Ok(insert) => insert,
        Err(broken) => {
            shared.fail(broken);
            let _ = ended.send(true);
            return;
        }
    };
    let mut writer = Writer {
        connection: &connection,
        insert,
        shared,
        mark,
        saved,
        meta,
        tail,
        retention,
        rules,
        log_bytes_wanted,
        log_bytes: 0,
        answers: Vec::new(),
        unapplied: Vec::new(),
        meta_saved: Instant::now(),
        ages_checked: None,
        commit_seconds: metrics::histogram!("concur_bridge_journal_commit_seconds"),
        batch_records: metrics::histogram!("concur_bridge_journal_batch_records"),
    };
    match writer.work() {
        Ok(End::Closed) => {
            drop(writer);
            drop(ManuallyDrop::into_inner(connection));
            drop(ManuallyDrop::into_inner(lock));
        }
        Ok(End::Poisoned) => std::mem::forget(writer),
        Err(broken) => {
            let error = shared.poison(broken);
            writer.refuse_batch(&error);
            std::mem::forget(writer);
            shared.poison.announce();
        }
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

struct Writer<'c> {
    connection: &'c Connection,
    insert: Statement<'c>,
    shared: &'c Shared,
    mark: MarkFile,
    saved: Meta,
    meta: Meta,
    tail: Tail,
    retention: Retention,
    rules: Rules,
    log_bytes_wanted: u64,
    /// Bytes that went into the log since it was last copied whole, about.
    log_bytes: u64,
    answers: Vec<Answer>,
    /// What was taken from the queue after the job that broke the journal.
    unapplied: Vec<Job>,
    meta_saved: Instant,
    ages_checked: Option<Instant>,
    commit_seconds: Histogram,
    batch_records: Histogram,
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
            self.delete_published(&bounds, (2 * changes.records).clamp(64, retention::STEP))?;
            if changes.wrote || self.meta_saved.elapsed() >= TICK {
                self.save_meta(changes.wrote)?;
            }
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
        for answer in self.answers.drain(..) {
            answer.send();
        }
        failpoint!("journal.append.after_answers");
        self.log_bytes += reserved_bytes + 16_384;
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
            meta: &mut self.meta,
            tail: &mut self.tail,
            answers: &mut self.answers,
            rules: self.rules,
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
    fn publish_progress(&mut self, changes: &Changes) -> Result<(), Broken> {
        if let Some(epoch) = changes.epoch {
            self.shared.begin_epoch(epoch);
        }
        if changes.records > 0 || changes.epoch.is_some() {
            self.mark
                .write(Mark {
                    journal: self.shared.uuid(),
                    position: self.tail.position,
                })
                .map_err(|cause| Broken::File {
                    what: "writing journal.mark",
                    cause,
                })?;
            failpoint!("journal.mark.written");
        }
        self.shared.set_cluster_id(self.meta.cluster_id.as_deref());
        self.shared.progress.committed(
            self.tail.position,
            self.tail.end_bytes,
            changes.first_received_ms,
            self.retention.first(),
            self.meta.quarantine_bytes,
        );
        Ok(())
    }

    /// What is to do without postbacks. True when there is more of it.
    fn keep_house(&mut self) -> Result<bool, Broken> {
        self.shared.limits.measure(self.connection)?;
        if self.shared.limits.room(0) == Room::None {
            return Ok(false);
        }
        let bounds = self.bounds();
        let ages_due = self
            .ages_checked
            .is_none_or(|checked| checked.elapsed() >= AGE_CHECK);
        let retention_due = self.retention.is_due(self.connection, &bounds)?;
        self.note_published();
        if !ages_due && !retention_due && self.meta == self.saved {
            self.checkpoint_when_due()?;
            return Ok(false);
        }
        self.begin()?;
        let deleted = self.delete_published(&bounds, retention::STEP)?;
        let more_ages = ages_due && self.check_ages(&bounds)?;
        if !more_ages && ages_due {
            self.ages_checked = Some(Instant::now());
        }
        self.save_meta(false)?;
        self.end()?;
        self.publish_progress(&Changes::default())?;
        self.log_bytes += deleted * 64 + 16_384;
        self.checkpoint_when_due()?;
        self.shared.limits.measure(self.connection)?;
        Ok(more_ages || deleted == retention::STEP)
    }

    fn delete_published(&mut self, bounds: &Bounds, limit: u64) -> Result<u64, Broken> {
        if !self.retention.is_due(self.connection, bounds)? {
            return Ok(0);
        }
        failpoint!("journal.retention.before_delete");
        let deleted = self.retention.delete(self.connection, bounds, limit)?;
        self.meta.first_position = self.retention.first();
        // What is deleted as published must be known as published: both in one transaction.
        self.note_published();
        self.save_meta(true)?;
        Ok(deleted)
    }

    /// Forgets old deliveries and quarantined bodies, a step of each. True when there are more.
    fn check_ages(&mut self, bounds: &Bounds) -> Result<bool, Broken> {
        let expired = bounds.now_ms.saturating_sub(self.rules.dedup_for_ms);
        let forgotten = match deliveries::oldest_ms(self.connection)? {
            Some(oldest) if oldest < expired => deliveries::forget(self.connection, expired)?,
            _ => 0,
        };
        let kept_for = i64::try_from(quarantine::KEPT_FOR.as_millis()).unwrap_or(i64::MAX);
        let freed = quarantine::expire(
            self.connection,
            bounds.published,
            self.retention.first(),
            bounds.now_ms.saturating_sub(kept_for),
        )?;
        self.meta.quarantine_bytes = self.meta.quarantine_bytes.saturating_sub(freed);
        Ok(forgotten > 0 || freed > 0)
    }

    fn bounds(&self) -> Bounds {
        let progress = self.shared.progress.get();
        Bounds {
            published: progress.published,
            published_end_bytes: progress.published_end_bytes,
            newest: self.tail.position,
            now_ms: batch::now_ms(),
            tight: self.shared.limits.is_tight(),
        }
    }

    fn note_published(&mut self) {
        let progress = self.shared.progress.get();
        self.meta.published = progress.published;
        self.meta.published_end_bytes = progress.published_end_bytes;
        self.meta.published_hint = progress.published_hint;
    }

    /// Saves what changed, within the open transaction. The published mark alone waits for its [`TICK`] unless `now`.
    fn save_meta(&mut self, now: bool) -> Result<(), Broken> {
        if now || self.meta_saved.elapsed() >= TICK {
            self.note_published();
        }
        if self.meta != self.saved {
            self.meta.save(self.connection)?;
            self.saved = self.meta.clone();
            self.meta_saved = Instant::now();
        }
        Ok(())
    }

    fn save_last(&mut self) -> Result<(), Broken> {
        self.shared.limits.measure_disk()?;
        self.note_published();
        if self.meta != self.saved && self.shared.limits.room(0) != Room::None {
            self.begin()?;
            self.save_meta(true)?;
            self.end()?;
        }
        Ok(())
    }

    fn checkpoint_when_due(&mut self) -> Result<(), Broken> {
        if self.log_bytes < self.log_bytes_wanted {
            return Ok(());
        }
        let depth = if self.shared.limits.is_tight() {
            Depth::Truncate
        } else {
            Depth::Passive
        };
        let left = checkpoint::run(self.connection, depth)?;
        // A reader in the way: try again after a quarter of the usual log.
        self.log_bytes = if left.frames == 0 {
            0
        } else {
            self.log_bytes_wanted / 4 * 3
        };
        self.shared.limits.measure(self.connection)
    }

    fn begin(&self) -> Result<(), Broken> {
        self.connection
            .prepare_cached("BEGIN IMMEDIATE")?
            .execute([])?;
        Ok(())
    }

    /// Commits: on `Ok` the fsync of the log has returned.
    fn end(&self) -> Result<(), Broken> {
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
