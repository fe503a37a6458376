//! The byte limit and the free-space floor: refused before they are met, healing by themselves.
//!
//! **`max_size`** counts used pages (not those on SQLite's free list) plus the write-ahead log. Pages are counted when idle
//! and at checkpoints, with the bytes appended since added; the log is asked for its size before every batch.
//!
//! **`min_free`** is compared with the free bytes of the file system before every batch, less what is on its way to the
//! disk: the reserved bytes twice (log and database) and the log that a checkpoint will copy. Below it, records are still
//! accepted into pages that the journal already owns: a journal that has grown to the floor heals when Kafka takes its
//! backlog, although its file never shrinks.
//!
//! Handlers read three atomics; only the writer measures.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::fatal::Broken;
use super::{FullCause, open};
use crate::clock::Clock;
use crate::config;

/// The floor is never less than this, whatever is configured: one batch and one checkpoint must always fit.
const LEAST_FLOOR_BYTES: u64 = 4 << 20;
/// What a commit may write beside its records, in log and database: its last page again, the meta page, new inner pages.
const COMMIT_BYTES: u64 = 32 << 10;
/// Room that is kept for a record of the largest default body.
const READY_BYTES: u64 = 512 << 10;
/// How long a refusal counts against readiness: probes come every few seconds.
const REFUSAL_COUNTS_FOR: Duration = Duration::from_secs(2);
/// Free bytes below which not even the journal's own housekeeping writes.
const HOUSEKEEPING_BYTES: u64 = 1 << 20;

/// What the handlers see.
#[derive(Debug)]
pub(super) struct Limits {
    directory: PathBuf,
    max_size_bytes: u64,
    floor_bytes: u64,
    /// Bytes of used pages.
    paged_bytes: AtomicU64,
    /// Bytes on the journal's own free list.
    reusable_bytes: AtomicU64,
    log_bytes: AtomicU64,
    disk_free_bytes: AtomicU64,
    /// When a record was last refused, and why.
    refused: Mutex<Option<(Instant, FullCause)>>,
    clock: Arc<dyn Clock>,
}

/// What may be written now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// Records and all else.
    Open,
    /// No records; marks, deletions and identity.
    Housekeeping(FullCause),
    /// Nothing.
    None,
}

impl Limits {
    pub(super) fn new(config: &config::Journal, clock: Arc<dyn Clock>) -> Self {
        Self {
            directory: config.dir.clone(),
            max_size_bytes: config.max_size_bytes,
            floor_bytes: config.min_free_bytes.max(LEAST_FLOOR_BYTES),
            paged_bytes: AtomicU64::new(0),
            reusable_bytes: AtomicU64::new(0),
            log_bytes: AtomicU64::new(0),
            disk_free_bytes: AtomicU64::new(u64::MAX),
            refused: Mutex::new(None),
            clock,
        }
    }

    /// Measures everything: two pragmas and two system calls.
    pub(super) fn measure(&self, connection: &Connection) -> Result<(), Broken> {
        let page: u64 = pragma(connection, "PRAGMA page_size")?;
        let pages: u64 = pragma(connection, "PRAGMA page_count")?;
        let unused: u64 = pragma(connection, "PRAGMA freelist_count")?;
        let used = pages.saturating_sub(unused) * page;
        self.paged_bytes.store(used, Ordering::Relaxed);
        self.reusable_bytes.store(unused * page, Ordering::Relaxed);
        self.measure_disk()
    }

    /// Measures the log and the disk only: two system calls.
    pub(super) fn measure_disk(&self) -> Result<(), Broken> {
        self.log_bytes
            .store(log_bytes(&self.directory), Ordering::Relaxed);
        let free = disk_free_bytes(&self.directory)?;
        self.disk_free_bytes.store(free, Ordering::Relaxed);
        Ok(())
    }

    /// Adds what was appended since the last measurement.
    pub(super) fn appended(&self, bytes: u64) {
        self.paged_bytes.fetch_add(bytes, Ordering::Relaxed);
        let reusable = self.reusable_bytes.load(Ordering::Relaxed);
        self.reusable_bytes
            .store(reusable.saturating_sub(bytes), Ordering::Relaxed);
    }

    /// What may be written now, with `reserved_bytes` on their way.
    pub(super) fn room(&self, reserved_bytes: u64) -> Room {
        let free = self.disk_free_bytes.load(Ordering::Relaxed);
        if free < HOUSEKEEPING_BYTES {
            return Room::None;
        }
        match self.refusal(reserved_bytes) {
            None => Room::Open,
            Some(cause) => Room::Housekeeping(cause),
        }
    }

    /// Which limit is met with `reserved_bytes` on their way.
    pub(super) fn refusal(&self, reserved_bytes: u64) -> Option<FullCause> {
        let coming = reserved_bytes
            .saturating_mul(2)
            .saturating_add(COMMIT_BYTES);
        if self.used_bytes().saturating_add(coming) > self.max_size_bytes {
            return Some(FullCause::MaxSize);
        }
        let free = self.disk_free_bytes.load(Ordering::Relaxed);
        let coming = self.coming_bytes(reserved_bytes);
        let within_floor = free >= self.floor_bytes.saturating_add(coming);
        let within_own_pages = free >= (self.floor_bytes / 2).saturating_add(coming)
            && self.reusable_bytes.load(Ordering::Relaxed) >= reserved_bytes + LEAST_FLOOR_BYTES;
        (!within_floor && !within_own_pages).then_some(FullCause::MinFree)
    }

