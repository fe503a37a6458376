//! The bodies of quarantined requests, in a table of their own under a limit of their own.
//!
//! A quarantined request is a record like any other, with a position; its sealed body lies here, so that junk can neither
//! fill the records nor stay longer than its limit allows. A body whose request was published may be evicted for a newer
//! one of the same reason; one that was not is never dropped except by `discard`. Bodies outlive their records: they are
//! kept for [`KEPT_FOR`], because somebody has to look at them, while `journal.retain_for` is about replays.

use std::time::Duration;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::fatal::Broken;
use super::queue::Quarantined;
use super::record_codec;
use super::schema::{Checksum, signed, unsigned};
use crate::record::{Position, Record};

/// What [`Stored::of`] reads and rows are written with, in its order.
const COLUMNS: &str = "position, id, reason, received_ms, crc, payload";

/// How long a published body is kept when nobody deals with it: a month with its weekends and holidays.
pub const KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// Bodies dropped for their age per step.
const STEP: i64 = 100;

/// Bytes that a body counts besides itself: its row and index entries.
const ROW_BYTES: u64 = 128;

/// What one body counts toward `journal.quarantine_max_size`.
pub(super) fn counted_bytes(payload_bytes: usize) -> u64 {
    payload_bytes as u64 + ROW_BYTES
}

/// A quarantined request as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its position; for a record that Kafka refused, the position of that record.
    pub position: Position,
    /// The whole record; its content is empty when the body was discarded or evicted, and then it is not listed.
    pub record: Record,
}

/// What [`make_room`] came to.
#[derive(Debug, Clone, Copy)]
pub(super) struct MadeRoom {
    /// Stays freed, whether it was enough or not.
    pub(super) freed_bytes: u64,
    pub(super) enough: bool,
}

/// Makes room for `bytes` within `max_bytes` by evicting the oldest bodies of `reason` up to `published`.
pub(super) fn make_room(
    connection: &Connection,
    reason: &str,
    published: Position,
    used_bytes: u64,
    bytes: u64,
    max_bytes: u64,
) -> Result<MadeRoom, Broken> {
    let mut freed_bytes = 0;
    while used_bytes.saturating_sub(freed_bytes) + bytes > max_bytes {
        let oldest: Option<Position> = connection
            .prepare_cached(
                "SELECT position FROM quarantine WHERE payload IS NOT NULL AND reason = ?1 AND position <= ?2 \
                 ORDER BY position LIMIT 1",
            )?
            .query_row(params![reason, published], |row| row.get(0))
            .optional()?;
        let Some(position) = oldest else {
            return Ok(MadeRoom {
                freed_bytes,
                enough: false,
            });
        };
        freed_bytes += drop_body(connection, position)?.unwrap_or(0);
    }
    Ok(MadeRoom {
        freed_bytes,
        enough: true,
    })
}

/// Keeps a body under `position`. False when one is there already.
pub(super) fn keep(
    connection: &Connection,
    position: Position,
    body: &Quarantined,
) -> Result<bool, Broken> {
    let inserted = connection
        .prepare_cached(&format!(
            "INSERT OR IGNORE INTO quarantine ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
        ))?
        .execute(params![
            position,
            body.id,
            body.reason,
            body.received_ms,
            crc(
                position,
                &body.id,
                &body.reason,
                body.received_ms,
                Some(&body.payload)
            ),
            body.payload,
        ])?;
    Ok(inserted > 0)
}

/// Drops a body and keeps its row, which says that it was dropped. Returns the bytes freed, `None` when there was none.
pub(super) fn drop_body(
    connection: &Connection,
    position: Position,
) -> Result<Option<u64>, Broken> {
    let Some(row) = stored(connection, position)? else {
        return Ok(None);
    };
    let Some(payload) = row.payload else {
        return Ok(None);
    };
    connection
        .prepare_cached("UPDATE quarantine SET payload = NULL, crc = ?2 WHERE position = ?1")?
        .execute(params![
            position,
            crc(position, &row.id, &row.reason, row.received_ms, None)
        ])?;
    Ok(Some(counted_bytes(payload.len())))
}

/// Drops bodies up to `published` received before `before_ms`, at most [`STEP`]; and rows without body whose record is
/// gone. Returns the bytes freed.
pub(super) fn expire(
    connection: &Connection,
    published: Position,
    first: Position,
    before_ms: i64,
) -> Result<u64, Broken> {
    let positions: Vec<Position> = connection
        .prepare_cached(
            "SELECT position FROM (SELECT position, received_ms FROM quarantine WHERE payload IS NOT NULL \
             AND position <= ?1 ORDER BY position LIMIT ?3) WHERE received_ms < ?2",
        )?
        .query_map(params![published, before_ms, STEP], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut freed = 0;
    for position in positions {
        freed += drop_body(connection, position)?.unwrap_or(0);
    }
    connection
        .prepare_cached("DELETE FROM quarantine WHERE position < ?1 AND payload IS NULL")?
        .execute(params![first])?;
    Ok(freed)
}

/// The whole record of the quarantined request at `position`: `Err` when its row is missing, `Ok(None)` when its body was
/// dropped.
pub(super) fn body(connection: &Connection, position: Position) -> Result<Option<Record>, Broken> {
    let row = stored(connection, position)?.ok_or_else(|| {
        Broken::damaged(position, "the row of this quarantined request is missing")
    })?;
    row.record()
}

/// Quarantined requests beyond `after`, oldest first, at most `limit`.
pub(super) fn list(
    connection: &Connection,
    after: Position,
    limit: usize,
) -> Result<Vec<Entry>, Broken> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM quarantine WHERE position > ?1 AND payload IS NOT NULL ORDER BY position LIMIT ?2"
    ))?;
    let mut rows = statement.query(params![after, signed(limit as u64)])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        entries.extend(Stored::of(row)?.entry()?);
    }
    Ok(entries)
}

