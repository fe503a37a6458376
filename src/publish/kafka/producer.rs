//! The producer of the engine: one `BaseProducer`, never shared.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext, PurgeConfig};

use super::super::cluster::{CallError, Limits, Producer, SendError};
use super::super::failure::Failure;
use super::super::message::{Message, Subject};
use super::errors;
use super::listener::Listener;
use super::reports;
use super::settings::ClientSettings;
use super::survey;
use crate::record::Position;

/// Positions count from 1, so this one is free to stand for the position record.
const POSITION_RECORD: usize = 0;
/// How long purged messages may take to be reported.
const PURGE_WAIT: Duration = Duration::from_millis(200);

/// A producer with its delivery reports.
pub(crate) struct KafkaProducer {
    inner: BaseProducer<Reports>,
    transactional: bool,
    probe_topic: String,
}

/// What delivery reports said.
struct Reports {
    listener: Listener,
    outcome: Mutex<Outcome>,
}

#[derive(Default)]
struct Outcome {
    failed: Option<(Option<Position>, Failure)>,
    position_offset: Option<i64>,
}

impl KafkaProducer {
    pub(super) fn new(
        settings: &ClientSettings,
        limits: Limits,
        probe_topic: &str,
    ) -> Result<Self, Failure> {
        let listener = settings.listener();
        let reports = Reports {
            listener: listener.clone(),
            outcome: Mutex::default(),
        };
        let inner = settings
            .producer(limits)
            .create_with_context(reports)
            .map_err(|error| errors::failure("no Kafka producer can be made", &error, &listener))?;
        Ok(Self {
            inner,
            transactional: settings.transactional(),
            probe_topic: probe_topic.to_owned(),
        })
    }

    /// A failure of a call; when the producer is beyond repair, the reason for that.
    fn failure(&self, what: &str, error: &KafkaError) -> Failure {
        let listener = &self.inner.context().listener;
        errors::fatal(what, self.inner.client(), listener)
            .unwrap_or_else(|| errors::failure(what, error, listener))
    }

    /// The outcome of a call that can be resumed when its time was too short.
    fn resumable(&self, what: &str, result: Result<(), KafkaError>) -> Result<(), CallError> {
        let Err(error) = result else {
            return Ok(());
        };
        let unfinished = match &error {
            KafkaError::Transaction(error) => error.is_retriable() && !error.is_fatal(),
            other => errors::code_of(other) == Some(RDKafkaErrorCode::OperationTimedOut),
        };
        if unfinished {
            Err(CallError::Unfinished(error.to_string()))
        } else {
            Err(CallError::Failed(self.failure(what, &error)))
        }
    }
}

impl Producer for KafkaProducer {
    fn init_transactions(&mut self, timeout: Duration) -> Result<(), CallError> {
        let result = self.inner.init_transactions(timeout);
        self.inner.poll(Duration::ZERO);
        self.resumable("the transactional id cannot be taken", result)
    }

    fn begin(&mut self) -> Result<(), Failure> {
        self.inner.context().outcome().failed = None;
        self.inner.context().listener.transaction_begins();
        if !self.transactional {
            return Ok(());
        }
        self.inner
            .begin_transaction()
            .map_err(|error| self.failure("no transaction can be begun", &error))
    }

    fn send(&mut self, message: &Message<'_>) -> Result<(), SendError> {
        let opaque = match message.subject {
            Subject::Record(Position(position)) => position as usize,
            Subject::PositionRecord => POSITION_RECORD,
        };
        let record = BaseRecord {
            topic: message.topic,
            partition: None,
            payload: Some(&*message.value),
            key: message.key,
            timestamp: None,
            headers: headers_of(message),
            delivery_opaque: opaque,
        };
        self.inner.send(record).map_err(|(error, _)| {
            if errors::code_of(&error) == Some(RDKafkaErrorCode::QueueFull) {
                SendError::Full
            } else {
                let what = format!("a message for topic {} is not taken", message.topic);
                SendError::Failed(self.failure(&what, &error))
            }
        })
    }

    fn poll(&mut self, timeout: Duration) {
        reports::handle(&self.inner, timeout);
    }

    fn in_flight(&self) -> usize {
        usize::try_from(self.inner.in_flight_count()).unwrap_or(0)
    }

    fn failed_delivery(&self) -> Option<(Option<Position>, Failure)> {
        let context = self.inner.context();
        let (position, failure) = context.outcome().failed.clone()?;
        let fatal = errors::fatal(&failure.text, self.inner.client(), &context.listener);
        Some((position, fatal.unwrap_or(failure)))
    }

    fn position_offset(&self) -> Option<i64> {
        self.inner.context().outcome().position_offset
    }

    fn commit(&mut self, timeout: Duration) -> Result<(), CallError> {
        let result = self.inner.commit_transaction(timeout);
        self.resumable("a transaction is not committed", result)
    }

    fn abort(&mut self, timeout: Duration) {
        // Reported first: rdkafka's abort waits for reports that nobody fetches.
        self.inner.purge(PurgeConfig::default().queue().inflight());
        reports::handle(&self.inner, PURGE_WAIT.min(timeout));
        if let Err(error) = self.inner.abort_transaction(timeout) {
            tracing::debug!("a transaction is not aborted, the next session does it: {error}");
        }
    }

    fn lost_all_brokers(&mut self) -> Option<String> {
        self.inner.context().listener.take_all_brokers_down()
    }

    fn probe(&mut self, timeout: Duration) -> bool {
        survey::probe(self.inner.client(), &self.probe_topic, timeout)
    }
}

/// The headers of a message as librdkafka wants them.
pub(super) fn headers_of(message: &Message<'_>) -> Option<OwnedHeaders> {
    let mut headers: Option<OwnedHeaders> = None;
    for (key, value) in message.headers() {
        let value = Some(value);
        headers = Some(
            headers
                .unwrap_or_else(|| OwnedHeaders::new_with_capacity(8))
                .insert(Header { key, value }),
        );
    }
    headers
}

impl Reports {
    fn undelivered(&self, topic: &str, error: &KafkaError) -> Failure {
        if errors::is_purged(error)
            && let Some(reason) = self.listener.transaction_error()
        {
            return Failure::new(errors::kind_of_words(&reason), reason);
        }
        let what = format!("a message for topic {topic} is not delivered");
        errors::failure(&what, error, &self.listener)
    }

    fn outcome(&self) -> MutexGuard<'_, Outcome> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.listener.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.listener.error(error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        match result {
            Ok(message) => {
                if opaque == POSITION_RECORD {
                    self.outcome().position_offset = Some(message.offset());
                }
            }
            Err((error, message)) => {
                let position = (opaque != POSITION_RECORD).then_some(Position(opaque as u64));
                self.outcome()
                    .failed
                    .get_or_insert_with(|| (position, self.undelivered(message.topic(), error)));
            }
        }
    }
}
