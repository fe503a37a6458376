//! Verification: of what start did not read, in the background, and of everything, when the operator asks.
//!
//! In the background each bite is a read transaction of its own, so that checkpoints are never held up, and is followed by a rest, so that
//! verifying a large journal takes a few per cent of a core. Damage ends the process (exit 3): it is about records that
//! were acknowledged.

use std::path::Path;
use std::thread::Scope;
use std::time::Duration;

use rusqlite::Connection;

use super::fatal::{Broken, Damage, Fatal};
use super::mark::Found;
use super::reader::ReadTransaction;
use super::recovery::{self, check_records};
use super::schema::{Epoch, Meta};
use super::shared::{EndsLoudly, Shared};
use super::{deliveries, limits, open, quarantine};
use crate::record::Position;

/// Records per read transaction: about 3 ms.
pub(super) const BITE: u64 = 1_000;
/// Rest after each bite.
const REST: Duration = Duration::from_millis(40);

/// Damages told one by one; beyond these they are only counted.
const TOLD: usize = 100;

/// What a verification of everything found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The oldest kept record, as the journal says.
    pub first: Position,
    /// The newest record found.
    pub last: Position,
    /// Records that are whole.
    pub whole_records: u64,
    /// Damages found; none means that the journal is whole.
    pub damages: u64,
    /// The first hundred of them.
    pub told: Vec<Damage>,
    /// Whether the structure of the database was checked as well.
    pub structure_checked: bool,
}

/// Checks everything, and goes on after damage.
pub(super) fn everything(
    connection: &Connection,
    directory: &Path,
    mark: Found,
    structure_too: bool,
    mut progress: impl FnMut(Position, Position),
) -> Result<Verified, Broken> {
    let mut verified = Verified {
        first: Position(1),
        last: Position(0),
        whole_records: 0,
        damages: 0,
        told: Vec::new(),
        structure_checked: structure_too,
    };
    if structure_too {
        verified.note(directory, recovery::check_header(directory))?;
        verified.note(directory, structure(connection))?;
    }
    let meta = verified.note(directory, Meta::load(connection))?;
    let epochs = verified.note(directory, Epoch::load_all(connection))?;
    let (first, last) = verified
        .note(directory, recovery::ends(connection))?
        .unwrap_or((Position(1), Position(0)));
    verified.last = last;
    verified.first = meta.as_ref().map_or(first, |meta| meta.first_position);
    let compared = recovery::compare_with_mark(
        epochs.as_deref().unwrap_or_default(),
        last,
        mark,
        limits::log_bytes(directory),
    );
    if epochs.is_some() {
        verified.note(directory, compared)?;
    }
    let mut next = verified.first;
    while next <= last {
        let until = last.min(Position(next.0 + BITE - 1));
        verified.records(connection, directory, next, until)?;
        progress(until, last);
        next = Position(until.0 + 1);
    }
    if let Some(meta) = meta {
        verified.note(directory, side_tables(connection, &meta))?;
    }
    Ok(verified)
}

impl Verified {
    /// Takes the good, notes damage, and gives up at what is neither.
    fn note<T>(
        &mut self,
        directory: &Path,
        outcome: Result<T, Broken>,
    ) -> Result<Option<T>, Broken> {
        match outcome {
            Ok(good) => Ok(Some(good)),
            Err(broken) => match broken.into_fatal(directory) {
                Fatal::Damaged(damage) => {
                    self.damages += 1;
                    if self.told.len() < TOLD {
                        self.told.push(damage);
                    }
                    Ok(None)
                }
                Fatal::Failed(cause) => Err(Broken::File {
                    what: "verifying",
                    cause: std::io::Error::other(cause.to_string()),
                }),
            },
        }
    }