/// The quarantined request with this id.
pub(super) fn find(connection: &Connection, id: &str) -> Result<Option<Entry>, Broken> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM quarantine WHERE id = ?1 AND payload IS NOT NULL"
    ))?;
    let mut rows = statement.query(params![id])?;
    match rows.next()? {
        Some(row) => Stored::of(row)?.entry(),
        None => Ok(None),
    }
}

/// Checks at most `limit` rows beyond `after`. Returns the last position and the bytes they count, or `None` at the end.
pub(super) fn check(
    connection: &Connection,
    after: Position,
    limit: usize,
) -> Result<Option<(Position, u64)>, Broken> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM quarantine WHERE position > ?1 ORDER BY position LIMIT ?2"
    ))?;
    let mut rows = statement.query(params![after, signed(limit as u64)])?;
    let mut last = None;
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let stored = Stored::of(row)?;
        bytes += stored
            .payload
            .as_ref()
            .map_or(0, |payload| counted_bytes(payload.len()));
        last = Some(stored.position);
        stored.record()?;
    }
    Ok(last.map(|position| (position, bytes)))
}

/// Positions of all rows, up to the first that cannot be read. For `repair`.
pub(super) fn positions(connection: &Connection) -> Vec<Position> {
    let read = || -> rusqlite::Result<Vec<Position>> {
        let mut statement =
            connection.prepare("SELECT position FROM quarantine ORDER BY position")?;
        let positions = statement.query_map([], |row| row.get(0))?;
        Ok(positions.map_while(Result::ok).collect())
    };
    read().unwrap_or_default()
}

/// Whether there is a row for `position`.
pub(super) fn exists(connection: &Connection, position: Position) -> Result<bool, Broken> {
    Ok(connection
        .prepare_cached("SELECT 1 FROM quarantine WHERE position = ?1")?
        .exists(params![position])?)
}

/// Copies the row at `position` into another journal, if it is whole; else, for a `record` that needs one, a row without
/// body. Returns the bytes that count. For `repair`.
pub(super) fn copy(
    old: &Connection,
    new: &Connection,
    position: Position,
    record: Option<&Record>,
) -> Result<u64, Broken> {
    let row = match (stored(old, position).ok().flatten(), record) {
        (Some(row), _) => row,
        (None, None) => return Ok(0),
        (None, Some(record)) => Stored {
            position,
            id: record.id.clone(),
            reason: record
                .quarantine
                .as_ref()
                .map(|facts| facts.reason.clone())
                .unwrap_or_default(),
            received_ms: record.received_at.as_millisecond(),
            payload: None,
        },
    };
    new.prepare_cached(&format!(
        "INSERT INTO quarantine ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
    ))?
    .execute(params![
        row.position,
        row.id,
        row.reason,
        row.received_ms,
        crc(
            row.position,
            &row.id,
            &row.reason,
            row.received_ms,
            row.payload.as_deref()
        ),
        row.payload,
    ])?;
    Ok(row
        .payload
        .as_ref()
        .map_or(0, |payload| counted_bytes(payload.len())))
}

/// A row, its CRC checked.
struct Stored {
    position: Position,
    id: String,
    reason: String,
    received_ms: i64,
    payload: Option<Vec<u8>>,
}

impl Stored {
    fn of(row: &Row<'_>) -> Result<Self, Broken> {
        let stored = Self {
            position: row.get(0)?,
            id: row.get(1)?,
            reason: row.get(2)?,
            received_ms: row.get(3)?,
            payload: row.get(5)?,
        };
        let sum = crc(
            stored.position,
            &stored.id,
            &stored.reason,
            stored.received_ms,
            stored.payload.as_deref(),
        );
        if row.get::<_, i64>(4)? != i64::from(sum) {
            return Err(Broken::damaged(
                stored.position,
                "the checksum of this quarantined request is wrong",
            ));
        }
        Ok(stored)
    }

    fn record(self) -> Result<Option<Record>, Broken> {
        let Some(payload) = self.payload else {
            return Ok(None);
        };
        record_codec::decode(&Bytes::from(payload))
            .map(Some)
            .map_err(|error| Broken::damaged(self.position, error.to_string()))
    }

    fn entry(self) -> Result<Option<Entry>, Broken> {
        let position = self.position;
        Ok(self.record()?.map(|record| Entry { position, record }))
    }
}

fn stored(connection: &Connection, position: Position) -> Result<Option<Stored>, Broken> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM quarantine WHERE position = ?1"
    ))?;
    let mut rows = statement.query(params![position])?;
    rows.next()?.map(Stored::of).transpose()
}

fn crc(
    position: Position,
    id: &str,
    reason: &str,
    received_ms: i64,
    payload: Option<&[u8]>,
) -> u32 {
    let mut crc = Checksum::default();
    crc.number(position.0);
    crc.text(id);
    crc.text(reason);
    crc.number(unsigned(received_ms));
    crc.number(u64::from(payload.is_some()));
    crc.bytes(payload.unwrap_or_default());
    crc.0
}