    /// Which limit is so near that a large record would be refused: near it small ones still fit, but whoever asks for
    /// readiness is to be told before. A small journal keeps a smaller reserve, or it would never be ready.
    pub(super) fn unready(&self) -> Option<FullCause> {
        self.refusal(READY_BYTES.min(self.max_size_bytes / 16))
            .or_else(|| {
                let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
                let now = self.clock.now();
                refused
                    .filter(|(when, _)| now.duration_since(*when) < REFUSAL_COUNTS_FOR)
                    .map(|(_, cause)| cause)
            })
    }

    /// Notes that a record was refused: much on its way at once meets a limit before the reserve says so.
    pub(super) fn note_refusal(&self, cause: FullCause) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((self.clock.now(), cause));
    }

    /// Whether published records are worth more as free pages than as history: nine tenths of a limit are reached, or so
    /// little room is left that readiness is withdrawn, which in a small journal comes first.
    pub(super) fn is_tight(&self) -> bool {
        let free = self.disk_free_bytes.load(Ordering::Relaxed);
        self.unready().is_some()
            || self.used_bytes() > self.max_size_bytes - self.max_size_bytes / 10
            || free < self.floor_bytes + self.floor_bytes / 10 + self.coming_bytes(0)
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.paged_bytes.load(Ordering::Relaxed) + self.log_bytes.load(Ordering::Relaxed)
    }

    /// Bytes that can still be accepted.
    pub(super) fn free_bytes(&self) -> u64 {
        let of_size = self.max_size_bytes.saturating_sub(self.used_bytes());
        let of_disk = self
            .disk_free_bytes
            .load(Ordering::Relaxed)
            .saturating_sub(self.floor_bytes + self.coming_bytes(0));
        of_size.min(of_disk.saturating_add(self.reusable_bytes.load(Ordering::Relaxed)))
    }

    fn coming_bytes(&self, reserved_bytes: u64) -> u64 {
        reserved_bytes
            .saturating_mul(2)
            .saturating_add(COMMIT_BYTES)
            .saturating_add(self.log_bytes.load(Ordering::Relaxed))
    }
}

/// Bytes of the write-ahead log; it is not there before the first write.
pub(super) fn log_bytes(directory: &Path) -> u64 {
    std::fs::metadata(directory.join(open::LOG)).map_or(0, |data| data.len())
}

/// Bytes that an unprivileged process may still write to the file system of `directory`.
pub(super) fn disk_free_bytes(directory: &Path) -> Result<u64, Broken> {
    let stat = rustix::fs::statvfs(directory).map_err(|cause| Broken::File {
        what: "asking for the free space",
        cause: cause.into(),
    })?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn pragma(connection: &Connection, sql: &str) -> Result<u64, Broken> {
    let value: i64 = connection
        .prepare_cached(sql)?
        .query_row([], |row| row.get(0))?;
    Ok(u64::try_from(value).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    const MIB: u64 = 1 << 20;

    fn limits(max_size: u64, floor: u64, used: u64, reusable: u64, free: u64) -> Limits {
        Limits {
            directory: PathBuf::new(),
            max_size_bytes: max_size,
            floor_bytes: floor,
            paged_bytes: used.into(),
            reusable_bytes: reusable.into(),
            log_bytes: 0.into(),
            disk_free_bytes: free.into(),
            refused: Mutex::new(None),
            clock: Arc::new(ManualClock::new()),
        }
    }

    #[test]
    fn reserved_bytes_count_before_they_are_written() {
        let limits = limits(100 * MIB, 16 * MIB, 90 * MIB, 0, 1000 * MIB);
        assert_eq!(limits.refusal(4 * MIB), None);
        assert_eq!(
            limits.refusal(5 * MIB),
            Some(FullCause::MaxSize),
            "log and pages"
        );
        limits.appended(3 * MIB);
        assert_eq!(limits.refusal(4 * MIB), Some(FullCause::MaxSize));
    }

    #[test]
    fn the_floor_keeps_room_for_log_and_database() {
        let limits = limits(100 * MIB, 16 * MIB, 0, 0, 18 * MIB);
        assert_eq!(limits.refusal(MIB - COMMIT_BYTES), None);
        assert_eq!(limits.refusal(MIB), Some(FullCause::MinFree));
        assert_eq!(limits.room(2 * MIB), Room::Housekeeping(FullCause::MinFree));
    }

    #[test]
    fn below_the_floor_only_pages_of_its_own_are_filled() {
        assert_eq!(
            limits(100 * MIB, 16 * MIB, 50 * MIB, 20 * MIB, 15 * MIB).refusal(MIB),
            None
        );
        assert_eq!(
            limits(100 * MIB, 16 * MIB, 50 * MIB, 20 * MIB, 9 * MIB).refusal(MIB),
            Some(FullCause::MinFree)
        );
    }

    #[test]
    fn a_refusal_counts_against_readiness_for_two_seconds_and_no_longer() {
        let clock = Arc::new(ManualClock::new());
        let limits = Limits {
            clock: clock.clone(),
            ..limits(100 * MIB, 16 * MIB, 0, 0, 1000 * MIB)
        };
        assert_eq!(limits.unready(), None);
        limits.note_refusal(FullCause::MaxSize);
        assert_eq!(limits.unready(), Some(FullCause::MaxSize));
        clock.advance(REFUSAL_COUNTS_FOR - Duration::from_nanos(1));
        assert_eq!(limits.unready(), Some(FullCause::MaxSize));
        assert!(limits.is_tight());
        clock.advance(Duration::from_nanos(1));
        assert_eq!(limits.unready(), None);
        assert!(!limits.is_tight());
    }

    #[test]
    fn a_disk_without_any_room_gets_no_write_at_all() {
        assert_eq!(
            limits(100 * MIB, 16 * MIB, 0, 50 * MIB, 0).room(0),
            Room::None
        );
    }
}
