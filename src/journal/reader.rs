//! Reading records: CRC and contiguity are checked every time, and the read transaction ends before anything is returned.
//!
//! A hole, a wrong checksum or an undecodable record is damage to what was acknowledged; it is never skipped.

use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Rows, params};
use uuid::Uuid;

use super::fatal::Broken;
use super::schema::{Epoch, signed, unsigned};
use super::stored::{self, COLUMNS, Stored};
use super::{quarantine, record_codec};
use crate::event::EventType;
use crate::record::{Placed, Position};

/// What to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    /// Records beyond this one …
    pub(super) after: Position,
    /// … up to this one, which is durable.
    pub(super) until: Position,
    pub(super) max_records: usize,
    /// Of encoded records, beyond the first.
    pub(super) max_bytes: usize,
}

/// Reads records in order and without a hole, in a transaction of its own. Damage is an error of the read that begins
/// with it: what lies before is whole.
pub(super) fn read(
    connection: &Connection,
    epochs: &[Epoch],
    range: Range,
) -> Result<Vec<Placed>, Broken> {
    // A quarantined body and its record are seen together.
    let transaction = ReadTransaction::begin(connection)?;
    let placed = read_within(connection, epochs, range)?;
    transaction.end()?;
    Ok(placed)
}

/// The same within the caller's transaction.
pub(super) fn read_within(
    connection: &Connection,
    epochs: &[Epoch],
    range: Range,
) -> Result<Vec<Placed>, Broken> {
    let mut read = Vec::new();
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM records WHERE position > ?1 AND position <= ?2 ORDER BY position LIMIT ?3"
    ))?;
    let mut rows = statement.query(params![
        range.after,
        range.until,
        signed(range.max_records as u64)
    ])?;
    let mut expected = Position(range.after.0 + 1);
    let mut bytes = 0;
    loop {
        let room = if read.is_empty() {
            usize::MAX
        } else {
            range.max_bytes.saturating_sub(bytes)
        };
        match next_placed(&mut rows, expected, room, connection, epochs) {
            Ok(Some((payload_bytes, placed))) => {
                bytes += payload_bytes;
                read.push(placed);
                expected.0 += 1;
            }
            Ok(None) => break,
            Err(broken) if broken.is_damage() && !read.is_empty() => break,
            Err(broken) => return Err(broken),
        }
    }
    if read.is_empty() && range.after < range.until && range.max_records > 0 {
        return Err(Broken::damaged(expected, "this record is missing"));
    }
    Ok(read)
}

/// The next record, which has to be at `expected`, and the size of its payload; `None` where none is left that fits.
fn next_placed(
    rows: &mut Rows<'_>,
    expected: Position,
    room: usize,
    connection: &Connection,
    epochs: &[Epoch],
) -> Result<Option<(usize, Placed)>, Broken> {
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let stored = Stored::of(row)?;
    if stored.position != expected {
        return Err(Broken::damaged(expected, "this record is missing"));
    }
    if stored.payload.len() > room {
        return Ok(None);
    }
    Ok(Some((
        stored.payload.len(),
        placed(&stored, connection, epochs)?,
    )))
}

/// The CRC kept with the record at `position`, which is checked; `None` when it is not kept any more.
pub(super) fn crc_at(connection: &Connection, position: Position) -> Result<Option<u32>, Broken> {
    stored::at(connection, position, |stored| stored.checked_crc())
}

/// The running byte count after the record at `position`.
pub(super) fn end_bytes_at(
    connection: &Connection,
    position: Position,
) -> Result<Option<u64>, Broken> {
    let end: Option<i64> = connection
        .prepare_cached("SELECT end_bytes FROM records WHERE position = ?1")?
        .query_row(params![position], |row| row.get(0))
        .optional()?;
    Ok(end.map(unsigned))
}

/// The receipt time of the record at `position`.
pub(super) fn received_ms_at(
    connection: &Connection,
    position: Position,
) -> Result<Option<i64>, Broken> {
    let head: Option<Vec<u8>> = connection
        .prepare_cached("SELECT substr(payload, 1, 10) FROM records WHERE position = ?1")?
        .query_row(params![position], |row| row.get(0))
        .optional()?;
    Ok(head.and_then(|head| record_codec::received_ms(&head)))
}

/// The record of a row, with its body when it is a quarantined request whose body is still there.
fn placed(
    stored: &Stored<'_>,
    connection: &Connection,
    epochs: &[Epoch],
) -> Result<Placed, Broken> {
    let crc = stored.checked_crc()?;
    let mut record = record_codec::decode(&Bytes::copy_from_slice(stored.payload))
        .map_err(|error| Broken::damaged(stored.position, error.to_string()))?;
    if record.kind == EventType::Quarantined
        && let Some(whole) = quarantine::body(connection, stored.position)?
    {
        record.content = whole.content;
    }
    Ok(Placed {
        journal: numbered_under(epochs, stored.position),
        position: stored.position,
        crc,
        record,
    })
}

/// The UUID under which `position` was numbered.
pub(super) fn numbered_under(epochs: &[Epoch], position: Position) -> Uuid {
    epochs
        .iter()
        .rev()
        .find(|epoch| epoch.first_position <= position)
        .map_or(Uuid::nil(), |epoch| epoch.uuid)
}

/// The UUIDs, shared by writer and readers; replaced as a whole when a new one begins.
pub(super) type Epochs = Arc<[Epoch]>;

/// A read transaction that ends when dropped, at the latest.
pub(super) struct ReadTransaction<'a> {
    connection: &'a Connection,
    open: bool,
}

impl<'a> ReadTransaction<'a> {
    pub(super) fn begin(connection: &'a Connection) -> Result<Self, Broken> {
        connection.prepare_cached("BEGIN")?.execute([])?;
        Ok(Self {
            connection,
            open: true,
        })
    }

    pub(super) fn end(mut self) -> Result<(), Broken> {
        self.open = false;
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }
}

impl Drop for ReadTransaction<'_> {
    fn drop(&mut self) {
        if self.open {
            // Nothing was written and the first error is on its way to the caller.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }
}
