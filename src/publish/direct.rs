//! The stateless mode, `acknowledge_after = "kafka"`: no journal, a record is acknowledged when Kafka has it.
//!
//! **Promises.** [`Direct::append`] returns `Ok` only after all in-sync replicas have the record: an idempotent producer
//! with `acks=all`, no transaction, no position header. Records of one key are in Kafka in the order of the calls.
//! After an error the record may still appear: the sender repeats what it was not acknowledged.
//!
//! **When it fails.** While brokers are known to be down, topics are missing or the producer is being replaced, `append`
//! fails at once; else after `ingress.kafka_ack_timeout` at the latest. What is in flight is bounded by librdkafka's queue,
//! in bytes and in records; beyond it `append` fails at once.
//!
//! **Left to others.** Repeated deliveries: without a journal nobody remembers them, so consumers deduplicate by id.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::cluster::Limits;
use super::failure::{Decision, Failure, FailureKind};
use super::kafka::{DirectProducer, KafkaCluster};
use super::message::Composer;
use super::prepare::Preparation;
use super::status::{Degraded, Status};
use super::stop::Stop;
use super::{End, topics};
use crate::record::Record;

/// How long one round of looking after the producer takes; reports are handled as they come.
const ROUND: Duration = Duration::from_millis(50);
/// How often brokers that are down are asked whether they are back.
const PROBE_EVERY: Duration = Duration::from_millis(500);
/// Before trying again what failed; what only an operator can mend, more slowly.
const RETRY: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_secs(10);

/// Why a record is not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DirectError {
    /// Retry later: Kafka cannot be reached or cannot take it.
    #[error("kafka does not take it: {0}")]
    Unavailable(String),
    /// Retry later: as much as may be is in flight.
    #[error("too much is on its way to kafka")]
    Busy,
    /// Retry later: no answer in time; it may still appear.
    #[error("kafka did not acknowledge it in time")]
    TimedOut,
    /// Give up here: it is larger than its topic takes.
    #[error("it is too large for its topic: {0}")]
    TooLarge(String),
}

/// The way into Kafka for those who wait for it. Cheap to clone.
#[derive(Clone)]
pub struct Direct {
    shared: Arc<Shared>,
}

struct Shared {
    composer: Composer,
    /// Written only by the thread that looks after it.
    producer: RwLock<Option<DirectProducer>>,
    status: Status,
    stop: Stop,
    ack_timeout: Duration,
}

/// The thread that owns the producer: makes it, polls it, replaces it.
pub(super) struct DirectEngine {
    shared: Arc<Shared>,
    cluster: KafkaCluster,
    preparation: Preparation,
}

impl Direct {
    /// Publishes a record and waits until all in-sync replicas have it.
    ///
    /// Cancel safety: a future dropped while it waits leaves the record on its way.
    ///
    /// # Errors
    /// See [`DirectError`]. On all but `TimedOut` and `Unavailable` nothing was published.
    pub async fn append(&self, record: &Record) -> Result<(), DirectError> {
        let begun = Instant::now();
        let topic = self.shared.composer.topic_of(record);
        let delivered = self.send(record)?;
        let outcome = tokio::time::timeout(self.shared.ack_timeout, delivered).await;
        let result = match outcome {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(failure))) => Err(self.refusal(failure)),
            Ok(Err(_)) => Err(DirectError::Unavailable(
                "the producer was replaced".to_owned(),
            )),
            Err(_) => Err(DirectError::TimedOut),
        };
        if result.is_ok() {
            metrics::histogram!("concur_bridge_publish_duration_seconds")
                .record(begun.elapsed().as_secs_f64());
            metrics::counter!("concur_bridge_publish_events_total", "topic" => topic.to_owned())
                .increment(1);
        }
        result
    }

    fn send(&self, record: &Record) -> Result<oneshot::Receiver<Result<(), Failure>>, DirectError> {
        let shared = &self.shared;
        if shared.stop.requested() {
            return Err(DirectError::Unavailable(
                "the bridge is stopping".to_owned(),
            ));
        }
        if !shared.status.kafka_up() {
            let reason = shared.status.last_error();
            return Err(DirectError::Unavailable(
                reason.unwrap_or_else(|| "no broker answered yet".to_owned()),
            ));
        }
        let message = shared
            .composer
            .compose_unplaced(record)
            .map_err(|error| DirectError::Unavailable(error.to_string()))?;
        let producer = shared
            .producer
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(producer) = &*producer else {
            return Err(DirectError::Unavailable(
                "the producer is being replaced".to_owned(),
            ));
        };
        match producer.send(&message) {
            Ok(delivered) => Ok(delivered),
            Err(None) => Err(DirectError::Busy),
            Err(Some(failure)) => Err(self.refusal(failure)),
        }
    }

    fn refusal(&self, failure: Failure) -> DirectError {
        self.shared.status.failed(failure.kind, &failure.text);
        match failure.kind {
            FailureKind::TooLarge => DirectError::TooLarge(failure.text),
            FailureKind::Unreachable
            | FailureKind::Abortable
            | FailureKind::Fenced
            | FailureKind::Topic
            | FailureKind::Authorization
            | FailureKind::Timestamp
            | FailureKind::Unsupported
            | FailureKind::ForeignCluster => DirectError::Unavailable(failure.text),
        }
    }
}

