//! The writer's housekeeping: retention, ages, and the marks of `meta`.
//!
//! What must be exact with the records (the oldest position, the quarantine's bytes) is saved in the transaction that
//! changes it. The published mark is a convenience, Kafka's own record being the truth: it is saved with
//! every commit that wrote something, when published records are deleted, and otherwise every [`TICK`].

use std::time::Duration;

use super::batch::{self, Changes};
use super::fatal::Broken;
use super::limits::Room;
use super::retention::{self, Bounds};
use super::writer::{COMMIT_LOG_BYTES, TICK, Writer};
use super::{deliveries, quarantine};
use crate::failpoint;

/// How often deliveries and quarantined bodies are looked at for their age.
const AGE_CHECK: Duration = Duration::from_secs(5);

impl Writer<'_> {
    /// What is to do without postbacks. True when there is more of it.
    pub(super) fn keep_house(&mut self) -> Result<bool, Broken> {
        self.shared.limits.measure(self.connection)?;
        if self.shared.limits.room(0) == Room::None {
            return Ok(false);
        }
        let bounds = self.bounds();
        let now = self.shared.clock.now();
        let ages_due = self
            .ages_checked
            .is_none_or(|checked| now.duration_since(checked) >= AGE_CHECK);
        let retention_due = self.kept.retention.is_due(self.connection, &bounds)?;
        self.note_published();
        if !ages_due && !retention_due && self.kept.meta == self.kept.saved {
            self.checkpoint_when_due()?;
            return Ok(false);
        }
        self.begin()?;
        let deleted = self.delete_published(&bounds, retention::STEP)?;
        let more_ages = ages_due && self.check_ages(&bounds)?;
        if !more_ages && ages_due {
            self.ages_checked = Some(now);
        }
        self.save_meta(false)?;
        self.end()?;
        self.publish_progress(&Changes::default())?;
        self.log_bytes += deleted * 64 + COMMIT_LOG_BYTES;
        self.checkpoint_when_due()?;
        self.shared.limits.measure(self.connection)?;
        Ok(more_ages || deleted == retention::STEP)
    }

    pub(super) fn delete_published(&mut self, bounds: &Bounds, limit: u64) -> Result<u64, Broken> {
        if !self.kept.retention.is_due(self.connection, bounds)? {
            return Ok(0);
        }
        failpoint!("journal.retention.before_delete");
        let deleted = self.kept.retention.delete(self.connection, bounds, limit)?;
        self.kept.meta.first_position = self.kept.retention.first();
        // What is deleted as published must be known as published: both in one transaction.
        self.note_published();
        self.save_meta(true)?;
        Ok(deleted)
    }

    /// Forgets old deliveries and quarantined bodies, a step of each. True when there are more.
    fn check_ages(&mut self, bounds: &Bounds) -> Result<bool, Broken> {
        let expired = bounds.now_ms.saturating_sub(self.kept.rules.dedup_for_ms);
        let forgotten = match deliveries::oldest_ms(self.connection)? {
            Some(oldest) if oldest < expired => deliveries::forget(self.connection, expired)?,
            _ => 0,
        };
        let kept_for = batch::whole_ms(quarantine::KEPT_FOR);
        let freed = quarantine::expire(
            self.connection,
            bounds.published,
            self.kept.retention.first(),
            bounds.now_ms.saturating_sub(kept_for),
        )?;
        self.kept.meta.quarantine_freed(freed);
        Ok(forgotten > 0 || freed > 0)
    }

    fn note_published(&mut self) {
        let progress = self.shared.progress.get();
        self.kept.meta.published = progress.published;
        self.kept.meta.published_end_bytes = progress.published_end_bytes;
        self.kept.meta.published_hint = progress.published_hint;
    }

    /// Saves what changed, within the open transaction. The published mark alone waits for its [`TICK`] unless `now`.
    pub(super) fn save_meta(&mut self, now: bool) -> Result<(), Broken> {
        if now || self.mark_is_due() {
            self.note_published();
        }
        if self.kept.meta != self.kept.saved {
            self.kept.meta.save(self.connection)?;
            self.kept.saved = self.kept.meta.clone();
            self.meta_saved = self.shared.clock.now();
        }
        Ok(())
    }

    /// Whether the published mark on disk is older than a [`TICK`].
    pub(super) fn mark_is_due(&self) -> bool {
        self.shared.clock.now().duration_since(self.meta_saved) >= TICK
    }

    pub(super) fn save_last(&mut self) -> Result<(), Broken> {
        self.shared.limits.measure_disk()?;
        self.note_published();
        if self.kept.meta != self.kept.saved && self.shared.limits.room(0) != Room::None {
            self.begin()?;
            self.save_meta(true)?;
            self.end()?;
        }
        Ok(())
    }
}
