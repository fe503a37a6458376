//! Position records: how far a journal is in Kafka, written by the transactions that carry its records.
//!
//! One record a transaction on a compacted topic, key = the transactional id. What it says is true exactly when the
//! transaction's records are visible, so the newest one that `read_committed` shows is where to go on. It names the
//! journal and the checksum of the record at that position, because a journal can be replaced, restored from a backup, or
//! copied: then the number alone would skip what was never published.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::backlog::{Backlog, BacklogError};
use crate::record::Position;

/// The value of a position record, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PositionRecord {
    /// The journal that numbers new records.
    pub(crate) journal: Uuid,
    /// How often that journal had been opened.
    pub(crate) generation: u64,
    /// The run of the process that wrote it.
    pub(crate) run: Uuid,
    /// The runs before that one on its journal, newest first. Records of early versions have none.
    #[serde(default)]
    pub(crate) before: Vec<Uuid>,
    /// Everything up to here is in Kafka.
    pub(crate) position: u64,
    /// The journal's CRC of the record at that position; 0 where there is none.
    pub(crate) crc: u32,
}

/// A position record as found in Kafka.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its offset.
    pub(crate) offset: i64,
    /// What it says; `None` when its value is not one of ours.
    pub(crate) record: Option<PositionRecord>,
}

/// What Kafka's newest position means for this journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is this journal's: publishing goes on behind it.
    Ours(Position),
    /// It is not this journal's, for the reason given.
    Foreign(String),
}

impl PositionRecord {
    /// Its JSON.
    pub(crate) fn encode(&self) -> Vec<u8> {
        // Numbers and UUIDs: there is nothing in it that can fail to serialise.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The record in a value, if it is one.
    pub(crate) fn decode(value: &[u8]) -> Option<Self> {
        serde_json::from_slice(value).ok()
    }

    /// Whether this record is of the journal behind `backlog`.
    ///
    /// A record that the journal no longer keeps counts as matching up to `mark`: only published records are deleted.
    pub(crate) fn judge(
        &self,
        backlog: &mut impl Backlog,
        mark: Position,
    ) -> Result<Verdict, BacklogError> {
        let journal = backlog.journal();
        if self.journal != journal {
            return Ok(Verdict::Foreign(format!(
                "it is of journal {}, this is {journal}",
                self.journal
            )));
        }
        let position = Position(self.position);
        if position == Position(0) {
            return Ok(Verdict::Ours(position));
        }
        Ok(match backlog.crc_at(position)? {
            Some(crc) if crc == self.crc => Verdict::Ours(position),
            None if position <= mark => Verdict::Ours(position),
            Some(_) => {
                Verdict::Foreign(format!("the record at position {position} is another one"))
            }
            None => Verdict::Foreign(format!("this journal has no record at position {position}")),
        })
    }
}
