//! Publish: takes records out of the journal, in order, and into Kafka.
//!
//! **What it does.** One thread owns the Kafka producer. It reads behind the durable position, sends, commits, and reports
//! the position back. Transactions are as large as what waits, up to a bound.
//!
//! **Promises** (`exactly_once`). Each record is in Kafka exactly once for readers of `read_committed`, in the order of
//! positions per key: the position travels in the transaction that carries the records. `at_least_once` sends the same
//! messages without a transaction.
//!
//! **When it fails.** Kafka never ends the process, except fencing by a twin (exit 5). Anything not plainly retriable drops
//! the producer and runs the start sequence again; what no retry can mend pauses, alarms and tries again every 10 s.
//!
//! **Left to others.** What is published: the records are finished ([`seal`](crate::seal)).
//!
//! **Layout**, in the order of the data's way: [`backlog`] is what the journal gives, `engine` runs sessions, `start` is
//! the start sequence with `prepare`, `topics`, `positions` and `succession`, `batch` one transaction, `message` and `stub` what is sent,
//! `failure` what is done when something goes wrong, [`status`] what others see of it, `cluster` what Kafka is to all of
//! these, and `kafka` the only place that names rdkafka. `direct` is the stateless mode, `check` the
//! dry look that `concur-bridge check` takes.

pub mod backlog;
mod batch;
mod check;
mod cluster;
pub mod direct;
mod engine;
mod failure;
mod kafka;
mod message;
mod meters;
#[cfg(test)]
mod model;
mod positions;
mod prepare;
mod replay;
mod start;
pub mod status;
mod stop;
mod stub;
mod succession;
mod topics;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

pub use backlog::{Backlog, BacklogError, Lineage};
pub use check::{Findings, check};
pub use kafka::{demo, property_fault};
pub use replay::Replay;
pub use status::{Degraded, Status};

use crate::clock::Clock;
use crate::config::{Config, EventsMode, Kafka, Topics};
use engine::{Engine, Pacing};
use kafka::{ClientSettings, KafkaCluster};
use stop::Stop;

/// What the publisher needs of the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The identity of this replica.
    pub instance: String,
    /// How Kafka is reached.
    pub kafka: Kafka,
    /// Where each stream goes.
    pub topics: Topics,
    /// The form of messages.
    pub mode: EventsMode,
}

impl Settings {
    /// Those of a configuration, for this identity.
    pub fn of(config: &Config, instance: String) -> Self {
        Self {
            instance,
            kafka: config.kafka.clone(),
            topics: config.topics.clone(),
            mode: config.events.mode,
        }
    }
}

/// How the publisher ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// As asked. Nothing is lost either way: the journal has what Kafka has not.
    Stopped {
        /// Whether a transaction had to be given up at the deadline (exit 6).
        transaction_open: bool,
    },
    /// Exit 5: another process publishes under this identity.
    Fenced,
    /// Exit 3 or 4: the journal is damaged or failed.
    Backlog(BacklogError),
    /// Exit 1: the thread died.
    Died,
}

/// The publisher's thread.
#[derive(Debug)]
pub struct Publisher {
    status: Status,
    stop: Stop,
    end: oneshot::Receiver<End>,
}

impl Publisher {
    /// Starts publishing. Returns at once, whether or not Kafka is there.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn spawn<B: Backlog + 'static>(
        settings: &Settings,
        backlog: B,
        clock: Arc<dyn Clock>,
    ) -> std::io::Result<Self> {
        let status = Status::new(clock.clone());
        let stop = Stop::new(clock.clone());
        let engine = Engine::new(
            settings,
            Pacing::default(),
            settings.cluster(),
            backlog,
            status.clone(),
            stop.clone(),
            clock,
        );
        let (report, end) = oneshot::channel();
        thread::Builder::new()
            .name("publisher".to_owned())
            .spawn(move || {
                // Nobody waits for it any more when the process is about to exit for another reason.
                let _ = report.send(engine.run());
            })?;
        Ok(Self { status, stop, end })
    }

    /// What others may know of it.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Asks it to stop. An open transaction is finished, or given up after `deadline`; the backlog is not drained.
    /// Returns at once; a later call can only bring the deadline forward.
    pub fn stop(&self, deadline: Duration) {
        self.stop.request(deadline);
    }

    /// Waits for its end. Cancel safe; once it returned, it must not be called again.
    pub async fn ended(&mut self) -> End {
        (&mut self.end).await.unwrap_or(End::Died)
    }
}

impl Settings {
    /// The transactional id, which is also the key of the position records.
    pub fn transactional_id(&self) -> String {
        format!("{}.{}", self.kafka.transactional_id_prefix, self.instance)
    }

    fn client(&self) -> ClientSettings {
        ClientSettings::new(self.kafka.clone(), self.transactional_id())
    }

    fn cluster(&self) -> KafkaCluster {
        KafkaCluster::new(
            self.client(),
            self.topics.itinerary.clone(),
            self.topics.positions.clone(),
        )
    }
}

/// The version of librdkafka that is linked in, for `--version`.
pub fn librdkafka_version() -> String {
    kafka::librdkafka_version()
}
