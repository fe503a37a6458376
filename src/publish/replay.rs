//! Replay: records of a journal sent once more, on request of a person.
//!
//! **Promises.** Each message is the one that was sent first, position header included, with the header
//! `concur-bridge-replay` that names this run, so that consumers can tell. What [`Replay::send`] took is acknowledged by all
//! in-sync replicas once [`Replay::finish`] returned `Ok`. At least once, outside of transactions; nothing in the journal
//! changes.
//!
//! **When it fails.** The first failure ends it; what was acknowledged by then stays in Kafka.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;
use uuid::Uuid;

use super::Settings;
use super::cluster::Limits;
use super::failure::Failure;
use super::kafka::DirectProducer;
use super::message::Composer;
use crate::record::Placed;

/// How long one message may take from being sent to its acknowledgement.
const ACK_TIMEOUT: Duration = Duration::from_secs(30);

/// How long one look for acknowledgements lasts.
const POLL: Duration = Duration::from_millis(10);

/// A replay under way.
pub struct Replay {
    producer: DirectProducer,
    composer: Composer,
    topic: Option<String>,
    run: String,
    waiting: VecDeque<oneshot::Receiver<Result<(), Failure>>>,
}

/// Why a replay ended early.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ReplayError(String);

impl Replay {
    /// A replay into the configured topics, or all into `topic`.
    ///
    /// # Errors
    /// The producer cannot be made.
    pub fn new(settings: &Settings, topic: Option<String>) -> Result<Self, ReplayError> {
        let producer = settings
            .cluster()
            .direct_producer(Limits::default(), ACK_TIMEOUT)
            .map_err(failed)?;
        Ok(Self {
            producer,
            composer: Composer::new(
                settings.topics.clone(),
                settings.mode,
                Some(settings.instance.clone()),
            ),
            topic,
            run: Uuid::now_v7().to_string(),
            waiting: VecDeque::new(),
        })
    }

    /// The value of the header of everything this run sends.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Sends one record, waiting while too much is on its way.
    ///
    /// # Errors
    /// This one cannot be sent, or an earlier one was not acknowledged.
    pub fn send(&mut self, placed: &Placed) -> Result<(), ReplayError> {
        let message = self
            .composer
            .compose(placed)
            .map_err(|error| ReplayError(error.to_string()))?;
        let mut message = message.replayed_by(&self.run);
        if let Some(topic) = &self.topic {
            message.topic = topic;
        }
        let deadline = Instant::now() + ACK_TIMEOUT;
        loop {
            match self.producer.send(&message) {
                Ok(delivered) => {
                    self.waiting.push_back(delivered);
                    return settle(&mut self.waiting, &self.producer, Duration::ZERO);
                }
                Err(Some(failure)) => return Err(failed(failure)),
                Err(None) if Instant::now() < deadline => {
                    settle(&mut self.waiting, &self.producer, POLL)?
                }
                Err(None) => return Err(ReplayError("kafka takes nothing more".to_owned())),
            }
        }
    }

    /// Waits until everything sent is acknowledged.
    ///
    /// # Errors
    /// Something was not.
    pub fn finish(mut self) -> Result<(), ReplayError> {
        while !self.waiting.is_empty() {
            settle(&mut self.waiting, &self.producer, POLL)?;
        }
        Ok(())
    }
}

/// Takes the acknowledgements that are there, in the order of sending.
fn settle(
    waiting: &mut VecDeque<oneshot::Receiver<Result<(), Failure>>>,
    producer: &DirectProducer,
    timeout: Duration,
) -> Result<(), ReplayError> {
    producer.poll(timeout);
    while let Some(first) = waiting.front_mut() {
        match first.try_recv() {
            Ok(answer) => answer.map_err(failed)?,
            Err(TryRecvError::Empty) => break,
            Err(TryRecvError::Closed) => {
                return Err(ReplayError("the producer is gone".to_owned()));
            }
        }
        waiting.pop_front();
    }
    Ok(())
}

fn failed(failure: Failure) -> ReplayError {
    ReplayError(failure.text)
}
