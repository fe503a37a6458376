//! What the engine needs of Kafka. Two traits, because the model test plays thousands of bad days against a broker in
//! memory that loses replies, fences and times out on purpose; `kafka` is the real one.
//!
//! Every call ends in bounded time: it blocks at most for the timeout it is given or a few seconds of its own.

use std::time::Duration;

use super::failure::{Failure, FailureKind};
use super::message::Message;
use super::positions::Found;
use super::stop::Stop;
use super::topics::{NewTopic, Seen};
use crate::record::Position;

/// Brokers, as long as no producer is needed.
pub(crate) trait Cluster: Send {
    /// A connected producer.
    type Producer: Producer;

    /// The id of the cluster, where it has one, and what it says about the topics of these names.
    fn survey(&mut self, topics: &[&str]) -> Result<(Option<String>, Vec<Seen>), Failure>;

    /// Makes topics. A topic that exists by now is no failure.
    fn create(&mut self, topics: &[NewTopic]) -> Result<(), Failure>;

    /// The offset behind the last record of the positions topic, open and aborted transactions included.
    fn end_of_positions(&mut self) -> Result<i64, Failure>;

    /// The newest committed position record of `key`, read from `from` or the beginning until past `end`.
    ///
    /// # Errors
    /// [`CallError::Unfinished`] when an open transaction before `end` did not finish in a second: call again.
    fn newest_position(
        &mut self,
        key: &str,
        from: Option<i64>,
        end: i64,
    ) -> Result<Option<Found>, CallError>;

    /// Whether records are compressed, so that their size at the broker is not known before they are sent.
    fn compresses(&self) -> bool;

    /// Makes a producer. It has no connection yet.
    fn producer(&mut self, limits: Limits) -> Result<Self::Producer, Failure>;

    /// Waits, unless `stop` is or gets requested.
    fn pause(&mut self, duration: Duration, stop: &Stop);
}

/// Sizes that the brokers take, where they told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Limits {
    /// No batch may be larger than this: the smallest limit among the topics.
    pub(crate) batch_bytes: Option<usize>,
    /// No message may be larger than this: the largest limit among the topics.
    pub(crate) message_bytes: Option<usize>,
}

/// One producer, from its making until a failure ends it. Dropping it gives up what is in flight.
pub(crate) trait Producer {
    /// Takes the transactional id and ends whatever a predecessor left open. May be called again after a timeout.
    fn init_transactions(&mut self, timeout: Duration) -> Result<(), CallError>;

    /// Opens a transaction.
    fn begin(&mut self) -> Result<(), Failure>;

    /// Queues a message; never blocks.
    fn send(&mut self, message: &Message<'_>) -> Result<(), SendError>;

    /// Handles delivery reports for as long as `timeout`.
    fn poll(&mut self, timeout: Duration);

    /// Messages whose fate is not known yet.
    fn in_flight(&self) -> usize;

    /// The first delivery that failed since the last [`Producer::begin`], if any did.
    fn failed_delivery(&self) -> Option<(Option<Position>, Failure)>;

    /// The offset of the last position record that was delivered.
    fn position_offset(&self) -> Option<i64>;

    /// Commits. On `Ok` the transaction is visible. May be called again after a timeout.
    fn commit(&mut self, timeout: Duration) -> Result<(), CallError>;

    /// Aborts, as well as it goes.
    fn abort(&mut self, timeout: Duration);

    /// Whether all brokers went away since this was last asked, and why.
    fn lost_all_brokers(&mut self) -> Option<String>;

    /// Whether a broker answers, asked now; at most for `timeout`.
    fn probe(&mut self, timeout: Duration) -> bool;
}

/// Why a call that can be resumed did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// Not done yet; calling again goes on with it.
    #[error("not done yet: {0}")]
    Unfinished(String),
    /// It failed.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// Why a message was not queued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SendError {
    /// The queue is full: poll, and send again.
    #[error("the producer's queue is full")]
    Full,
    /// It failed.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl Failure {
    /// For a call that was not done after all the time it was given.
    pub(crate) fn gave_up(what: &str, after: Duration, reason: &str) -> Self {
        Self::new(
            FailureKind::Unreachable,
            format!("{what} was not done after {} s: {reason}", after.as_secs()),
        )
    }
}
