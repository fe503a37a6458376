//! From a postback to its answer: normalise, seal, append.
//!
//! The way itself arrives with its own branch; here is what the ingress needs to know of it.

use crate::normalise::Malformed;
use crate::postback::Postback;

/// Accepts postbacks. Cheap to clone.
#[derive(Clone)]
pub struct Acceptor;

/// A postback that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The CloudEvents id of its event.
    pub id: String,
}

/// A postback that became no event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Final for its sender; kept in the quarantine.
    Malformed {
        /// What is wrong.
        malformed: Malformed,
        /// Where it is kept.
        quarantine_id: String,
    },
    /// Our fault: to be sent again. Nothing is kept, or it may appear once.
    Unavailable(Unavailable),
}

/// Why a postback cannot be accepted now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unavailable {
    /// The journal is at its limit or the disk at its floor.
    JournalFull,
    /// The quarantine is full of unpublished requests.
    QuarantineFull,
    /// Too many postbacks wait for the disk.
    QueueFull,
    /// The process is stopping.
    Closing,
    /// A write failed; the process is about to leave.
    JournalFailed,
    /// Stateless mode: the in-sync replicas did not confirm in time.
    KafkaUnavailable,
}

impl Unavailable {
    /// The word of the interface.
    pub fn reason(self) -> &'static str {
        match self {
            Self::JournalFull => "journal_full",
            Self::QuarantineFull => "quarantine_full",
            Self::QueueFull => "queue_full",
            Self::Closing => "closing",
            Self::JournalFailed => "journal_failed",
            Self::KafkaUnavailable => "kafka_unavailable",
        }
    }
}

impl Acceptor {
    /// Makes a postback durable.
    pub async fn accept(&self, postback: Postback) -> Result<Accepted, Refusal> {
        let _ = postback;
        Err(Refusal::Unavailable(Unavailable::Closing))
    }
}
