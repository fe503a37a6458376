//! What was sent and how it was answered, counted while it happens.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

/// Steps of a doubling in the latency buckets: figures are exact to 1/32.
const STEPS: usize = 32;

/// Buckets from 1 µs to over a day.
const BUCKETS: usize = 40 * STEPS;

/// Counters, shared by all who send.
#[derive(Debug)]
pub(super) struct Tally {
    started: OnceLock<Instant>,
    sent: AtomicU64,
    retried: AtomicU64,
    duplicates: AtomicU64,
    malformed: AtomicU64,
    unanswered: AtomicU64,
    undelivered: AtomicU64,
    statuses: Mutex<BTreeMap<u16, u64>>,
    latency: Box<[AtomicU64]>,
    slowest_micros: AtomicU64,
    last_answer_micros: AtomicU64,
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Pieces of news sent, each once however often it was retried or doubled.
    pub sent: u64,
    /// Answers by status, of retries and duplicates too.
    pub answered: BTreeMap<u16, u64>,
    /// Requests without an answer: no connection, or one that broke or timed out.
    pub unanswered: u64,
    /// Requests that were another try.
    pub retried: u64,
    /// Requests that were sent twice on purpose.
    pub duplicates: u64,
    /// Pieces of news that were got wrong on purpose.
    pub malformed: u64,
    /// ESS events that were not taken when the run ended.
    pub undelivered: u64,
    /// Seconds from the first request to the last answer.
    pub seconds: f64,
    /// Answered requests per second.
    pub events_per_second: f64,
    /// From the request's first byte to the answer's last, in milliseconds.
    pub latency_ms: Latency,
}

/// Quantiles in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Latency {
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            started: OnceLock::new(),
            sent: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
            malformed: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            undelivered: AtomicU64::new(0),
            statuses: Mutex::default(),
            latency: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            slowest_micros: AtomicU64::new(0),
            last_answer_micros: AtomicU64::new(0),
        }
    }

    pub(super) fn note_news(&self, is_malformed: bool) {
        self.started.get_or_init(Instant::now);
        self.sent.fetch_add(1, Relaxed);
        self.malformed.fetch_add(u64::from(is_malformed), Relaxed);
    }

    pub(super) fn note_duplicate(&self) {
        self.duplicates.fetch_add(1, Relaxed);
    }

    pub(super) fn note_retry(&self) {
        self.retried.fetch_add(1, Relaxed);
    }

    pub(super) fn note_undelivered(&self) {
        self.undelivered.fetch_add(1, Relaxed);
    }

    pub(super) fn note_unanswered(&self) {
        self.unanswered.fetch_add(1, Relaxed);
    }

    pub(super) fn note_answer(&self, status: u16, latency: Duration) {
        *self
            .statuses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(status)
            .or_default() += 1;
        let micros = whole_micros(latency);
        self.latency[bucket(micros)].fetch_add(1, Relaxed);
        self.slowest_micros.fetch_max(micros, Relaxed);
        self.last_answer_micros.fetch_max(
            whole_micros(self.started.get_or_init(Instant::now).elapsed()),
            Relaxed,
        );
    }

    /// Pieces of news whose sending has begun.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    pub(super) fn summary(&self) -> Summary {
        let answered = self
            .statuses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let seconds = self.last_answer_micros.load(Relaxed) as f64 / 1e6;
        let answers: u64 = answered.values().sum();
        Summary {
            sent: self.sent(),
            unanswered: self.unanswered.load(Relaxed),
            retried: self.retried.load(Relaxed),
            duplicates: self.duplicates.load(Relaxed),
            malformed: self.malformed.load(Relaxed),
            undelivered: self.undelivered.load(Relaxed),
            seconds,
            events_per_second: if seconds > 0.0 {
                answers as f64 / seconds
            } else {
                0.0
            },
            latency_ms: Latency {
                p50: self.quantile(answers, 0.50),
                p99: self.quantile(answers, 0.99),
                max: self.slowest_micros.load(Relaxed) as f64 / 1000.0,
            },
            answered,
        }
    }

    fn quantile(&self, answers: u64, share: f64) -> f64 {
        let wanted = (answers as f64 * share).ceil() as u64;
        let mut passed = 0;
        for (index, count) in self.latency.iter().enumerate() {
            passed += count.load(Relaxed);
            if passed >= wanted && passed > 0 {
                // The bucket's end, but never more than there was.
                let slowest = self.slowest_micros.load(Relaxed) as f64;
                return upper_micros(index).min(slowest) / 1000.0;
            }
        }
        0.0
    }
}

impl Summary {
    /// Answers of a class, e.g. 2 for 2xx.
    pub fn answered_in(&self, class: u16) -> u64 {
        self.answered
            .iter()
            .filter(|(status, _)| *status / 100 == class)
            .map(|(_, count)| count)
            .sum()
    }
}

fn whole_micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Buckets of one µs up to 32, then 32 to each doubling.
fn bucket(micros: u64) -> usize {
    let steps = STEPS as u64;
    if micros < steps {
        return usize::try_from(micros).unwrap_or(0);
    }
    let exponent = micros.ilog2() - STEPS.ilog2();
    let step = usize::try_from((micros >> exponent) - steps).unwrap_or(0);
    let index = STEPS * (usize::try_from(exponent).unwrap_or(0) + 1) + step;
    index.min(BUCKETS - 1)
}

/// The largest latency that falls into a bucket, in µs.
fn upper_micros(index: usize) -> f64 {
    if index < STEPS {
        return index as f64;
    }
    let (doublings, step) = (index / STEPS - 1, index % STEPS);
    (STEPS + step + 1) as f64 * 2_f64.powi(i32::try_from(doublings).unwrap_or(0)) - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_exact_to_a_thirty_second() {
        let tally = Tally::new();
        for micros in 1..=10_000 {
            tally.note_answer(200, Duration::from_micros(micros));
        }
        let latency = tally.summary().latency_ms;
        assert!((5.0..5.2).contains(&latency.p50), "{latency:?}");
        assert!((9.9..10.3).contains(&latency.p99), "{latency:?}");
        assert_eq!(latency.max, 10.0);
    }

    #[test]
    fn every_latency_lies_in_its_bucket() {
        for micros in [0, 1, 31, 32, 33, 63, 64, 1_000, 123_456, 60_000_000] {
            let index = bucket(micros);
            assert!(micros as f64 <= upper_micros(index), "{micros}");
            assert!(
                index == 0 || micros as f64 > upper_micros(index - 1),
                "{micros}"
            );
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn no_quantile_is_over_the_maximum() {
        let tally = Tally::new();
        tally.note_answer(200, Duration::from_micros(57_457));
        let latency = tally.summary().latency_ms;
        assert_eq!(
            (latency.p50, latency.p99, latency.max),
            (57.457, 57.457, 57.457)
        );
    }

    #[test]
    fn nothing_sent_is_all_zero() {
        let summary = Tally::new().summary();
        assert_eq!((summary.sent, summary.latency_ms.p99), (0, 0.0));
        assert_eq!(summary.answered_in(2), 0);
    }
}
