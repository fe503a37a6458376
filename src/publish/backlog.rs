//! What the publisher needs of the journal. A trait, because the publisher's model test plays thousands of bad days
//! against a journal in memory.

use std::time::Duration;

use uuid::Uuid;

use crate::record::{Placed, Position};

/// The run of a process, and those that had the same journal open before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    /// Random; new at each opening.
    pub run: Uuid,
    /// Earlier runs, newest first, as far as they are remembered. A copy of the journal has those of the original.
    pub before: Vec<Uuid>,
}

/// The records that wait for Kafka, in order, and the mark of how far Kafka has got.
pub trait Backlog: Send {
    /// The journal's UUID for new records, as position records name it.
    fn journal(&self) -> Uuid;

    /// How often this journal was opened; grows by one at each start.
    fn generation(&self) -> u64;

    /// Who has this journal open, and who had.
    fn lineage(&self) -> Lineage;

    /// The position up to which the journal itself knows that Kafka has everything, and the offset of the position
    /// record that said so.
    fn published(&self) -> (Position, Option<i64>);

    /// Waits until something beyond `position` is durable, at most `timeout`; returns the last durable position.
    fn wait_beyond(&self, position: Position, timeout: Duration) -> Position;

    /// Records after `after`, in order and without a hole, at most `max_records` and, beyond the first, `max_bytes`.
    /// Empty only when nothing durable follows. Ends its read transaction before it returns.
    ///
    /// # Errors
    /// The journal is damaged or cannot be read: the publisher stops the process (exit 3 or 4).
    fn read(
        &mut self,
        after: Position,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Placed>, BacklogError>;

    /// Notes that Kafka has everything up to `position`. Lazily durable: Kafka's own record is the truth.
    fn mark_published(&mut self, position: Position, offset_hint: Option<i64>);

    /// The CRC that the journal keeps with the record at `position`, if it is still kept.
    fn crc_at(&mut self, position: Position) -> Result<Option<u32>, BacklogError>;

    /// Numbers all records beyond `after`, those to come included, under a new UUID, durably: Kafka's position record does
    /// not fit this journal, so what has their numbers there may be something else.
    fn renew_uuid(&mut self, after: Position) -> Result<Uuid, BacklogError>;

    /// Keeps a copy of a record that Kafka refuses for its size in the quarantine, durably and once, however often called.
    fn quarantine_oversized(&mut self, record: &Placed) -> Result<(), BacklogError>;

    /// The id of the Kafka cluster this journal publishes to; `None` before the first contact.
    fn cluster_id(&self) -> Option<String>;

    /// Binds this journal to a Kafka cluster, durably.
    fn bind_cluster(&mut self, cluster_id: &str) -> Result<(), BacklogError>;
}

/// Why the backlog cannot be read or written. Each ends the process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BacklogError {
    /// Exit 3: what was acknowledged is damaged.
    #[error("the journal is damaged at position {position}: {what}")]
    Damaged {
        /// Where.
        position: Position,
        /// What is wrong there.
        what: String,
    },
    /// Exit 4: reading or writing failed.
    #[error("the journal failed: {0}")]
    Failed(String),
}
