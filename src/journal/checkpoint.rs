//! Checkpoints, driven by the writer and by nobody else.
//!
//! SQLite's own automatic checkpoint swallows errors, and one at close may block or fail unseen: both are off on every
//! connection. Here anything but success or "a reader is in the way" ends the journal.

use std::time::Duration;

use rusqlite::Connection;

use super::fatal::Broken;
use crate::failpoint;

/// Bytes of the write-ahead log at which the writer checkpoints: about 1,000 pages. Smaller means more fsyncs of the
/// database, larger a longer pause of the writer (about 10 ms at this size).
const LOG_BYTES: u64 = 4 << 20;

/// How long the writer waits when somebody else's `sqlite3` holds the write lock for a moment.
pub(super) const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// How much is asked of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// Copies what no reader needs; never waits.
    Passive,
    /// Also cuts the log to nothing; when a reader is in the way, as far as `Passive`.
    Truncate,
}

/// How far a checkpoint got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    /// The database has everything, durably.
    All,
    /// A reader is in the way: part of it is in the log only.
    Part,
}

/// Bytes of log at which to checkpoint, for a journal of at most `max_size_bytes`.
pub(super) fn log_bytes_wanted(max_size_bytes: u64) -> u64 {
    LOG_BYTES.min(max_size_bytes / 8).max(64 << 10)
}

/// Copies the log into the database, with fsyncs of both.
pub(super) fn run(connection: &Connection, depth: Depth) -> Result<Reached, Broken> {
    failpoint!("journal.checkpoint.before");
    let sql = match depth {
        Depth::Passive => "PRAGMA wal_checkpoint(PASSIVE)",
        Depth::Truncate => "PRAGMA wal_checkpoint(TRUNCATE)",
    };
    // Passive checkpoints never wait; a truncating one would, for as long as the connection waits for locks.
    if depth == Depth::Truncate {
        connection.busy_timeout(Duration::ZERO)?;
    }
    // Columns: busy, frames in the log, frames copied; the latter two are -1 without a log. Errors other than BUSY are
    // errors of the statement.
    let (busy, log, copied): (i64, i64, i64) = connection
        .prepare_cached(sql)?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    if depth == Depth::Truncate {
        connection.busy_timeout(LOCK_PATIENCE)?;
    }
    failpoint!("journal.checkpoint.after");
    Ok(if busy == 0 && log == copied {
        Reached::All
    } else {
        Reached::Part
    })
}
