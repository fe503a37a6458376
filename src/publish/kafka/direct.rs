//! The producer of the stateless mode: used by many at once, polled by one thread.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use tokio::sync::oneshot;

use super::super::cluster::Limits;
use super::super::failure::{Decision, Failure};
use super::super::message::Message;
use super::errors;
use super::listener::Listener;
use super::producer::headers_of;
use super::settings::ClientSettings;
use super::survey;

type Waiter = oneshot::Sender<Result<(), Failure>>;

/// An idempotent producer whose messages are each waited for.
pub(crate) struct DirectProducer {
    inner: BaseProducer<Answers>,
    probe_topic: String,
}

/// Why a producer has to be replaced.
pub(crate) enum Spent {
    /// It is beyond repair: nothing that is sent arrives.
    Producer(Failure),
    /// A new one or an operator has to mend what became of a message; others may fare better.
    Delivery(Failure),
}

/// Answers each waiter when its message is delivered or given up.
struct Answers {
    listener: Listener,
    /// The first failure that a new producer or an operator has to mend.
    failed: Mutex<Option<Failure>>,
}

impl DirectProducer {
    pub(super) fn new(
        settings: &ClientSettings,
        limits: Limits,
        ack_timeout: Duration,
        probe_topic: &str,
    ) -> Result<Self, Failure> {
        let listener = settings.listener();
        let answers = Answers {
            listener: listener.clone(),
            failed: Mutex::default(),
        };
        let inner = settings
            .direct(limits, ack_timeout)
            .create_with_context(answers)
            .map_err(|error| errors::failure("no Kafka producer can be made", &error, &listener))?;
        Ok(Self {
            inner,
            probe_topic: probe_topic.to_owned(),
        })
    }

    /// Queues a message; its fate comes over the receiver. `None` when the queue is full.
    pub(crate) fn send(
        &self,
        message: &Message<'_>,
    ) -> Result<oneshot::Receiver<Result<(), Failure>>, Option<Failure>> {
        let (waiter, delivered) = oneshot::channel();
        let record = BaseRecord {
            topic: message.topic,
            partition: None,
            payload: Some(&*message.value),
            key: message.key,
            timestamp: None,
            headers: headers_of(message),
            delivery_opaque: Box::new(waiter),
        };
        match self.inner.send(record) {
            Ok(()) => Ok(delivered),
            Err((error, _)) if errors::code_of(&error) == Some(RDKafkaErrorCode::QueueFull) => {
                Err(None)
            }
            Err((error, _)) => {
                let what = format!("a message for topic {} is not taken", message.topic);
                let listener = &self.inner.context().listener;
                Err(Some(errors::failure(&what, &error, listener)))
            }
        }
    }

    /// Handles delivery reports for as long as `timeout`.
    pub(crate) fn poll(&self, timeout: Duration) {
        self.inner.poll(timeout);
    }

    /// Messages that are still waited for.
    pub(crate) fn in_flight(&self) -> usize {
        usize::try_from(self.inner.in_flight_count()).unwrap_or(0)
    }

    /// What this producer does not get over, if there is anything.
    pub(crate) fn spent(&self) -> Option<Spent> {
        let context = self.inner.context();
        let what = "the producer is beyond repair";
        errors::fatal(what, self.inner.client(), &context.listener)
            .map(Spent::Producer)
            .or_else(|| context.failed().take().map(Spent::Delivery))
    }

    /// Whether all brokers went away since this was last asked, and why.
    pub(crate) fn lost_all_brokers(&self) -> Option<String> {
        self.inner.context().listener.take_all_brokers_down()
    }

    /// Whether a broker answers, asked now; at most for `timeout`.
    pub(crate) fn probe(&self, timeout: Duration) -> bool {
        survey::probe(self.inner.client(), &self.probe_topic, timeout)
    }
}

impl Answers {
    fn failed(&self) -> MutexGuard<'_, Option<Failure>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Answers {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.listener.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.listener.error(error, reason);
    }
}

impl ProducerContext for Answers {
    type DeliveryOpaque = Box<Waiter>;

    fn delivery(&self, result: &DeliveryResult<'_>, waiter: Box<Waiter>) {
        let answer = match result {
            Ok(_) => Ok(()),
            Err((error, message)) => {
                let what = format!("a message for topic {} is not delivered", message.topic());
                let failure = errors::failure(&what, error, &self.listener);
                if matches!(failure.decision(), Decision::Pause(_)) {
                    self.failed().get_or_insert_with(|| failure.clone());
                }
                Err(failure)
            }
        };
        // A waiter that is gone was answered by its own timeout.
        let _ = waiter.send(answer);
    }
}
