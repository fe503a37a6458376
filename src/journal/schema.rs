//! The tables, and the typed rows of `meta` and `epochs`.
//!
//! Every row that is not a cache of others carries a CRC32C, because SQLite itself does not notice a changed byte within a
//! value. A journal of an older schema is upgraded here or refused by version; a newer one is always refused.

use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::fatal::Broken;
use crate::record::Position;

/// "CBjl": tells a journal from any other SQLite file.
pub(super) const APPLICATION_ID: i64 = 0x4342_6a6c;
/// The format this version writes. 1 is the first.
pub(super) const SCHEMA_VERSION: i64 = 1;

/// `records` is append-only in the order of its key, so inserts touch the last page only. The payload comes last: the
/// columns before it are read without following overflow pages.
const TABLES: &str = "
CREATE TABLE meta (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  instance TEXT NOT NULL,
  transactional_prefix TEXT NOT NULL,
  cluster_id TEXT,
  generation INTEGER NOT NULL,
  published INTEGER NOT NULL,
  published_end_bytes INTEGER NOT NULL,
  published_hint INTEGER,
  first_position INTEGER NOT NULL,
  quarantine_bytes INTEGER NOT NULL,
  crc INTEGER NOT NULL
);
CREATE TABLE epochs (
  first_position INTEGER PRIMARY KEY,
  uuid BLOB NOT NULL,
  crc INTEGER NOT NULL
);
CREATE TABLE records (
  position INTEGER PRIMARY KEY,
  end_bytes INTEGER NOT NULL,
  crc INTEGER NOT NULL,
  payload BLOB NOT NULL
);
CREATE TABLE quarantine (
  position INTEGER PRIMARY KEY,
  id TEXT NOT NULL,
  reason TEXT NOT NULL,
  received_ms INTEGER NOT NULL,
  crc INTEGER NOT NULL,
  payload BLOB
);
CREATE INDEX quarantine_by_reason ON quarantine (reason, position) WHERE payload IS NOT NULL;
CREATE INDEX quarantine_by_id ON quarantine (id);
CREATE TABLE deliveries (
  number INTEGER PRIMARY KEY,
  sender BLOB NOT NULL,
  sha256 BLOB NOT NULL,
  accepted_ms INTEGER NOT NULL,
  event_id TEXT NOT NULL,
  crc INTEGER NOT NULL
);
CREATE UNIQUE INDEX deliveries_by_sender ON deliveries (sender, sha256);
";

/// The single row of `meta`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) instance: String,
    pub(super) transactional_prefix: String,
    pub(super) cluster_id: Option<String>,
    pub(super) generation: u64,
    pub(super) published: Position,
    /// Running byte count after the published record.
    pub(super) published_end_bytes: u64,
    pub(super) published_hint: Option<i64>,
    /// The oldest kept record; 1 when there was none yet.
    pub(super) first_position: Position,
    pub(super) quarantine_bytes: u64,
}

/// From `first_position` on, records were numbered under `uuid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Epoch {
    pub(super) first_position: Position,
    pub(super) uuid: Uuid,
}

/// Creates all tables in one transaction, with the identity in it: a crash leaves an empty file or a whole journal.
pub(super) fn create(connection: &Connection, meta: &Meta, epoch: Epoch) -> Result<(), Broken> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    connection.execute_batch(TABLES)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    meta.save(connection)?;
    epoch.save(connection)?;
    connection.execute_batch("COMMIT")?;
    Ok(())
}

impl Meta {
    /// Of a journal that was never opened and begins at `first`, of which Kafka has nothing.
    pub(super) fn new(instance: String, transactional_prefix: String, first: Position) -> Self {
        Self {
            instance,
            transactional_prefix,
            cluster_id: None,
            generation: 0,
            published: Position(first.0 - 1),
            published_end_bytes: 0,
            published_hint: None,
            first_position: first,
            quarantine_bytes: 0,
        }
    }

    /// Reads and checks the row.
    pub(super) fn load(connection: &Connection) -> Result<Self, Broken> {
        let row = connection
            .prepare_cached(
                "SELECT instance, transactional_prefix, cluster_id, generation, published, published_end_bytes, \
                 published_hint, first_position, quarantine_bytes, crc FROM meta WHERE id = 1",
            )?
            .query_row([], |row| {
                let meta = Self {
                    instance: row.get(0)?,
                    transactional_prefix: row.get(1)?,
                    cluster_id: row.get(2)?,
                    generation: unsigned(row.get(3)?),
                    published: row.get(4)?,
                    published_end_bytes: unsigned(row.get(5)?),
                    published_hint: row.get(6)?,
                    first_position: row.get(7)?,
                    quarantine_bytes: unsigned(row.get(8)?),
                };
                Ok((meta, row.get::<_, i64>(9)?))
            })
            .optional()?;
        let (meta, crc) = row.ok_or_else(|| Broken::damaged(None, "the meta row is missing"))?;
        if crc != i64::from(meta.crc()) {
            return Err(Broken::damaged(
                None,
                "the checksum of the meta row is wrong",
            ));
        }
        Ok(meta)
    }

