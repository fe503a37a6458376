//! The real Kafka: everything that names rdkafka.
//!
//! Clients live as short as they can. Surveys, reading positions and making topics each open a client and close it again,
//! so that between transactions one producer is all there is: a few threads, a few connections, bounded queues.
//!
//! - [`settings`]: the properties of each kind of client, and those that are the bridge's own.
//! - [`listener`]: librdkafka's logs and errors, without secrets.
//! - [`errors`]: librdkafka's error codes as [`Failure`](super::failure::Failure) kinds.
//! - [`survey`], [`positions`]: reading what is there.
//! - [`producer`]: the producer of the engine; [`direct`]: that of the stateless mode.

pub mod demo;
mod direct;
mod errors;
mod listener;
mod positions;
mod producer;
mod reports;
mod settings;
mod survey;

use std::time::Duration;

pub(super) use direct::{DirectProducer, Spent};
pub use settings::property_fault;
pub(super) use settings::{ClientSettings, librdkafka_version, verify};

use super::cluster::{CallError, Cluster, Limits};
use super::failure::Failure;
use super::positions::Found;
use super::stop::Stop;
use super::topics::{NewTopic, Seen};

/// The brokers of the configuration.
pub(crate) struct KafkaCluster {
    settings: ClientSettings,
    /// A topic of ours, to ask about when only the answer matters.
    probe_topic: String,
    positions_topic: String,
}

impl KafkaCluster {
    pub(super) fn new(
        settings: ClientSettings,
        probe_topic: String,
        positions_topic: String,
    ) -> Self {
        Self {
            settings,
            probe_topic,
            positions_topic,
        }
    }

    /// Makes a producer of the stateless mode.
    pub(super) fn direct_producer(
        &self,
        limits: Limits,
        ack_timeout: Duration,
    ) -> Result<DirectProducer, Failure> {
        DirectProducer::new(&self.settings, limits, ack_timeout, &self.probe_topic)
    }
}

impl Cluster for KafkaCluster {
    type Producer = producer::KafkaProducer;

    fn survey(&mut self, topics: &[&str]) -> Result<(Option<String>, Vec<Seen>), Failure> {
        survey::survey(&self.settings, topics)
    }

    fn create(&mut self, topics: &[NewTopic]) -> Result<(), Failure> {
        survey::create(&self.settings, topics)
    }

    fn end_of_positions(&mut self) -> Result<i64, Failure> {
        positions::end(&self.settings, &self.positions_topic)
    }

    fn newest_position(
        &mut self,
        key: &str,
        from: Option<i64>,
        end: i64,
    ) -> Result<Option<Found>, CallError> {
        positions::newest(&self.settings, &self.positions_topic, key, from, end)
    }

    fn compresses(&self) -> bool {
        self.settings.compresses()
    }

    fn producer(&mut self, limits: Limits) -> Result<Self::Producer, Failure> {
        producer::KafkaProducer::new(&self.settings, limits, &self.probe_topic)
    }

    fn pause(&mut self, duration: Duration, stop: &Stop) {
        stop.wait(duration);
    }
}
