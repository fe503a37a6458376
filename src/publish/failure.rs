//! What can go wrong with Kafka, and what is done about it: one closed set of kinds, one exhaustive match.
//!
//! The rule behind the table: the position in Kafka is the truth, and reading it back is cheap. So whatever is not plainly
//! retriable ends the producer, and the start sequence decides from what Kafka says. Nothing is ever skipped.

use super::status::Degraded;

/// The kind of a failure, told apart by what is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum FailureKind {
    /// No broker, or none that answers in time: connection, resolution, time-outs.
    Unreachable,
    /// The transaction or the producer cannot go on; a new one can.
    Abortable,
    /// Another producer has our transactional id, or the broker gave our transaction up.
    Fenced,
    /// A topic is missing.
    Topic,
    /// Credentials are refused, or an ACL is missing.
    Authorization,
    /// A record or batch is larger than the broker takes.
    TooLarge,
    /// The broker refuses our clock: CreateTime too far from its own.
    Timestamp,
    /// The broker or librdkafka cannot do what configuration asks for.
    Unsupported,
    /// The brokers are another cluster than the one this journal was published to.
    ForeignCluster,
}

/// A failure of a Kafka operation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Failure {
    /// What is to be done about it.
    pub(crate) kind: FailureKind,
    /// What happened, in words for the operator, without secrets.
    pub(crate) text: String,
}

/// What the publisher does after a failure. Each but the last two ends with the start sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Drop the producer; start again after a short, growing wait.
    Restart(Option<Degraded>),
    /// Drop the producer; read the positions before taking the transactional id back: a twin may have taken over.
    AskWhoFenced,
    /// Abort, alarm, and start again every 10 s: only an operator can mend it.
    Pause(Degraded),
    /// Abort; publish one record a transaction until the culprit is found.
    Isolate,
}

impl Failure {
    /// A failure of this kind.
    pub(crate) fn new(kind: FailureKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
        }
    }

    /// What is done about it.
    pub(crate) fn decision(&self) -> Decision {
        match self.kind {
            FailureKind::Unreachable => Decision::Restart(Some(Degraded::KafkaDown)),
            FailureKind::Abortable => Decision::Restart(None),
            FailureKind::Fenced => Decision::AskWhoFenced,
            FailureKind::Topic => Decision::Pause(Degraded::TopicMissing),
            FailureKind::Authorization => Decision::Pause(Degraded::Authorization),
            FailureKind::TooLarge => Decision::Isolate,
            FailureKind::Timestamp => Decision::Pause(Degraded::Timestamp),
            FailureKind::Unsupported => Decision::Pause(Degraded::Unsupported),
            FailureKind::ForeignCluster => Decision::Pause(Degraded::ClusterChanged),
        }
    }
}

impl FailureKind {
    /// Every kind.
    pub(crate) const ALL: [Self; 9] = [
        Self::Unreachable,
        Self::Abortable,
        Self::Fenced,
        Self::Topic,
        Self::Authorization,
        Self::TooLarge,
        Self::Timestamp,
        Self::Unsupported,
        Self::ForeignCluster,
    ];

    /// The label of `concur_bridge_publish_errors_total`.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Unreachable => "retriable",
            Self::Abortable | Self::Unsupported | Self::ForeignCluster => "abortable",
            Self::Fenced => "fenced",
            Self::Topic => "topic",
            Self::Authorization => "authorization",
            Self::TooLarge => "too_large",
            Self::Timestamp => "timestamp",
        }
    }
}
