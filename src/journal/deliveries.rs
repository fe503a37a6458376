//! The ids of ESS deliveries: a repeat within `journal.dedup_for` is one event.
//!
//! A claim is checked and recorded in the transaction of its record, so both are durable or neither. A repeat that comes
//! while the first is still being committed is in the same batch or a later one, and is answered after that commit.
//! Sender and topic are kept as the first half of a SHA-256: fixed size, and nothing of the sender's in clear.

use rusqlite::{Connection, params};

use super::Claim;
use super::fatal::Broken;
use super::schema::{Checksum, unsigned};

/// Expired ids deleted per step.
const STEP: i64 = 500;

/// What a claim led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The delivery is new: record it under [`record`] with the event's id.
    New,
    /// The same delivery became that event.
    Repeated(String),
    /// The sender's id belongs to other bytes.
    Taken,
}

/// Looks a claim up. Deliveries accepted before `expired_before_ms` are forgotten.
pub(super) fn judge(
    connection: &Connection,
    claim: &Claim,
    expired_before_ms: i64,
) -> Result<Verdict, Broken> {
    let sender = sender_key(claim);
    let mut statement = connection.prepare_cached(
        "SELECT sha256, accepted_ms, event_id, crc FROM deliveries WHERE sender = ?1",
    )?;
    let mut rows = statement.query(params![&sender[..]])?;
    let mut verdict = Verdict::New;
    while let Some(row) = rows.next()? {
        let sha256 = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
        let accepted_ms: i64 = row.get(1)?;
        let event_id: String = row.get(2)?;
        if row.get::<_, i64>(3)? != i64::from(crc(&sender, sha256, accepted_ms, &event_id)) {
            return Err(damaged());
        }
        if accepted_ms < expired_before_ms {
            continue;
        }
        if sha256 == claim.sha256 {
            return Ok(Verdict::Repeated(event_id));
        }
        if !claim.second {
            verdict = Verdict::Taken;
        }
    }
    Ok(verdict)
}

/// Records the delivery of `event_id`. An expired one of the same bytes is replaced.
pub(super) fn record(
    connection: &Connection,
    claim: &Claim,
    accepted_ms: i64,
    event_id: &str,
) -> Result<(), Broken> {
    write(
        connection,
        &sender_key(claim),
        &claim.sha256,
        accepted_ms,
        event_id,
    )
}

/// When the oldest remembered delivery was accepted.
pub(super) fn oldest_ms(connection: &Connection) -> Result<Option<i64>, Broken> {
    let mut statement =
        connection.prepare_cached("SELECT accepted_ms FROM deliveries ORDER BY number LIMIT 1")?;
    let mut rows = statement.query([])?;
    Ok(rows.next()?.map(|row| row.get(0)).transpose()?)
}

/// Forgets at most [`STEP`] deliveries accepted before `expired_before_ms`, oldest first. Returns how many.
pub(super) fn forget(connection: &Connection, expired_before_ms: i64) -> Result<usize, Broken> {
    // The oldest come first, up to the first that is kept: after a step back of the clock some stay a little longer.
    let count = connection
        .prepare_cached(
            "DELETE FROM deliveries WHERE number IN (SELECT number FROM deliveries ORDER BY number LIMIT ?2) \
             AND accepted_ms < ?1",
        )?
        .execute(params![expired_before_ms, STEP])?;
    Ok(count)
}

/// Checks at most `limit` deliveries beyond `after`, by row and by index. Returns the last number, or `None` at the end.
pub(super) fn check(
    connection: &Connection,
    after: i64,
    limit: i64,
) -> Result<Option<i64>, Broken> {
    let mut statement = connection.prepare_cached(
        "SELECT d.number, d.sender, d.sha256, d.accepted_ms, d.event_id, d.crc, \
         (SELECT i.number FROM deliveries AS i INDEXED BY deliveries_by_sender \
          WHERE i.sender = d.sender AND i.sha256 = d.sha256) \
         FROM deliveries AS d WHERE d.number > ?1 ORDER BY d.number LIMIT ?2",
    )?;
    let mut rows = statement.query(params![after, limit])?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(0)?;
        let sender = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        let sha256 = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
        let event_id = row.get_ref(4)?.as_str().map_err(rusqlite::Error::from)?;
        let indexed: Option<i64> = row.get(6)?;
        if row.get::<_, i64>(5)? != i64::from(crc(sender, sha256, row.get(3)?, event_id))
            || indexed != Some(number)
        {
            return Err(damaged());
        }
        last = Some(number);
    }
    Ok(last)
}

/// A remembered delivery, as it is moved into another journal.
pub(super) struct WholeRow {
    sender: Vec<u8>,
    sha256: Vec<u8>,
    accepted_ms: i64,
    event_id: String,
}

/// All rows that are whole, up to the first that cannot be read. For `repair`.
pub(super) fn whole_rows(connection: &Connection) -> Vec<WholeRow> {
    let read = || -> rusqlite::Result<Vec<WholeRow>> {
        let mut statement = connection.prepare(
            "SELECT sender, sha256, accepted_ms, event_id, crc FROM deliveries ORDER BY number",
        )?;
        let rows = statement.query_map([], |row| {
            let whole = WholeRow {
                sender: row.get(0)?,
                sha256: row.get(1)?,
                accepted_ms: row.get(2)?,
                event_id: row.get(3)?,
            };
            let sum = crc(
                &whole.sender,
                &whole.sha256,
                whole.accepted_ms,
                &whole.event_id,
            );
            Ok((row.get::<_, i64>(4)? == i64::from(sum)).then_some(whole))
        })?;
        Ok(rows.map_while(Result::ok).flatten().collect())
    };
    read().unwrap_or_default()
}

/// Inserts a row of another journal.
pub(super) fn insert(connection: &Connection, row: &WholeRow) -> Result<(), Broken> {
    let WholeRow {
        sender,
        sha256,
        accepted_ms,
        event_id,
    } = row;
    write(connection, sender, sha256, *accepted_ms, event_id)
}

fn write(
    connection: &Connection,
    sender: &[u8],
    sha256: &[u8],
    accepted_ms: i64,
    event_id: &str,
) -> Result<(), Broken> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO deliveries (sender, sha256, accepted_ms, event_id, crc) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            sender,
            sha256,
            accepted_ms,
            event_id,
            crc(sender, sha256, accepted_ms, event_id),
        ])?;
    Ok(())
}

fn damaged() -> Broken {
    Broken::damaged(None, "the checksum of a remembered ESS delivery is wrong")
}

fn sender_key(claim: &Claim) -> [u8; 16] {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(&(claim.topic.len() as u64).to_le_bytes());
    context.update(claim.topic.as_bytes());
    context.update(claim.sender_id.as_bytes());
    let mut key = [0; 16];
    key.copy_from_slice(&context.finish().as_ref()[..16]);
    key
}

fn crc(sender: &[u8], sha256: &[u8], accepted_ms: i64, event_id: &str) -> u32 {
    let mut crc = Checksum::default();
    crc.bytes(sender);
    crc.bytes(sha256);
    crc.number(unsigned(accepted_ms));
    crc.text(event_id);
    crc.0
}
