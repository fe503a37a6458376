//! A row of `records`: how it is written, read and checked.

use rusqlite::{Connection, Row, Statement, params};

use super::fatal::Broken;
use super::record_codec;
use super::schema::{signed, unsigned};
use crate::record::Position;

/// What [`Stored::of`] reads, in its order.
pub(super) const COLUMNS: &str = "position, end_bytes, crc, payload";

/// A row of `records`.
pub(super) struct Stored<'a> {
    pub(super) position: Position,
    /// Running byte count after it.
    pub(super) end_bytes: u64,
    crc: i64,
    /// The record, encoded.
    pub(super) payload: &'a [u8],
}

impl<'a> Stored<'a> {
    /// An encoded record in its place; `crc_of_bytes` is that of `payload`.
    pub(super) fn new(
        position: Position,
        end_bytes: u64,
        payload: &'a [u8],
        crc_of_bytes: u32,
    ) -> Self {
        Self {
            position,
            end_bytes,
            crc: record_codec::crc_in_place(crc_of_bytes, position, end_bytes).into(),
            payload,
        }
    }

    /// The row of a query for [`COLUMNS`], not checked.
    pub(super) fn of(row: &'a Row<'_>) -> Result<Self, Broken> {
        Ok(Self {
            position: row.get(0)?,
            end_bytes: unsigned(row.get(1)?),
            crc: row.get(2)?,
            payload: row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?,
        })
    }

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

    /// Writes the row, within the caller's transaction.
    pub(super) fn insert(&self, prepared: &mut Statement<'_>) -> Result<(), Broken> {
        prepared.execute(params![
            self.position,
            signed(self.end_bytes),
            self.crc,
            self.payload
        ])?;
        Ok(())
    }
}

/// Prepares the statement of [`Stored::insert`], which runs for every record.
pub(super) fn prepare_insert(connection: &Connection) -> Result<Statement<'_>, Broken> {
    Ok(connection.prepare(&format!(
        "INSERT INTO records ({COLUMNS}) VALUES (?1, ?2, ?3, ?4)"
    ))?)
}

/// What `read` makes of the row at `position`; `None` when it is not kept any more.
pub(super) fn at<T>(
    connection: &Connection,
    position: Position,
    read: impl FnOnce(&Stored<'_>) -> Result<T, Broken>,
) -> Result<Option<T>, Broken> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM records WHERE position = ?1"
    ))?;
    let mut rows = statement.query(params![position])?;
    match rows.next()? {
        Some(row) => read(&Stored::of(row)?).map(Some),
        None => Ok(None),
    }
}
