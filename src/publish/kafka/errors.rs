//! librdkafka's errors as kinds of failure.

use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::super::failure::{Failure, FailureKind};
use super::listener::{Listener, Secrets};

/// A failure of what was tried, with what librdkafka complained about last.
pub(super) fn failure(what: &str, error: &KafkaError, listener: &Listener) -> Failure {
    let kind = kind_of(error);
    let mut text = format!("{what}: {}", describe(error, listener.secrets()));
    if kind == FailureKind::Unreachable
        && let Some(reason) = listener.last_reason()
    {
        text = format!("{text} ({reason})");
    }
    Failure::new(kind, text)
}

/// A failure that the broker gave as a bare code.
pub(super) fn coded(what: &str, code: Code) -> Failure {
    Failure::new(kind_of_code(code), format!("{what}: {code}"))
}

/// Why a client is beyond repair, if it is.
pub(super) fn fatal<C: ClientContext>(
    what: &str,
    client: &Client<C>,
    listener: &Listener,
) -> Option<Failure> {
    let (code, reason) = client.fatal_error()?;
    let kind = match kind_of_code(code) {
        kind @ (FailureKind::Fenced | FailureKind::Authorization | FailureKind::Unsupported) => {
            kind
        }
        _ => FailureKind::Abortable,
    };
    let reason = listener.secrets().mask(&reason);
    Some(Failure::new(kind, format!("{what}: {code}: {reason}")))
}

/// An error in words. The value of a refused property may be a password and is left out.
pub(super) fn describe(error: &KafkaError, secrets: &Secrets) -> String {
    match error {
        KafkaError::ClientConfig(_, description, name, _) => {
            format!(
                "property {name} is not valid: {}",
                secrets.mask(description)
            )
        }
        other => secrets.mask(&other.to_string()).into_owned(),
    }
}

/// The code within an error; rdkafka's own accessor leaves admin operations out.
pub(super) fn code_of(error: &KafkaError) -> Option<Code> {
    match error {
        KafkaError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    }
}

fn kind_of(error: &KafkaError) -> FailureKind {
    match error {
        KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) | KafkaError::Nul(_) => {
            FailureKind::Unsupported
        }
        other => code_of(other).map_or(FailureKind::Abortable, kind_of_code),
    }
}

/// Codes that are not named here are transient or beyond repair; a new producer serves both.
pub(super) fn kind_of_code(code: Code) -> FailureKind {
    match code {
        Code::BrokerTransportFailure
        | Code::Resolve
        | Code::AllBrokersDown
        | Code::OperationTimedOut
        | Code::TimedOutQueue
        | Code::MessageTimedOut
        | Code::RequestTimedOut
        | Code::BrokerNotAvailable
        | Code::NetworkException
        | Code::WaitingForCoordinator
        | Code::CoordinatorNotAvailable
        | Code::CoordinatorLoadInProgress
        | Code::LeaderNotAvailable
        | Code::NotEnoughReplicas
        | Code::NotEnoughReplicasAfterAppend
        | Code::SSL => FailureKind::Unreachable,
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch => FailureKind::Fenced,
        Code::UnknownTopic
        | Code::UnknownTopicOrPartition
        | Code::UnknownPartition
        | Code::UnknownTopicId
        | Code::InvalidTopic
        // Too few brokers for a topic to be made: for good, or while one of them starts or shuts down.
        | Code::InvalidReplicationFactor => FailureKind::Topic,
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::DelegationTokenAuthorizationFailed
        | Code::DelegationTokenExpired
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState
        | Code::Authentication => FailureKind::Authorization,
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize => {
            FailureKind::TooLarge
        }
        Code::InvalidTimestamp => FailureKind::Timestamp,
        Code::UnsupportedFeature
        | Code::UnsupportedVersion
        | Code::UnsupportedForMessageFormat
        | Code::UnsupportedCompressionType
        | Code::NotConfigured
        | Code::InvalidTransactionTimeout
        | Code::InvalidPartitions
        | Code::InvalidConfig
        | Code::PolicyViolation => FailureKind::Unsupported,
        _ => FailureKind::Abortable,
    }
}

/// The kind of a transaction's failure, by the name of the error that ends librdkafka's words for it: `… (NAME)`.
pub(super) fn kind_of_words(words: &str) -> FailureKind {
    const NAMES: [(&str, FailureKind); 7] = [
        ("(TOPIC_AUTHORIZATION_FAILED", FailureKind::Authorization),
        ("(CLUSTER_AUTHORIZATION_FAILED", FailureKind::Authorization),
        ("(UNKNOWN_TOPIC_OR_PART", FailureKind::Topic),
        ("(_UNKNOWN_TOPIC", FailureKind::Topic),
        ("(_UNKNOWN_PARTITION", FailureKind::Topic),
        ("(MSG_SIZE_TOO_LARGE", FailureKind::TooLarge),
        ("(INVALID_TIMESTAMP", FailureKind::Timestamp),
    ];
    NAMES
        .iter()
        .find(|(name, _)| words.contains(name))
        .map_or(FailureKind::Abortable, |(_, kind)| *kind)
}

/// Whether a message failed only because its transaction did.
pub(super) fn is_purged(error: &KafkaError) -> bool {
    matches!(code_of(error), Some(Code::PurgeQueue | Code::PurgeInflight))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::failure::Decision;
    use crate::publish::status::Degraded;

    #[test]
    fn too_few_brokers_for_a_topic_is_a_missing_topic_that_is_tried_again() {
        let failure = coded("topic x cannot be created", Code::InvalidReplicationFactor);
        assert_eq!(failure.decision(), Decision::Pause(Degraded::TopicMissing));
    }
}
