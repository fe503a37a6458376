//! The engine: from a backlog to a cluster, session after session, until it is stopped or fenced.
//!
//! A **session** is the life of one producer: the start sequence ([`start`](super::start)), then batches
//! ([`batch`](super::batch)) until something interrupts it. What interrupts it is a value, [`Interruption`]; what is done
//! about a failure is one table, [`Failure::decision`]. Between sessions the engine keeps only what it knows for certain:
//! how far Kafka has everything, who published before it, and which records are too large.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backlog::{Backlog, BacklogError};
use super::cluster::{Cluster, Producer};
use super::failure::{Decision, Failure};
use super::message::Composer;
use super::meters::Meters;
use super::prepare::Preparation;
use super::status::{Degraded, Status};
use super::stop::Stop;
use super::succession::Succession;
use super::topics;
use super::{End, Settings};
use crate::clock::Clock;
use crate::config::{Delivery, Kafka};
use crate::record::Position;

/// Sizes and times. One set for production, another for the model test.
#[derive(Debug, Clone)]
pub(crate) struct Pacing {
    /// Records of a transaction at most. Measured: throughput grows with it up to about this, memory beyond.
    pub(crate) max_records: usize,
    /// Bytes of a transaction at most; bounds what the journal's reader and librdkafka hold.
    pub(crate) max_bytes: usize,
    /// How many times as long as a batch took the publisher rests after it, unless a full one waits. Nobody waits for
    /// Kafka, but senders wait for an answer: many small transactions would take the cores of bridge and broker from
    /// them, and it is under load that a transaction takes long and the rest collects many records for the next one.
    pub(crate) rest_ratio: u32,
    /// The longest rest: what it adds to the age of an event in Kafka.
    pub(crate) max_rest: Duration,
    /// How long one wait for the journal may last before the producer is looked after.
    pub(crate) idle: Duration,
    /// How long one poll for delivery reports lasts.
    pub(crate) poll: Duration,
    /// How long one blocking call may last before a request to stop is looked for.
    pub(crate) slice: Duration,
    /// How long nothing may be delivered before brokers are asked what is wrong: librdkafka tries in silence.
    pub(crate) stall: Duration,
    /// How long `init_transactions` may take: a predecessor's transaction has to end first.
    pub(crate) init_timeout: Duration,
    /// How long a commit may take before the producer is given up.
    pub(crate) commit_timeout: Duration,
    /// How long an abort may take; what it does not reach, the next `init_transactions` does.
    pub(crate) abort_timeout: Duration,
    /// Before trying again what only an operator can mend.
    pub(crate) pause: Duration,
    /// The first wait before a new session; doubled up to `backoff_max`.
    pub(crate) backoff: Duration,
    /// The longest wait before a new session.
    pub(crate) backoff_max: Duration,
}

impl Default for Pacing {
    fn default() -> Self {
        Self {
            max_records: 2_500,
            max_bytes: 2 * 1024 * 1024,
            rest_ratio: 8,
            max_rest: Duration::from_millis(150),
            idle: Duration::from_millis(100),
            poll: Duration::from_millis(1),
            slice: Duration::from_millis(500),
            stall: Duration::from_secs(2),
            init_timeout: Duration::from_secs(60),
            commit_timeout: Duration::from_secs(15),
            abort_timeout: Duration::from_secs(2),
            pause: Duration::from_secs(10),
            backoff: Duration::from_millis(100),
            backoff_max: Duration::from_secs(2),
        }
    }
}

/// Why a session ended.
#[derive(Debug)]
pub(super) enum Interruption {
    /// Stopping was asked for.
    Stopped {
        /// Whether a transaction had to be given up.
        transaction_open: bool,
    },
    /// A twin took the identity over.
    Fenced,
    /// The journal failed.
    Backlog(BacklogError),
    /// Kafka failed; see [`Failure::decision`].
    Failed(Failure),
}

impl From<BacklogError> for Interruption {
    fn from(error: BacklogError) -> Self {
        Self::Backlog(error)
    }
}

impl From<Failure> for Interruption {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// The publisher of one journal.
pub(crate) struct Engine<C, B> {
    pub(super) cluster: C,
    pub(super) backlog: B,
    pub(super) pacing: Pacing,
    pub(super) status: Status,
    pub(super) stop: Stop,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) kafka: Kafka,
    pub(super) composer: Composer,
    pub(super) meters: Meters,
    pub(super) preparation: Preparation,
    pub(super) positions_topic: String,
    /// Also the key of the position records.
    pub(super) transactional_id: String,
    /// Kafka has everything up to here: by the journal's mark, by a matching position record, or by our own commits.
    pub(super) confirmed: Position,
    /// The offset from which to look for our newest position record.
    pub(super) hint: Option<i64>,
    /// Who published before us, and whether somebody took over.
    pub(super) succession: Succession,
    /// The offset of a position record that was found not to be this journal's, so that it alarms once.
    pub(super) disowned: Option<i64>,
    pub(super) fenced: bool,
    pub(super) isolation: Isolation,
    /// First and last position of the batch that is being published.
    pub(super) in_hand: Option<(Position, Position)>,
    /// Until when the publisher rests after its last batch.
    pub(super) rests_until: Option<Instant>,
    pub(super) last_probe: Instant,
    /// `max.message.bytes` by topic, for what can be told before sending.
    pub(super) topic_limits: BTreeMap<String, usize>,
    backoff: Duration,
}

/// Finding the record that Kafka refuses for its size.
#[derive(Debug, Default)]
pub(super) struct Isolation {
    /// Up to here each record gets a transaction of its own.
    pub(super) until: Position,
    /// Records that are published as stubs.
    pub(super) oversized: BTreeSet<Position>,
}

