//! How long published records are kept: `journal.retain_for` from their receipt and at most `journal.retain_size` bytes.
//!
//! Deleting is part of the writer's transactions, a few records at a time, so that it shares their fsync and never holds
//! them up. An unpublished record is never deleted, nor is the newest one: it carries the last position and byte count.
//! When a limit is near, published records are deleted early: accepting comes before history.

use rusqlite::{Connection, params};

use super::fatal::Broken;
use super::schema::unsigned;
use super::{batch, record_codec};
use crate::config;
use crate::record::Position;

/// Records deleted between two group commits at most: about 2 ms.
pub(super) const STEP: u64 = 1_000;

/// The oldest kept record, as far as deciding about it needs.
#[derive(Debug, Clone, Copy)]
struct Oldest {
    received_ms: i64,
    /// Running byte count before it.
    start_bytes: u64,
}

/// What decides about the oldest records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) published: Position,
    pub(super) published_end_bytes: u64,
    pub(super) newest: Position,
    pub(super) now_ms: i64,
    /// Whether a limit is near.
    pub(super) tight: bool,
}

/// Follows the oldest kept record.
#[derive(Debug)]
pub(super) struct Retention {
    retain_for_ms: i64,
    retain_size_bytes: u64,
    first: Position,
    oldest: Option<Oldest>,
}

impl Retention {
    pub(super) fn new(config: &config::Journal, first: Position) -> Self {
        Self {
            retain_for_ms: batch::whole_ms(config.retain_for),
            retain_size_bytes: config.retain_size_bytes,
            first,
            oldest: None,
        }
    }

    /// The oldest kept position.
    pub(super) fn first(&self) -> Position {
        self.first
    }

    /// Whether the oldest record may go. Reads it once, then answers from memory.
    pub(super) fn is_due(
        &mut self,
        connection: &Connection,
        bounds: &Bounds,
    ) -> Result<bool, Broken> {
        if self.first > bounds.published || self.first >= bounds.newest {
            return Ok(false);
        }
        if self.oldest.is_none() {
            self.oldest = look(connection, self.first, 1)?
                .first()
                .map(|(_, oldest)| *oldest);
        }
        Ok(self
            .oldest
            .is_some_and(|oldest| self.may_go(oldest, bounds)))
    }

    /// Deletes at most `limit` of the oldest records, within the caller's transaction. Returns how many.
    pub(super) fn delete(
        &mut self,
        connection: &Connection,
        bounds: &Bounds,
        limit: u64,
    ) -> Result<u64, Broken> {
        let last = bounds
            .published
            .min(Position(bounds.newest.0.saturating_sub(1)));
        let limit = limit.min(STEP);
        let seen = look(connection, self.first, limit + 1)?;
        let going = seen
            .iter()
            .take(limit as usize)
            .take_while(|(position, oldest)| *position <= last && self.may_go(*oldest, bounds))
            .count();
        let Some((until, _)) = seen[..going].last() else {
            return Ok(0);
        };
        let count = connection
            .prepare_cached("DELETE FROM records WHERE position <= ?1")?
            .execute(params![until])?;
        self.first = Position(until.0 + 1);
        self.oldest = seen.get(going).map(|(_, oldest)| *oldest);
        Ok(count as u64)
    }

    fn may_go(&self, oldest: Oldest, bounds: &Bounds) -> bool {
        bounds.tight
            || bounds.now_ms.saturating_sub(oldest.received_ms) > self.retain_for_ms
            || bounds
                .published_end_bytes
                .saturating_sub(oldest.start_bytes)
                > self.retain_size_bytes
    }
}

/// Position, age and start of records from `first` on.
fn look(
    connection: &Connection,
    first: Position,
    limit: u64,
) -> Result<Vec<(Position, Oldest)>, Broken> {
    let mut statement = connection.prepare_cached(
        "SELECT position, end_bytes, length(payload), substr(payload, 1, 10) FROM records \
         WHERE position >= ?1 ORDER BY position LIMIT ?2",
    )?;
    let mut rows = statement.query(params![first, super::schema::signed(limit)])?;
    let mut seen = Vec::new();
    while let Some(row) = rows.next()? {
        let position: Position = row.get(0)?;
        let length = unsigned(row.get(2)?);
        let head = row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?;
        let received_ms = record_codec::received_ms(head)
            .ok_or_else(|| Broken::damaged(position, "this record has no receipt time"))?;
        let start_bytes = unsigned(row.get(1)?).saturating_sub(length);
        seen.push((
            position,
            Oldest {
                received_ms,
                start_bytes,
            },
        ));
    }
    Ok(seen)
}
