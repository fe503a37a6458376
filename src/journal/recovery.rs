//! The look at an existing journal before anything is written: is what was acknowledged still there, and whole?
//!
//! Everything here goes through a read-only connection. SQLite rebuilds its shared-memory index from the log and stops at
//! the first frame that is torn; whether the cut tail had been acknowledged is told by `journal.mark`. One that was not is
//! reported. At most
//! [`NEWEST`] records are read, so a start takes as long with a million waiting as with ten thousand; the rest is
//! verified in the background and whenever it is read.
//!
//! Not detectable: damage to the last batch together with the loss of the mark.

use std::io::{self, Read};
use std::path::Path;

use rusqlite::{Connection, params};

use super::fatal::Broken;
use super::mark::{self, Found};
use super::open::{self, OpenError};
use super::reader::{self, ReadTransaction};
use super::schema::{APPLICATION_ID, Epoch, Meta, SCHEMA_VERSION, unsigned};
use super::stored::{COLUMNS, Stored};
use super::{log_tail, verify};
use crate::record::Position;

/// Records checked at start, newest first.
pub(super) const NEWEST: u64 = 10_000;
/// A database of at most this many pages is checked whole at start: 4 MiB take about 10 ms.
const SMALL_PAGES: i64 = 1_024;

/// Bytes of an SQLite file before its first page's content.
const HEADER_BYTES: u64 = 100;
/// More records than fit into a page of 4,096 bytes.
const RECORDS_PER_PAGE: u64 = 256;

/// What is in the directory.
#[derive(Debug)]
pub(super) enum Look {
    /// No journal: one is made.
    Nothing,
    /// A journal, whole as far as was looked.
    Journal(Box<Recovered>),
}

/// A journal as it was left.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) meta: Meta,
    pub(super) epochs: Vec<Epoch>,
    /// Zero when it has no record yet.
    pub(super) last: Position,
    /// Running byte count after the last record.
    pub(super) last_end_bytes: u64,
    pub(super) oldest_unpublished_ms: Option<i64>,
    /// Whether every record was checked.
    pub(super) checked_whole: bool,
    /// What could not be told, for the operator.
    pub(super) doubt: Option<String>,
}

/// Looks at the journal in `directory`, changing nothing that was ever a journal.
pub(super) fn look(directory: &Path) -> Result<Look, OpenError> {
    let of = |name| {
        let file = directory.join(name);
        move |cause: io::Error| OpenError::file(file, cause)
    };
    let mark = mark::read(&directory.join(open::MARK)).map_err(of(open::MARK))?;
    let log_bytes = super::limits::log_bytes(directory);
    let database = directory.join(open::DATABASE);
    let tail = log_tail::look(&directory.join(open::LOG)).map_err(of(open::LOG))?;
    let others = mark != Found::Missing || log_bytes > 0;
    match std::fs::metadata(&database) {
        // SQLite would delete the log of an empty database: it must not get to see one that ought not to be empty.
        Ok(data) if data.len() == 0 && others => {
            return Err(OpenError::damaged(
                database,
                "the file is empty, but others of this journal are not",
            ));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound && others => {
            return Err(OpenError::damaged(
                database,
                "the file is missing, but others of this journal are there",
            ));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Look::Nothing),
        Err(error) => return Err(OpenError::file(database, error)),
    }
    // A database that this user may not read or write is a matter of the file, not of SQLite.
    std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&database)
        .map_err(of(open::DATABASE))?;
    let prepared = if others {
        check_header(directory)
    } else {
        open::undo_cut_making(directory)
    };
    prepared.map_err(|broken| OpenError::of(broken, directory))?;
    let connection =
        open::reader_connection(directory).map_err(|broken| OpenError::of(broken, directory))?;
    match check_format(&connection, directory)? {
        Format::Empty if mark == Found::Missing => Ok(Look::Nothing),
        Format::Empty => Err(OpenError::damaged(
            database,
            "the database is empty, but journal.mark says that there was a journal",
        )),
        Format::Known => {
            let recovered = recover(&connection, directory, mark, log_bytes)
                .map_err(|broken| OpenError::of(broken, directory))?;
            if tail.torn_bytes > 0 {
                tracing::warn!(
                    bytes = tail.torn_bytes,
                    last = recovered.last.0,
                    "cut a torn tail of journal.db-wal: a batch that nobody was answered for"
                );
            }
            Ok(Look::Journal(Box::new(recovered)))
        }
    }
}

/// Checks that the file says "write-ahead log", as it has since before the first record: a changed byte there would have
/// SQLite open it in another way. Leaves other files to SQLite to refuse.
///
/// Not to be called while this process writes to the journal: closing a file drops the process's locks on it.
pub(super) fn check_header(directory: &Path) -> Result<(), Broken> {
    let mut header = Vec::new();
    std::fs::File::open(directory.join(open::DATABASE))
        .and_then(|file| file.take(HEADER_BYTES).read_to_end(&mut header))
        .map_err(|cause| Broken::File {
            what: "reading the database",
            cause,
        })?;
    if header.starts_with(b"SQLite format 3\0") && header.get(18..20) != Some(&[2, 2]) {
        return Err(Broken::damaged(
            None,
            "the header of the database is not a journal's",
        ));
    }
    Ok(())
}

/// The format of a database that can be opened.
pub(super) enum Format {
    /// No table yet: the process that made it ended before its first commit.
    Empty,
    /// The one this version reads.
    Known,
}