    /// Checks the records from `first` to `last`: together, and when that fails one by one.
    fn records(
        &mut self,
        connection: &Connection,
        directory: &Path,
        first: Position,
        last: Position,
    ) -> Result<(), Broken> {
        let together = within(connection, || {
            // A serving process may have deleted some meanwhile.
            let kept = Meta::load(connection).map_or(first, |meta| meta.first_position);
            let after = Position(first.max(kept).0 - 1);
            check_records(connection, after, last.max(after)).map(|_| after)
        });
        if let Ok(after) = together {
            self.whole_records += last.0.saturating_sub(after.0);
            return Ok(());
        }
        for position in (first.0..=last.0).map(Position) {
            let alone = within(connection, || {
                check_records(connection, Position(position.0 - 1), position)
            });
            if self.note(directory, alone)?.is_some() {
                self.whole_records += 1;
            }
        }
        Ok(())
    }
}

fn within<T>(
    connection: &Connection,
    read: impl FnOnce() -> Result<T, Broken>,
) -> Result<T, Broken> {
    let transaction = ReadTransaction::begin(connection)?;
    let read = read()?;
    transaction.end()?;
    Ok(read)
}

/// Checks the structure of the whole database: pages, keys, indexes. Time grows with its size.
pub(super) fn structure(connection: &Connection) -> Result<(), Broken> {
    let mut statement = connection.prepare("PRAGMA integrity_check(3)")?;
    let lines: Vec<String> = statement
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    if lines == ["ok"] {
        Ok(())
    } else {
        Err(Broken::damaged(None, lines.join("; ")))
    }
}

/// Checks the quarantine and the deliveries whole.
pub(super) fn side_tables(connection: &Connection, meta: &Meta) -> Result<(), Broken> {
    let bytes = walk_side_tables(connection, || true)?;
    if bytes != meta.quarantine_bytes {
        return Err(Broken::damaged(
            None,
            format!(
                "the quarantine holds {bytes} bytes, but should hold {}",
                meta.quarantine_bytes
            ),
        ));
    }
    Ok(())
}

/// Checks the rows of both in bites, as long as `goes_on` says so before each. Returns the bytes that the quarantine counts.
fn walk_side_tables(
    connection: &Connection,
    mut goes_on: impl FnMut() -> bool,
) -> Result<u64, Broken> {
    let mut after = Position(0);
    let mut bytes = 0;
    while goes_on()
        && let Some((position, counted)) = quarantine::check(connection, after, 100)?
    {
        after = position;
        bytes += counted;
    }
    let mut after = 0;
    while goes_on()
        && let Some(number) = deliveries::check(connection, after, 1_000)?
    {
        after = number;
    }
    Ok(bytes)
}

/// Starts the background verification of everything up to `last`. Its thread ends by itself, or when the journal closes, and
/// before `scope` does.
pub(super) fn start<'scope>(
    scope: &'scope Scope<'scope, '_>,
    shared: &'scope Shared,
    last: Position,
) -> Result<(), Broken> {
    std::thread::Builder::new()
        .name("journal-verify".into())
        .spawn_scoped(scope, move || {
            let _loud = EndsLoudly(shared);
            if let Err(broken) = background(shared, last) {
                shared.fail(broken);
            }
        })
        .map(drop)
        .map_err(Broken::no_thread)
}

fn background(shared: &Shared, last: Position) -> Result<(), Broken> {
    let connection = open::reader_connection(&shared.directory)?;
    let mut after = Position(0);
    while shared.queue.stays_open(REST) {
        let transaction = ReadTransaction::begin(&connection)?;
        // Retention may have deleted what was next.
        let first = Meta::load(&connection)?.first_position;
        after = after.max(Position(first.0.saturating_sub(1)));
        let until = last.min(Position(after.0 + BITE));
        if after < last {
            check_records(&connection, after, until)?;
        }
        transaction.end()?;
        if after >= last {
            break;
        }
        after = until;
    }
    walk_side_tables(&connection, || shared.queue.stays_open(REST)).map(drop)
}
