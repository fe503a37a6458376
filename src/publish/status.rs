//! What the rest of the process may know of the publisher: whether Kafka is up, what is degraded, and the last error.
//!
//! Shared between the publisher's thread, librdkafka's callbacks and whoever answers `/readyz`. Alarms are logged here,
//! when they begin and then once a minute while they last: a broker that is down for a
//! night fills no disk.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::failure::FailureKind;
use super::meters;
use crate::clock::Clock;
use crate::record::Position;

/// How often an alarm that lasts is logged again.
const REMIND_EVERY: Duration = Duration::from_secs(60);

/// Why publishing does not go as it should. The codes are public: `/readyz` lists them under `degraded`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Degraded {
    /// No broker answers.
    KafkaDown,
    /// A topic is missing; publishing waits for it.
    TopicMissing,
    /// Kafka refuses credentials or an ACL is missing; publishing waits.
    Authorization,
    /// A record, even as a stub, is larger than the broker takes; publishing waits.
    TooLarge,
    /// The broker refuses our clock; publishing waits.
    Timestamp,
    /// The broker or librdkafka cannot do what configuration asks for; publishing waits.
    Unsupported,
    /// The brokers are another cluster than the one this journal was published to; publishing waits.
    ClusterChanged,
    /// Another process has this identity; this one ends with exit code 5.
    Fenced,
    /// Another producer's open transaction hides the end of the positions topic; publishing waits for its end.
    PositionsBlocked,
    /// Kafka's position was not of this journal: events may have been repeated. Stays until the next start.
    PositionMismatch,
    /// Kafka had no position although this journal was published before: events may have been repeated. Stays.
    PositionsLost,
}

impl Degraded {
    /// The word in `/readyz`.
    pub fn code(self) -> &'static str {
        match self {
            Self::KafkaDown => "kafka_down",
            Self::TopicMissing => "topic_missing",
            Self::Authorization => "authorization",
            Self::TooLarge => "too_large",
            Self::Timestamp => "timestamp",
            Self::Unsupported => "unsupported",
            Self::ClusterChanged => "cluster_changed",
            Self::Fenced => "fenced",
            Self::PositionsBlocked => "positions_blocked",
            Self::PositionMismatch => "position_mismatch",
            Self::PositionsLost => "positions_lost",
        }
    }

    /// Whether it tells of something that happened rather than of something that lasts.
    fn is_history(self) -> bool {
        matches!(self, Self::PositionMismatch | Self::PositionsLost)
    }
}

/// A view on the publisher. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Status {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Arc<dyn Clock>,
    kafka_up: AtomicBool,
    published: AtomicU64,
    alarms: Mutex<BTreeMap<Degraded, Alarm>>,
    last_error: Mutex<Option<String>>,
}

#[derive(Debug)]
struct Alarm {
    text: String,
    logged: Instant,
}

impl Status {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            shared: Arc::new(Shared {
                clock,
                kafka_up: AtomicBool::new(false),
                published: AtomicU64::new(0),
                alarms: Mutex::default(),
                last_error: Mutex::default(),
            }),
        }
    }

    /// Whether a broker answered when last asked.
    pub fn kafka_up(&self) -> bool {
        self.shared.kafka_up.load(Ordering::Relaxed)
    }

    /// The position up to which Kafka has everything, as this process knows.
    pub fn published(&self) -> Position {
        Position(self.shared.published.load(Ordering::Relaxed))
    }

    /// What is degraded now, with what is known about it.
    pub fn degraded(&self) -> Vec<(Degraded, String)> {
        lock(&self.shared.alarms)
            .iter()
            .map(|(degraded, alarm)| (*degraded, alarm.text.clone()))
            .collect()
    }

    /// The last error that Kafka gave, whether or not it still lasts. Holds no secrets.
    pub fn last_error(&self) -> Option<String> {
        lock(&self.shared.last_error).clone()
    }

    pub(crate) fn set_published(&self, position: Position) {
        self.shared.published.store(position.0, Ordering::Relaxed);
    }

    /// A broker answered.
    pub(crate) fn kafka_is_up(&self) {
        if !self.shared.kafka_up.swap(true, Ordering::Relaxed) {
            tracing::info!("kafka is reachable");
            metrics::gauge!("concur_bridge_kafka_up").set(1.0);
        }
        self.clear(|degraded| degraded == Degraded::KafkaDown);
    }

    /// No broker answers; why, when that is known.
    pub(crate) fn kafka_is_down(&self, reason: Option<String>) {
        let reason = reason.or_else(|| self.last_error());
        let text = reason.as_deref().unwrap_or("no broker answers");
        self.degrade(Degraded::KafkaDown, text);
    }

    /// Counts a failure and remembers its text.
    pub(crate) fn failed(&self, kind: FailureKind, text: &str) {
        meters::errors(kind).increment(1);
        *lock(&self.shared.last_error) = Some(text.to_owned());
    }

    /// Raises an alarm, or keeps it up.
    pub(crate) fn degrade(&self, degraded: Degraded, text: &str) {
        if degraded == Degraded::KafkaDown {
            self.shared.kafka_up.store(false, Ordering::Relaxed);
            metrics::gauge!("concur_bridge_kafka_up").set(0.0);
        }
        let now = self.shared.clock.now();
        let mut alarms = lock(&self.shared.alarms);
        let due = match alarms.get_mut(&degraded) {
            Some(alarm) if now.duration_since(alarm.logged) < REMIND_EVERY => {
                text.clone_into(&mut alarm.text);
                false
            }
            _ => true,
        };
        if due {
            tracing::warn!(code = degraded.code(), "publishing is degraded: {text}");
            alarms.insert(
                degraded,
                Alarm {
                    text: text.to_owned(),
                    logged: now,
                },
            );
        }
    }

    /// Everything that lasts is over: records reach Kafka, or none waits.
    pub(crate) fn publishing_works(&self) {
        self.kafka_is_up();
        self.clear(|degraded| !degraded.is_history());
    }

    pub(crate) fn clear(&self, which: impl Fn(Degraded) -> bool) {
        lock(&self.shared.alarms).retain(|degraded, _| {
            let over = which(*degraded);
            if over {
                tracing::info!(code = degraded.code(), "no longer degraded");
            }
            !over
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
