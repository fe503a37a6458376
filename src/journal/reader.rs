//! Reading records: CRC and contiguity are checked every time, and the read transaction ends before anything is returned.
//!
//! A hole, a wrong checksum or an undecodable record is damage to what was acknowledged; it is never skipped.

use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::fatal::Broken;
use super::schema::{Epoch, signed, unsigned};
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

/// Reads records in order and without a hole, in a transaction of its own.
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
    let mut placed = Vec::new();
    let mut statement = connection.prepare_cached(
        "SELECT position, end_bytes, crc, payload FROM records \
         WHERE position > ?1 AND position <= ?2 ORDER BY position LIMIT ?3",
    )?;
    let mut rows = statement.query(params![
        range.after,
        range.until,
        signed(range.max_records as u64)
    ])?;
    let mut expected = Position(range.after.0 + 1);
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let stored = Stored {
            position: row.get(0)?,
            end_bytes: unsigned(row.get(1)?),
            crc: row.get(2)?,
            payload: row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?,
        };
        if stored.position != expected {
            return Err(Broken::damaged(expected, "this record is missing"));
        }
        bytes += stored.payload.len();
        if bytes > range.max_bytes && !placed.is_empty() {
            break;
        }
        placed.push(stored.placed(connection, epochs)?);
        expected.0 += 1;
    }
    if placed.is_empty() && range.after < range.until && range.max_records > 0 {
        return Err(Broken::damaged(expected, "this record is missing"));
    }
    Ok(placed)
}

/// The CRC kept with the record at `position`, which is checked; `None` when it is not kept any more.
pub(super) fn crc_at(connection: &Connection, position: Position) -> Result<Option<u32>, Broken> {
    let mut statement = connection.prepare_cached(
        "SELECT position, end_bytes, crc, payload FROM records WHERE position = ?1",
    )?;
    let mut rows = statement.query(params![position])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let stored = Stored {
        position: row.get(0)?,
        end_bytes: unsigned(row.get(1)?),
        crc: row.get(2)?,
        payload: row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?,
    };
    stored.checked_crc().map(Some)
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

/// A row of `records`.
pub(super) struct Stored<'a> {
    pub(super) position: Position,
    pub(super) end_bytes: u64,
    pub(super) crc: i64,
    pub(super) payload: &'a [u8],
}

impl Stored<'_> {
    /// The CRC, once it fits.
    pub(super) fn checked_crc(&self) -> Result<u32, Broken> {
        let crc = record_codec::crc_in_place(
            record_codec::crc_of_bytes(self.payload),
            self.position,
            self.end_bytes,
        );
        if self.crc == i64::from(crc) {
            Ok(crc)
        } else {
            Err(Broken::damaged(
                self.position,
                "the checksum of this record is wrong",
            ))
        }
    }

    /// The record, with its body when it is a quarantined request whose body is still there.
    fn placed(&self, connection: &Connection, epochs: &[Epoch]) -> Result<Placed, Broken> {
        let crc = self.checked_crc()?;
        let mut record = record_codec::decode(&Bytes::copy_from_slice(self.payload))
            .map_err(|error| Broken::damaged(self.position, error.to_string()))?;
        if record.kind == EventType::Quarantined
            && let Some(whole) = quarantine::body(connection, self.position)?
        {
            record.content = whole.content;
        }
        Ok(Placed {
            journal: numbered_under(epochs, self.position),
            position: self.position,
            crc,
            record,
        })
    }
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
