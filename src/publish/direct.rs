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
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};

use super::failure::{Decision, Failure, FailureKind};
use super::kafka::{DirectProducer, KafkaCluster, Spent};
use super::message::Composer;
use super::meters::Meters;
use super::prepare::Preparation;
use super::status::Status;
use super::stop::Stop;
use super::{Settings, topics};
use crate::clock::Clock;
use crate::record::Record;

/// How long one round of looking after the producer takes; reports are handled as they come.
const ROUND: Duration = Duration::from_millis(50);
/// How often brokers that are down are asked whether they are back.
const PROBE_EVERY: Duration = Duration::from_millis(500);
/// Before trying again what failed; what only an operator can mend, more slowly.
const RETRY: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_secs(10);

/// Why a record is not acknowledged. Its sender may try again in each case.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DirectError {
    /// The process is stopping; nothing was published.
    #[error("the bridge is stopping")]
    Closing,
    /// As much as may be is on its way; nothing was published.
    #[error("too many records are on their way to kafka")]
    QueueFull,
    /// Kafka cannot be reached, or cannot or did not take it; it may still appear.
    #[error("kafka does not acknowledge it: {0}")]
    Unavailable(String),
}

/// The way into Kafka for those who wait for it. Cheap to clone.
#[derive(Clone)]
pub struct Direct {
    shared: Arc<Shared>,
    /// Closed when the thread has ended.
    ended: watch::Receiver<()>,
}

struct Shared {
    composer: Composer,
    meters: Meters,
    /// Written only by the thread that looks after it.
    producer: RwLock<Option<DirectProducer>>,
    status: Status,
    stop: Stop,
    clock: Arc<dyn Clock>,
    ack_timeout: Duration,
}

/// The thread that owns the producer: makes it, polls it, replaces it.
struct Keeper {
    shared: Arc<Shared>,
    cluster: KafkaCluster,
    preparation: Preparation,
}

impl Direct {
    /// Starts the producer. Returns at once, whether or not Kafka is there.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn spawn(
        settings: &Settings,
        ack_timeout: Duration,
        clock: Arc<dyn Clock>,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            composer: Composer::new(settings.topics.clone(), settings.mode, None),
            meters: Meters::new(&settings.topics),
            producer: RwLock::new(None),
            status: Status::new(clock.clone()),
            stop: Stop::new(clock.clone()),
            clock,
            ack_timeout,
        });
        let keeper = Keeper {
            shared: Arc::clone(&shared),
            cluster: settings.cluster(),
            preparation: Preparation::new(
                topics::wanted(&settings.topics, None),
                settings.kafka.clone(),
            ),
        };
        let (alive, ended) = watch::channel(());
        thread::Builder::new()
            .name("publisher".to_owned())
            .spawn(move || {
                keeper.run();
                drop(alive);
            })?;
        Ok(Self { shared, ended })
    }

    /// What others may know of it.
    pub fn status(&self) -> &Status {
        &self.shared.status
    }

    /// Asks it to stop: new records are refused, those on their way may arrive until `deadline`. Returns at once.
    pub fn stop(&self, deadline: Duration) {
        self.shared.stop.request(deadline);
    }

    /// Waits for its end. Cancel safe.
    pub async fn ended(&self) {
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
    }

    /// Publishes a record and waits until all in-sync replicas have it.
    ///
    /// Cancel safety: a future dropped while it waits leaves the record on its way.
    ///
    /// # Errors
    /// See [`DirectError`].
    pub async fn append(&self, record: Record) -> Result<(), DirectError> {
        let begun = Instant::now();
        let delivered = self.send(&record)?;
        match tokio::time::timeout(self.shared.ack_timeout, delivered).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(failure))) => return Err(self.refusal(&failure)),
            Ok(Err(_)) => {
                return Err(DirectError::Unavailable("its producer is gone".to_owned()));
            }
            Err(_) => {
                let text = "no acknowledgement in time".to_owned();
                return Err(self.refusal(&Failure::new(FailureKind::Unreachable, text)));
            }
        }
        let shared = &self.shared;
        shared.meters.took(begun.elapsed());
        shared
            .meters
            .published(shared.composer.topic_of(&record), 1);
        Ok(())
    }

    fn send(&self, record: &Record) -> Result<oneshot::Receiver<Result<(), Failure>>, DirectError> {
        let shared = &self.shared;
        if shared.stop.requested() {
            return Err(DirectError::Closing);
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
            return Err(DirectError::Unavailable("its producer is gone".to_owned()));
        };
        match producer.send(&message) {
            Ok(delivered) => Ok(delivered),
            Err(None) => Err(DirectError::QueueFull),
            Err(Some(failure)) => Err(self.refusal(&failure)),
        }
    }

    fn refusal(&self, failure: &Failure) -> DirectError {
        self.shared.status.failed(failure.kind, &failure.text);
        DirectError::Unavailable(failure.text.clone())
    }
}

impl Keeper {
    /// Looks after the producer until it is stopped.
    fn run(mut self) {
        while !self.shared.stop.requested() {
            match self.connect() {
                Ok(()) => {
                    let spent = self.look_after();
                    // Not the next producer's to report: their senders are told.
                    self.replace(None);
                    match spent {
                        Some(Spent::Producer(failure)) => {
                            let wait = self.alarm(&failure);
                            self.shared.stop.wait(wait);
                        }
                        // No wait: what is wrong with one topic is no outage of all.
                        Some(Spent::Delivery(failure)) => {
                            self.alarm(&failure);
                        }
                        None => {}
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
        let producer = self
            .cluster
            .direct_producer(topics::limits(&seen), self.shared.ack_timeout)?;
        self.replace(Some(producer));
        self.shared.status.publishing_works();
        Ok(())
    }

    /// Polls until the producer has to be replaced, for the reason returned, or stopped.
    fn look_after(&self) -> Option<Spent> {
        let (status, clock) = (&self.shared.status, &self.shared.clock);
        let producer = self
            .shared
            .producer
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let producer = producer.as_ref()?;
        let mut last_probe = clock.now();
        while !self.shared.stop.requested() {
            producer.poll(ROUND);
            if let Some(spent) = producer.spent() {
                return Some(spent);
            }
            let lost = producer.lost_all_brokers();
            let due = !status.kafka_up() && clock.now() >= last_probe + PROBE_EVERY;
            if lost.is_some() || due {
                last_probe = clock.now();
                if producer.probe(PROBE_EVERY) {
                    status.kafka_is_up();
                } else {
                    status.kafka_is_down(lost);
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

#[cfg(test)]
mod tests;
