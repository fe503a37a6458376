//! Verification of what start did not read, in the background and in small bites.
//!
//! Each bite is a read transaction of its own, so that checkpoints are never held up, and is followed by a rest, so that
//! verifying a large journal takes a few per cent of a core. Damage ends the process (exit 3): it is about records that
//! were acknowledged.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use super::fatal::Broken;
use super::reader::ReadTransaction;
use super::recovery::check_records;
use super::schema::Meta;
use super::shared::Shared;
use super::{deliveries, open, quarantine};
use crate::record::Position;

/// Records per read transaction: about 3 ms.
const BITE: u64 = 1_000;
/// Rest after each bite.
const REST: Duration = Duration::from_millis(40);

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
    let mut after = Position(0);
    let mut bytes = 0;
    while let Some((position, counted)) = quarantine::check(connection, after, 100)? {
        after = position;
        bytes += counted;
    }
    if bytes != meta.quarantine_bytes {
        return Err(Broken::damaged(
            None,
            format!(
                "the quarantine holds {bytes} bytes, but should hold {}",
                meta.quarantine_bytes
            ),
        ));
    }
    let mut after = 0;
    while let Some(number) = deliveries::check(connection, after, 1_000)? {
        after = number;
    }
    Ok(())
}

/// Starts the background verification of everything up to `last`. It ends by itself, or when the journal closes.
pub(super) fn spawn(shared: Arc<Shared>, last: Position) -> std::io::Result<()> {
    std::thread::Builder::new()
        .name("journal-verify".into())
        .spawn(move || {
            if let Err(broken) = background(&shared, last) {
                shared.fail(broken);
            }
        })
        .map(drop)
}

fn background(shared: &Shared, last: Position) -> Result<(), Broken> {
    let connection = open::reader_connection(&shared.directory)?;
    let mut after = Position(0);
    while shared.rest(REST) {
        let transaction = ReadTransaction::begin(&connection)?;
        // Retention may have deleted what was next.
        let first = Meta::load(&connection)?.first_position;
        after = after.max(Position(first.0.saturating_sub(1)));
        let until = last.min(Position(after.0 + BITE));
        if after < last {
            check_records(&connection, after, until, u64::MAX)?;
        }
        transaction.end()?;
        if after >= last {
            break;
        }
        after = until;
    }
    let mut after = Position(0);
    while shared.rest(REST) {
        match quarantine::check(&connection, after, 100)? {
            Some((position, _)) => after = position,
            None => break,
        }
    }
    let mut after = 0;
    while shared.rest(REST) {
        match deliveries::check(&connection, after, 1_000)? {
            Some(number) => after = number,
            None => break,
        }
    }
    Ok(())
}
