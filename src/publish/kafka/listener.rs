//! librdkafka's voice: its logs go to tracing, its global errors are remembered, and no secret passes.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::config::Properties;

/// Parts of property names whose values are secret.
const SECRET_NAMES: [&str; 6] = [
    "password",
    "secret",
    "token",
    "key.pem",
    "keystore",
    "oauthbearer.config",
];

/// The facility of the log line with which librdkafka gives a transaction up.
const TRANSACTION_FAILED: &str = "TXNERR";

/// Values that must not be seen.
#[derive(Clone, Default)]
pub(super) struct Secrets(Arc<[String]>);

/// The context of a client. Clones share what was heard.
#[derive(Clone)]
pub(super) struct Listener {
    secrets: Secrets,
    heard: Arc<Mutex<Heard>>,
}

#[derive(Default)]
struct Heard {
    last_reason: Option<String>,
    all_brokers_down: bool,
    /// Why librdkafka gave the transaction up. It says so in its log alone: the messages are merely purged.
    transaction_error: Option<String>,
}

impl Secrets {
    pub(super) fn of(properties: &Properties) -> Self {
        Self(
            properties
                .0
                .iter()
                .filter(|(name, value)| {
                    !value.is_empty() && SECRET_NAMES.iter().any(|part| name.contains(part))
                })
                .map(|(_, value)| value.clone())
                .collect(),
        )
    }

    pub(super) fn mask<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.0.iter().fold(Cow::Borrowed(text), |text, secret| {
            if text.contains(secret.as_str()) {
                Cow::Owned(text.replace(secret.as_str(), "***"))
            } else {
                text
            }
        })
    }
}

impl Listener {
    pub(super) fn new(secrets: Secrets) -> Self {
        Self {
            secrets,
            heard: Arc::default(),
        }
    }

    pub(super) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// The last thing that librdkafka complained about.
    pub(super) fn last_reason(&self) -> Option<String> {
        self.heard().last_reason.clone()
    }

    /// Whether all brokers went away since this was last asked, and why.
    pub(super) fn take_all_brokers_down(&self) -> Option<String> {
        let mut heard = self.heard();
        std::mem::take(&mut heard.all_brokers_down).then(|| {
            heard
                .last_reason
                .clone()
                .unwrap_or_else(|| "no broker can be reached".to_owned())
        })
    }

    /// Why the transaction failed, when librdkafka gave it up.
    pub(super) fn transaction_error(&self) -> Option<String> {
        self.heard().transaction_error.clone()
    }

    /// Forgets the last transaction's troubles.
    pub(super) fn transaction_begins(&self) {
        self.heard().transaction_error = None;
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Listener {
    /// The bridge has its own words for what matters, so most of this is for whoever debugs a connection.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let message = self.secrets.mask(message);
        if facility == TRANSACTION_FAILED {
            self.heard()
                .transaction_error
                .get_or_insert_with(|| message.clone().into_owned());
        }
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::warn!(target: "librdkafka", facility, "{message}");
            }
            RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning
            | RDKafkaLogLevel::Notice
            | RDKafkaLogLevel::Info
            | RDKafkaLogLevel::Debug => {
                tracing::debug!(target: "librdkafka", facility, "{message}");
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let reason = self.secrets.mask(reason).into_owned();
        tracing::debug!(target: "librdkafka", "{error}: {reason}");
        let mut heard = self.heard();
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            heard.all_brokers_down = true;
        } else {
            heard.last_reason = Some(reason);
        }
    }
}

impl ConsumerContext for Listener {}