impl Isolation {
    /// From here on a stub stands for the record at `position`. Whether that is new.
    pub(super) fn set_aside(&mut self, position: Position, reason: &str) -> bool {
        let is_new = self.oversized.insert(position);
        if is_new {
            tracing::warn!(
                %position,
                "a record is too large for its topic and goes to the quarantine: {reason}; raise the topic's \
                 max.message.bytes, then send it with `concur-bridge journal replay --position {position} --apply`"
            );
        }
        is_new
    }
}

impl<C: Cluster, B: Backlog> Engine<C, B> {
    pub(crate) fn new(
        settings: &Settings,
        pacing: Pacing,
        cluster: C,
        backlog: B,
        status: Status,
        stop: Stop,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (confirmed, hint) = backlog.published();
        let succession = Succession::new(backlog.lineage());
        status.set_published(confirmed);
        Self {
            cluster,
            backlog,
            backoff: pacing.backoff,
            pacing,
            status,
            stop,
            kafka: settings.kafka.clone(),
            composer: Composer::new(
                settings.topics.clone(),
                settings.mode,
                Some(settings.instance.clone()),
            ),
            meters: Meters::new(&settings.topics),
            preparation: Preparation::new(
                topics::wanted(&settings.topics, Some(settings.kafka.delivery)),
                settings.kafka.clone(),
            ),
            positions_topic: settings.topics.positions.clone(),
            transactional_id: settings.transactional_id(),
            confirmed,
            hint,
            succession,
            disowned: None,
            fenced: false,
            isolation: Isolation::default(),
            in_hand: None,
            rests_until: None,
            last_probe: clock.now(),
            topic_limits: BTreeMap::new(),
            clock,
        }
    }

    /// Publishes until it is stopped, fenced, or the journal fails.
    pub(crate) fn run(mut self) -> End {
        loop {
            let wait = match self.session() {
                Ok(never) => match never {},
                Err(Interruption::Stopped { transaction_open }) => {
                    return End::Stopped { transaction_open };
                }
                Err(Interruption::Fenced) => {
                    self.status.degrade(
                        Degraded::Fenced,
                        "another process publishes under this identity",
                    );
                    return End::Fenced;
                }
                Err(Interruption::Backlog(error)) => return End::Backlog(error),
                Err(Interruption::Failed(failure)) => self.decide(failure),
            };
            self.cluster.pause(wait, &self.stop);
        }
    }

    /// The life of one producer.
    fn session(&mut self) -> Result<Infallible, Interruption> {
        self.in_hand = None;
        let mut producer = self.connect()?;
        let interruption = self.drive(&mut producer);
        if let Err(Interruption::Failed(failure)) = &interruption
            && matches!(failure.decision(), Decision::Pause(_) | Decision::Isolate)
            && self.transactional()
        {
            // Else readers of read_committed wait behind it for as long as the pause lasts.
            producer.abort(self.pacing.abort_timeout);
        }
        interruption
    }

    fn drive(&mut self, producer: &mut C::Producer) -> Result<Infallible, Interruption> {
        self.catch_up(producer)?;
        let mut ahead = Vec::new();
        loop {
            if self.stop.requested() {
                return Err(Interruption::Stopped {
                    transaction_open: false,
                });
            }
            let batch = if ahead.is_empty() {
                self.next_batch(producer)?
            } else {
                std::mem::take(&mut ahead)
            };
            if !batch.is_empty() {
                ahead = self.publish_batch(producer, &batch)?;
            }
        }
    }

    /// Does what a failure asks for, short of waiting; returns how long to wait.
    fn decide(&mut self, failure: Failure) -> Duration {
        self.status.failed(failure.kind, &failure.text);
        match failure.decision() {
            Decision::Restart(degraded) => {
                match degraded {
                    Some(degraded) => self.status.degrade(degraded, &failure.text),
                    None => tracing::info!("the producer is replaced: {failure}"),
                }
                self.next_backoff()
            }
            Decision::AskWhoFenced => {
                tracing::info!("the producer is fenced: {failure}");
                self.fenced = true;
                self.next_backoff()
            }
            Decision::Pause(degraded) => {
                self.status.degrade(degraded, &failure.text);
                self.pacing.pause
            }
            Decision::Isolate => self.isolate(&failure),
        }
    }

    fn isolate(&mut self, failure: &Failure) -> Duration {
        match self.in_hand {
            Some((first, last)) if first < last => {
                tracing::info!(
                    "a record in {first}..={last} is too large, publishing them one by one: {failure}"
                );
                self.isolation.until = last;
                Duration::ZERO
            }
            Some((culprit, _)) if self.isolation.set_aside(culprit, &failure.text) => {
                Duration::ZERO
            }
            _ => {
                self.status.degrade(
                    Degraded::TooLarge,
                    &format!("not even a stub fits the topic: {failure}"),
                );
                self.pacing.pause
            }
        }
    }

    /// Grows by the session, is random by a half: two twins that fence each other do not do so in step.
    fn next_backoff(&mut self) -> Duration {
        let wait = self.backoff.mul_f64(rand::random_range(0.5..1.5));
        self.backoff = (self.backoff * 2).min(self.pacing.backoff_max);
        wait
    }

    pub(super) fn reset_backoff(&mut self) {
        self.backoff = self.pacing.backoff;
    }

    /// Whether `time` has passed since `began`.
    pub(super) fn is_over(&self, began: Instant, time: Duration) -> bool {
        self.clock.now().duration_since(began) >= time
    }

    pub(super) fn transactional(&self) -> bool {
        self.kafka.delivery == Delivery::ExactlyOnce
    }
}

#[cfg(test)]
mod tests;