    /// Writes the row, within the caller's transaction.
    pub(super) fn save(&self, connection: &Connection) -> Result<(), Broken> {
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO meta (id, instance, transactional_prefix, cluster_id, generation, published, \
                 published_end_bytes, published_hint, first_position, quarantine_bytes, crc) \
                 VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?
            .execute(params![
                self.instance,
                self.transactional_prefix,
                self.cluster_id,
                signed(self.generation),
                self.published,
                signed(self.published_end_bytes),
                self.published_hint,
                self.first_position,
                signed(self.quarantine_bytes),
                self.crc(),
            ])?;
        Ok(())
    }

    /// Counts what the quarantine holds no more.
    pub(super) fn quarantine_freed(&mut self, bytes: u64) {
        self.quarantine_bytes = self.quarantine_bytes.saturating_sub(bytes);
    }

    fn crc(&self) -> u32 {
        let mut crc = Checksum::default();
        crc.text(&self.instance);
        crc.text(&self.transactional_prefix);
        crc.number(u64::from(self.cluster_id.is_some()));
        crc.text(self.cluster_id.as_deref().unwrap_or_default());
        crc.number(self.generation);
        crc.number(self.published.0);
        crc.number(self.published_end_bytes);
        crc.number(u64::from(self.published_hint.is_some()));
        crc.number(unsigned(self.published_hint.unwrap_or_default()));
        crc.number(self.first_position.0);
        crc.number(self.quarantine_bytes);
        crc.0
    }
}

impl Epoch {
    /// Reads and checks all, oldest first. There is at least one.
    pub(super) fn load_all(connection: &Connection) -> Result<Vec<Self>, Broken> {
        let mut statement = connection
            .prepare("SELECT first_position, uuid, crc FROM epochs ORDER BY first_position")?;
        let mut rows = statement.query([])?;
        let mut epochs = Vec::new();
        while let Some(row) = rows.next()? {
            let uuid: Vec<u8> = row.get(1)?;
            let epoch = Self {
                first_position: row.get(0)?,
                uuid: Uuid::from_slice(&uuid)
                    .map_err(|_| Broken::damaged(None, "a journal uuid is not one"))?,
            };
            if row.get::<_, i64>(2)? != i64::from(epoch.crc()) {
                return Err(Broken::damaged(
                    None,
                    "the checksum of a journal uuid is wrong",
                ));
            }
            epochs.push(epoch);
        }
        match epochs.first() {
            Some(first) if first.first_position == Position(1) => Ok(epochs),
            _ => Err(Broken::damaged(None, "the first journal uuid is missing")),
        }
    }

    /// Writes the row, within the caller's transaction.
    pub(super) fn save(&self, connection: &Connection) -> Result<(), Broken> {
        connection.execute(
            "INSERT OR REPLACE INTO epochs (first_position, uuid, crc) VALUES (?1, ?2, ?3)",
            params![self.first_position, &self.uuid.as_bytes()[..], self.crc()],
        )?;
        Ok(())
    }

    /// Writes the row in place of all that begin there or later, within the caller's transaction.
    pub(super) fn replace_from(&self, connection: &Connection) -> Result<(), Broken> {
        connection.execute(
            "DELETE FROM epochs WHERE first_position >= ?1",
            params![self.first_position],
        )?;
        self.save(connection)
    }

    fn crc(&self) -> u32 {
        let mut crc = Checksum::default();
        crc.number(self.first_position.0);
        crc.bytes(self.uuid.as_bytes());
        crc.0
    }
}

/// A running CRC32C over fields; each is preceded by its length, so that none can borrow bytes from its neighbour.
#[derive(Default)]
pub(super) struct Checksum(pub(super) u32);

impl Checksum {
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0 = crc32c::crc32c_append(self.0, bytes);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(super) fn number(&mut self, number: u64) {
        self.0 = crc32c::crc32c_append(self.0, &number.to_le_bytes());
    }
}

/// The largest position that SQLite's integers hold: no record is beyond it.
pub(super) const LARGEST: Position = Position(i64::MAX.cast_unsigned());

/// SQLite's integers are signed. The journal's counters stay far below 2^63; a damaged one wraps and fails its CRC.
pub(super) fn signed(number: u64) -> i64 {
    number.cast_signed()
}

/// The inverse of [`signed`].
pub(super) fn unsigned(number: i64) -> u64 {
    number.cast_unsigned()
}

impl ToSql for Position {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(signed(self.0).into())
    }
}

impl FromSql for Position {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_i64().map(|number| Self(unsigned(number)))
    }
}
