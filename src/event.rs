//! The normalised event: the second of the four shapes of one notification (Postback → *Event* → Record → Message).
//!
//! [`Event`] is what [`normalise`](crate::normalise) returns: everything that a postback said, in one shape for both
//! dialects, with the token still in clear and without an id. [`seal`](crate::seal) gives it an id, seals the token
//! and writes it down as the CloudEvents 1.0 document that the journal keeps and Kafka carries. The structs under
//! [`data`] are the public form of that document's `data`; the JSON Schemas that `concur-bridge schema` prints are
//! generated from them.

pub mod data;
mod kind;

use bytes::Bytes;
use jiff::Timestamp;

pub use data::Data;
pub use kind::{EventType, Stream};

use crate::secret::Token;

/// One notification, normalised, with the token in clear and without an id.
pub struct Event {
    /// What happened to what.
    pub kind: EventType,
    /// Where it came from.
    pub source: Source,
    /// The CloudEvents `subject`: the trip id or the user id; none for fop.
    pub subject: Option<String>,
    /// What Kafka partitions by.
    pub key: Key,
    /// When the request was received, to the millisecond.
    pub received_at: Timestamp,
    /// The OAuth token of a v1 postback, in clear.
    pub token: Option<Token>,
    /// The sender's own identity of an ESS delivery.
    pub delivery: Option<Delivery>,
    /// The correlation id of an ESS call, for the Kafka header `concur-correlation-id`.
    pub correlation_id: Option<String>,
    /// A valid W3C `traceparent` of the request.
    pub traceparent: Option<String>,
    /// A fop or profile body that is no Notification; sealed into `data.rawBody`.
    pub raw_body: Option<Bytes>,
    /// How many query parameters of a v1 postback the contract does not know. They are ignored, and counted.
    pub unknown_parameters: usize,
    /// The public `data`, without `token` and `rawBody`, which sealing adds.
    pub data: Data,
}

/// The CloudEvents `source`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A company-level v1 postback.
    Company,
    /// A user-level v1 postback.
    User,
    /// An ESS v4 webhook of this topic, as sent.
    Ess(String),
}

impl Source {
    /// The ESS topic, as sent.
    pub fn ess_topic(&self) -> Option<&str> {
        match self {
            Self::Company | Self::User => None,
            Self::Ess(topic) => Some(topic),
        }
    }

    /// The URI-reference of the CloudEvents attribute. An ESS topic is percent-encoded where a path segment needs it.
    pub fn to_uri(&self) -> String {
        /// Everything that RFC 3986 does not allow in a path segment.
        const SEGMENT: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
            .remove(b'-')
            .remove(b'.')
            .remove(b'_')
            .remove(b'~')
            .remove(b':')
            .remove(b'@');
        match self {
            Self::Company => "/concur/v1/company".to_owned(),
            Self::User => "/concur/v1/user".to_owned(),
            Self::Ess(topic) => format!(
                "/concur/ess/v4/{}",
                percent_encoding::utf8_percent_encode(topic, SEGMENT)
            ),
        }
    }
}

/// What the Kafka key is made of. Some of it exists only after sealing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// A trip id, an ObjectURI's text or an ESS `facts.id`: used as it is.
    Trip(String),
    /// A user id: personal data, hashed when `events.user = "hashed"`.
    User(String),
    /// The fingerprint of the event's own token.
    TokenFingerprint,
    /// The id that the event will get.
    EventId,
}

/// How the sender of an ESS delivery identifies it: the grounds on which a repeat is recognised.
///
/// The sender's id may hold a token, so there is no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The ESS topic, as sent.
    pub topic: String,
    /// The sender's id as sent; `None` when it sent none. In clear, token and all: it is only hashed.
    pub sender_id: Option<String>,
    /// Whether the sender's id is the event's: not over 128 bytes, without control characters, and without a token.
    pub serves: bool,
    /// SHA-256 of the body.
    pub sha256: [u8; 32],
}