impl DirectEngine {
    pub(super) fn new(
        settings: &super::Settings,
        cluster: KafkaCluster,
        status: Status,
        stop: Stop,
        ack_timeout: Duration,
    ) -> (Self, Direct) {
        let shared = Arc::new(Shared {
            composer: Composer::new(settings.topics.clone(), settings.mode, None),
            producer: RwLock::new(None),
            status,
            stop,
            ack_timeout,
        });
        let engine = Self {
            shared: Arc::clone(&shared),
            cluster,
            preparation: Preparation::new(
                topics::wanted(&settings.topics, None),
                settings.kafka.clone(),
            ),
        };
        (engine, Direct { shared })
    }

    /// Looks after the producer until it is stopped.
    pub(super) fn run(mut self) -> End {
        loop {
            if self.shared.stop.requested() {
                return self.drain();
            }
            match self.connect() {
                Ok(()) => {
                    let failure = self.look_after();
                    // Not the next producer's to report: their senders are told.
                    self.replace(None);
                    if let Some(failure) = failure {
                        self.alarm(&failure);
                    }
                }
                Err(failure) => {
                    let wait = self.alarm(&failure);
                    self.shared.stop.wait(wait);
                }
            }
        }
    }

    fn connect(&mut self) -> Result<(), Failure> {
        let stop = &self.shared.stop;
        let seen = self
            .preparation
            .prepare(&mut self.cluster, stop, |_| Ok::<(), Failure>(()))?;
        let limits = topics::message_limits(&seen);
        let producer = self.cluster.direct_producer(
            Limits {
                batch_bytes: limits.map(|(smallest, _)| smallest),
                message_bytes: limits.map(|(_, largest)| largest),
            },
            self.shared.ack_timeout,
        )?;
        self.replace(Some(producer));
        self.shared.status.publishing_works();
        Ok(())
    }

    /// Polls until the producer has to be replaced, for the failure returned, or stopped.
    fn look_after(&self) -> Option<Failure> {
        let status = &self.shared.status;
        let producer = self
            .shared
            .producer
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let producer = producer.as_ref()?;
        let mut last_probe = Instant::now();
        while !self.shared.stop.requested() {
            producer.poll(ROUND);
            if let Some(failure) = producer.take_failure() {
                return Some(failure);
            }
            let lost = producer.lost_all_brokers();
            let due = !status.kafka_up() && last_probe.elapsed() >= PROBE_EVERY;
            if lost.is_some() || due {
                last_probe = Instant::now();
                if producer.probe(PROBE_EVERY) {
                    status.kafka_is_up();
                } else {
                    let reason = lost.or_else(|| status.last_error());
                    status.degrade(
                        Degraded::KafkaDown,
                        reason.as_deref().unwrap_or("no broker answers"),
                    );
                }
            }
        }
        self.wait_for_reports(producer);
        None
    }

    /// Lets what is on its way arrive, as long as there is time and a broker.
    fn wait_for_reports(&self, producer: &DirectProducer) {
        while producer.in_flight() > 0
            && !self.shared.stop.expired()
            && self.shared.status.kafka_up()
        {
            producer.poll(Duration::from_millis(5));
        }
    }

    fn drain(&self) -> End {
        self.replace(None);
        End::Stopped {
            transaction_open: false,
        }
    }

    fn replace(&self, producer: Option<DirectProducer>) {
        *self
            .shared
            .producer
            .write()
            .unwrap_or_else(PoisonError::into_inner) = producer;
    }

    fn alarm(&self, failure: &Failure) -> Duration {
        let status = &self.shared.status;
        status.failed(failure.kind, &failure.text);
        match failure.decision() {
            Decision::Pause(degraded) => {
                status.degrade(degraded, &failure.text);
                PAUSE
            }
            Decision::Restart(Some(degraded)) => {
                status.degrade(degraded, &failure.text);
                RETRY
            }
            Decision::Restart(None) | Decision::AskWhoFenced | Decision::Isolate => RETRY,
        }
    }
}
