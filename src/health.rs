//! Health: whether a postback would be accepted now, and what an operator should look at.
//!
//! A code is stable and of a closed set. A *reason* means that postbacks are refused; *degraded* means that they are
//! accepted but something needs a person: Kafka is away, a topic is missing, two replicas would be one too few.

use serde::Serialize;

use crate::accept::Unavailable;
use crate::journal::Journal;
use crate::publish::PublishStatus;
use crate::shutdown::Shutdown;

/// What readiness is made of. Cheap to clone.
#[derive(Clone)]
pub struct Health {
    /// `None` in the stateless mode.
    pub journal: Option<Journal>,
    /// What the publisher, or the stateless producer, says of Kafka.
    pub publish: PublishStatus,
    /// Whether the process is stopping.
    pub shutdown: Shutdown,
}

/// The body of `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether a postback would be accepted.
    pub ready: bool,
    /// What needs a person although postbacks are accepted.
    pub degraded: Vec<&'static str>,
    /// Why postbacks are refused.
    pub reasons: Vec<&'static str>,
}

impl Health {
    /// The state at this moment. No I/O.
    pub fn readiness(&self) -> Readiness {
        let mut reasons = Vec::new();
        if self.shutdown.requested().is_some() {
            reasons.push(Unavailable::Closing.as_str());
        }
        let refusal = match &self.journal {
            Some(journal) => journal.refusal().map(Unavailable::from),
            None => (!self.publish.kafka_up()).then_some(Unavailable::KafkaUnavailable),
        };
        reasons.extend(refusal.map(Unavailable::as_str));
        Readiness { ready: reasons.is_empty(), degraded: self.publish.degraded(), reasons }
    }
}