pub(super) fn check_format(connection: &Connection, directory: &Path) -> Result<Format, OpenError> {
    let file = directory.join(open::DATABASE);
    let read = || -> Result<(i64, i64, i64), Broken> {
        let application =
            connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let tables =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        Ok((application, version, tables))
    };
    match read().map_err(|broken| OpenError::of(broken, directory))? {
        (0, 0, 0) => Ok(Format::Empty),
        (APPLICATION_ID, SCHEMA_VERSION, _) => Ok(Format::Known),
        (APPLICATION_ID, found, _) => Err(OpenError::Version {
            file,
            found,
            known: SCHEMA_VERSION,
        }),
        _ => Err(OpenError::damaged(
            file,
            "this is an SQLite database, but not a journal",
        )),
    }
}

fn recover(
    connection: &Connection,
    directory: &Path,
    mark: Found,
    log_bytes: u64,
) -> Result<Recovered, Broken> {
    let transaction = ReadTransaction::begin(connection)?;
    let meta = Meta::load(connection)?;
    let epochs = Epoch::load_all(connection)?;
    let (first, last) = ends(connection)?;
    let doubt = compare_with_mark(&epochs, last, mark, log_bytes)?;
    if first != meta.first_position {
        return Err(Broken::damaged(
            meta.first_position,
            format!("the oldest kept record should be this one, but is {first}"),
        ));
    }
    if meta.published > last || meta.published.0 + 1 < first.0 {
        return Err(Broken::damaged(
            meta.published,
            "the published mark is not among the kept records",
        ));
    }
    let start = Position(last.0.saturating_sub(NEWEST).max(first.0 - 1));
    let last_end_bytes = check_records(connection, start, last)?;
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
    let small = pages <= SMALL_PAGES;
    if small {
        verify::structure(connection)?;
        verify::side_tables(connection, &meta)?;
    }
    let oldest_unpublished_ms = reader::received_ms_at(connection, Position(meta.published.0 + 1))?;
    transaction.end()?;
    tracing::debug!(directory = %directory.display(), %first, %last, checked_from = start.0 + 1, "journal looked at");
    Ok(Recovered {
        oldest_unpublished_ms,
        checked_whole: small && start.0 + 1 == first.0,
        meta,
        epochs,
        last,
        last_end_bytes,
        doubt,
    })
}

/// The oldest and the newest kept position; 1 and 0 when there is no record.
pub(super) fn ends(connection: &Connection) -> Result<(Position, Position), Broken> {
    let first: Option<Position> =
        connection.query_row("SELECT min(position) FROM records", [], |row| row.get(0))?;
    let last: Option<Position> =
        connection.query_row("SELECT max(position) FROM records", [], |row| row.get(0))?;
    match (first, last) {
        (Some(first), Some(last)) if Position(1) <= first && first <= last => {
            let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
            if last.0 - first.0 > unsigned(pages).saturating_mul(RECORDS_PER_PAGE) {
                return Err(Broken::damaged(None, "the positions make no sense"));
            }
            Ok((first, last))
        }
        (None, None) => Ok((Position(1), Position(0))),
        _ => Err(Broken::damaged(None, "the positions make no sense")),
    }
}

pub(super) fn compare_with_mark(
    epochs: &[Epoch],
    last: Position,
    mark: Found,
    log_bytes: u64,
) -> Result<Option<String>, Broken> {
    let mark = match mark {
        Found::Mark(mark) => mark,
        Found::Missing | Found::Unreadable if last > Position(0) => {
            return Ok(Some(format!(
                "journal.mark is missing or unreadable: whether records beyond {last} were acknowledged cannot be told"
            )));
        }
        Found::Missing | Found::Unreadable => return Ok(None),
    };
    if !epochs.iter().any(|epoch| epoch.uuid == mark.journal) {
        return Err(Broken::damaged(
            None,
            format!(
                "journal.mark belongs to the journal {}, the database to another",
                mark.journal
            ),
        ));
    }
    if mark.position > last {
        let log = if log_bytes == 0 {
            "; journal.db-wal is missing or empty"
        } else {
            ""
        };
        return Err(Broken::damaged(
            Position(last.0 + 1),
            format!(
                "records up to {} were acknowledged, but the last one found is {last}{log}",
                mark.position
            ),
        ));
    }
    Ok(None)
}

/// Checks the records beyond `after` up to `last`: no hole, right checksums, a byte count that adds up. Returns the running
/// byte count after the last; zero when there is none.
pub(super) fn check_records(
    connection: &Connection,
    after: Position,
    last: Position,
) -> Result<u64, Broken> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM records WHERE position > ?1 AND position <= ?2 ORDER BY position"
    ))?;
    let mut rows = statement.query(params![after, last])?;
    let mut checked = after;
    let mut end_bytes = None;
    while let Some(row) = rows.next()? {
        let stored = Stored::of(row)?;
        let expected = Position(checked.0 + 1);
        if stored.position != expected {
            return Err(Broken::damaged(expected, "this record is missing"));
        }
        stored.checked_crc()?;
        if end_bytes
            .is_some_and(|before: u64| before + stored.payload.len() as u64 != stored.end_bytes)
        {
            return Err(Broken::damaged(
                expected,
                "the byte count of this record does not follow from the one before",
            ));
        }
        end_bytes = Some(stored.end_bytes);
        checked = expected;
    }
    if checked < last {
        return Err(Broken::damaged(
            Position(checked.0 + 1),
            "this record is missing",
        ));
    }
    Ok(end_bytes.unwrap_or(0))
}

/// The last position in `records`; zero when there is none.
pub(super) fn last_position(connection: &Connection) -> Result<Position, Broken> {
    let last: Option<Position> =
        connection.query_row("SELECT max(position) FROM records", [], |row| row.get(0))?;
    Ok(last.unwrap_or_default())
}
