//! A record: the third of the four shapes of one notification (Postback → Event → *Record* → Message).
//!
//! A [`Record`] is an event with its id and with nothing left in clear that must not be on disk: what the journal keeps
//! and the publisher turns into a Kafka message. Its `content` is the finished CloudEvents document, so publishing a
//! backlog copies bytes instead of building JSON.

use bytes::Bytes;
use jiff::Timestamp;

use crate::event::{EventType, Stream};

/// Where a record is in the journal: its sequence number, from 1. Zero is "before the first".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub u64);

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A sealed event with its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The CloudEvents `id`.
    pub id: String,
    /// The CloudEvents `type`; its stream decides the topic.
    pub kind: EventType,
    /// The Kafka key; quarantined requests have none.
    pub key: Option<String>,
    /// Receipt time, to the millisecond.
    pub received_at: Timestamp,
    /// W3C trace context of the request, for the Kafka header `traceparent`.
    pub traceparent: Option<String>,
    /// For the Kafka header `concur-correlation-id`.
    pub correlation_id: Option<String>,
    /// The ESS topic as sent, by which `topics.routes` finds the Kafka topic of [`EventType::Other`].
    pub ess_topic: Option<String>,
    /// Why it is in the quarantine; only for [`EventType::Quarantined`].
    pub quarantine: Option<QuarantineFacts>,
    /// The CloudEvents document, structured JSON. Empty once a quarantined request was discarded or evicted.
    pub content: Bytes,
}

/// What can be said of a quarantined request without opening it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QuarantineFacts {
    /// A word of a closed set: a [`Reason`](crate::normalise::Reason), or one of those below.
    pub reason: String,
    /// What is wrong, quoting nothing.
    pub detail: String,
    /// Bytes of the whole request.
    pub size: u64,
}

impl QuarantineFacts {
    /// The reason of a record that Kafka refused for its size.
    pub const TOO_LARGE: &str = "too_large";
    /// The reason of a request that was discarded, when its facts are gone too.
    pub const DISCARDED: &str = "discarded";
}

impl Record {
    /// The stream that decides the topic.
    pub fn stream(&self) -> Stream {
        self.kind.stream()
    }
}

/// A record together with its place in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The journal that numbered it: a journal that was rolled back numbers on under a new UUID.
    pub journal: uuid::Uuid,
    /// Its sequence number.
    pub position: Position,
    /// The CRC32C that the journal keeps with it, over its encoded form.
    pub crc: u32,
    /// The record.
    pub record: Record,
}
