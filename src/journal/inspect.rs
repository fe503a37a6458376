//! Looking into a journal without opening it: for the command line and the admin port, whether a process serves or not.
//!
//! Takes no lock and writes nothing. Every call is one short read transaction, so a serving process is never held up for
//! longer than one batch; between two calls its retention may delete what was next, which is not damage. Only
//! [`Inspector::check_start`] looks as a start does, at a journal that no process holds.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::Connection;
use uuid::Uuid;

use super::fatal::{Broken, Fatal};
use super::mark::{self, Found};
use super::open::{self, OpenError};
use super::reader::{self, Range, ReadTransaction};
use super::recovery::{self, Format, Look};
use super::schema::{Epoch, LARGEST, Meta};
use super::verify::{self, Verified};
use super::{QuarantineEntry, limits, quarantine};
use crate::record::{Placed, Position};

/// What a journal says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Identity of the replica.
    pub instance: String,
    /// The UUID for new records.
    pub uuid: Uuid,
    /// First part of the transactional id.
    pub transactional_prefix: String,
    /// The Kafka cluster it publishes to.
    pub cluster_id: Option<String>,
    /// How often it was opened.
    pub generation: u64,
    /// The oldest kept record.
    pub first: Position,
    /// The newest record; zero when there is none.
    pub last: Position,
    /// Up to here Kafka has everything, as far as the journal has noted; Kafka may be ahead.
    pub published: Position,
    /// Bytes that wait for Kafka.
    pub backlog_bytes: u64,
    /// When the oldest record that waits for Kafka was received.
    pub oldest_unpublished: Option<Timestamp>,
    /// Bytes of quarantined requests.
    pub quarantine_bytes: u64,
    /// Bytes of database and log.
    pub file_bytes: u64,
    /// Free bytes of the file system.
    pub disk_free_bytes: u64,
    /// Whether a process holds the journal.
    pub served: bool,
}

/// A journal being looked into.
pub struct Inspector {
    connection: Connection,
    directory: PathBuf,
}

impl Inspector {
    /// Opens the journal in `directory` for reading.
    ///
    /// # Errors
    /// There is none, it cannot be read, or it is of another version. Damage is looked for by [`Self::verify`] and met by
    /// reading.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        let database = directory.join(open::DATABASE);
        let bytes = std::fs::metadata(&database).and_then(|data| {
            std::fs::File::open(directory)?;
            Ok(data.len())
        });
        match bytes {
            Ok(0) => return Err(empty(database)),
            Ok(_) => {}
            Err(cause) => return Err(OpenError::directory(directory, cause)),
        }
        let connection = open::reader_connection(directory)
            .map_err(|broken| OpenError::of(broken, directory))?;
        match recovery::check_format(&connection, directory)? {
            Format::Empty => Err(empty(database)),
            Format::Known => Ok(Self {
                connection,
                directory: directory.to_owned(),
            }),
        }
    }

    /// Whether a start would find everything that was acknowledged. Ends a look: it opens and closes the files, which no
    /// connection of this process may have open meanwhile. Not for a journal that a process holds. What it could not tell is
    /// returned, for the operator.
    ///
    /// # Errors
    /// What the start would end with.
    pub fn check_start(self) -> Result<Option<String>, OpenError> {
        let Self {
            connection,
            directory,
        } = self;
        drop(connection);
        Ok(match recovery::look(&directory)? {
            Look::Nothing => None,
            Look::Journal(recovered) => recovered.doubt,
        })
    }

    /// What the journal says about itself.
    ///
    /// # Errors
    /// It is damaged or cannot be read.
    pub fn summary(&self) -> Result<Summary, Fatal> {
        let within = |connection: &Connection| {
            let meta = Meta::load(connection)?;
            let epochs = Epoch::load_all(connection)?;
            let last = recovery::last_position(connection)?;
            let end_bytes = reader::end_bytes_at(connection, last)?.unwrap_or(0);
            let next = Position(meta.published.0 + 1);
            Ok(Summary {
                uuid: reader::numbered_under(&epochs, Position(u64::MAX)),
                first: meta.first_position,
                last,
                published: meta.published,
                backlog_bytes: end_bytes.saturating_sub(meta.published_end_bytes),
                oldest_unpublished: reader::received_ms_at(connection, next)?
                    .and_then(|ms| Timestamp::from_millisecond(ms).ok()),
                quarantine_bytes: meta.quarantine_bytes,
                file_bytes: std::fs::metadata(self.directory.join(open::DATABASE))
                    .map_or(0, |data| data.len())
                    + limits::log_bytes(&self.directory),
                disk_free_bytes: limits::disk_free_bytes(&self.directory)?,
                served: open::is_held(&self.directory),
                instance: meta.instance,
                transactional_prefix: meta.transactional_prefix,
                cluster_id: meta.cluster_id,
                generation: meta.generation,
            })
        };
        self.within(within)
    }

    /// Kept records beyond `after`, oldest first and without a hole from the first one on; empty at the end. Records that
    /// retention has deleted are passed over.
    ///
    /// # Errors
    /// A record is damaged or missing, or reading failed.
    pub fn read(
        &self,
        after: Position,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Placed>, Fatal> {
        self.within(|connection| {
            let first = Meta::load(connection)?.first_position;
            let epochs = Epoch::load_all(connection)?;
            let until = recovery::last_position(connection)?;
            if after >= until {
                return Ok(Vec::new());
            }
            let range = Range {
                after: after.max(Position(first.0.saturating_sub(1))),
                until,
                max_records,
                max_bytes,
            };
            reader::read_within(connection, &epochs, range)
        })
    }

    /// Quarantined requests beyond `after` that still have their body, oldest first, at most `limit`.
    ///
    /// # Errors
    /// One is damaged, or reading failed.
    pub fn quarantine(&self, after: Position, limit: usize) -> Result<Vec<QuarantineEntry>, Fatal> {
        let after = after.min(LARGEST);
        self.within(|connection| quarantine::list(connection, after, limit))
    }

    /// The quarantined request with this id, if it still has its body.
    ///
    /// # Errors
    /// It is damaged, or reading failed.
    pub fn quarantined(&self, id: &str) -> Result<Option<QuarantineEntry>, Fatal> {
        self.within(|connection| quarantine::find(connection, id))
    }

    /// Checks everything, and goes on after damage. The structure of the database is checked only while no process serves:
    /// it takes one long transaction, during which the log of a serving process would grow.
    ///
    /// `progress` hears the last position checked and the last there is.
    ///
    /// # Errors
    /// Reading failed; damage is in the answer.
    pub fn verify(&self, progress: impl FnMut(Position, Position)) -> Result<Verified, Fatal> {
        // Before the first look at the database, so that it cannot be ahead of it.
        let mark = mark::read(&self.directory.join(open::MARK)).unwrap_or(Found::Unreadable);
        let whole = !open::is_held(&self.directory);
        verify::everything(&self.connection, &self.directory, mark, whole, progress)
            .map_err(|broken| broken.into_fatal(&self.directory))
    }

    fn within<T>(&self, read: impl FnOnce(&Connection) -> Result<T, Broken>) -> Result<T, Fatal> {
        let whole = || {
            let transaction = ReadTransaction::begin(&self.connection)?;
            let read = read(&self.connection)?;
            transaction.end()?;
            Ok(read)
        };
        whole().map_err(|broken: Broken| broken.into_fatal(&self.directory))
    }
}

fn empty(file: PathBuf) -> OpenError {
    OpenError::damaged(file, "the database is empty")
}
