//! Checkpoints, asked for by the writer and by nobody else.
//!
//! SQLite's own automatic checkpoint swallows errors, and one at close may block or fail unseen: both are off on every
//! connection. Here anything but success or "somebody is in the way" ends the journal.
//!
//! Copying a log takes ten milliseconds, in which the writer would answer nobody. So the [`Copier`], a thread with a
//! connection of its own, copies it while the writer goes on, and then the writer itself copies the little that has come
//! since: only after that the log begins anew.

use std::mem::ManuallyDrop;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::Scope;
use std::time::Duration;

use rusqlite::Connection;

use super::fatal::Broken;
use super::open;
use super::shared::{EndsLoudly, Shared};
use crate::failpoint;

/// Bytes of the write-ahead log at which the writer checkpoints: about 1,000 pages. Smaller means more fsyncs of the
/// database, larger a longer log to read at start.
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
    let usual = LOG_BYTES.min(max_size_bytes / 8).max(64 << 10);
    failpoint::limit("CONCUR_BRIDGE_CHECKPOINT_BYTES", usual)
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

/// The thread that copies the log while the writer goes on. Dropping this ends it.
pub(super) struct Copier {
    orders: SyncSender<()>,
    copied: Receiver<()>,
    copying: bool,
}

impl Copier {
    /// Starts the thread, which ends before `scope` does.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        shared: &'scope Shared,
    ) -> Result<Self, Broken> {
        let connection = open::writer_connection(&shared.directory)?;
        let (orders, ordered) = sync_channel(1);
        let (done, copied) = sync_channel(1);
        std::thread::Builder::new()
            .name("journal-copier".into())
            .spawn_scoped(scope, move || {
                copy_when_asked(connection, shared, &ordered, &done)
            })
            .map_err(Broken::no_thread)?;
        Ok(Self {
            orders,
            copied,
            copying: false,
        })
    }

    /// Whether the log was copied since this was last true. Has it copied when it was not.
    pub(super) fn has_copied(&mut self) -> bool {
        if !self.copying {
            // A thread that is gone has ended the journal, and the writer hears of that from its queue.
            self.copying = self.orders.try_send(()).is_ok();
            return false;
        }
        match self.copied.try_recv() {
            Ok(()) => {
                self.copying = false;
                true
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => false,
        }
    }

    /// Waits for the end of the copying, if there is any. False when the thread is gone.
    pub(super) fn finish(&mut self) -> bool {
        if self.copying {
            self.copying = self.copied.recv().is_err();
        }
        !self.copying
    }
}

fn copy_when_asked(
    connection: Connection,
    shared: &Shared,
    orders: &Receiver<()>,
    done: &SyncSender<()>,
) {
    let _loud = EndsLoudly(shared);
    // Closed only when nothing has failed.
    let connection = ManuallyDrop::new(connection);
    while orders.recv().is_ok() {
        if shared.poison.cause().is_some() {
            return;
        }
        if let Err(broken) = run(&connection, Depth::Passive) {
            shared.fail(broken);
            return;
        }
        // A writer that went away needs no answer.
        let _ = done.send(());
    }
    if shared.poison.cause().is_none() {
        drop(ManuallyDrop::into_inner(connection));
    }
}
