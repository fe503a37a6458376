//! A broker inside the process, for `demo`: librdkafka's mock cluster, and a consumer that reads from it.
//!
//! Good for showing what happens, no witness for exactly-once: the mock shows aborted records, does not fence and forgets
//! when the process ends.

use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use crate::config::Topics;

/// Partitions of the demo's topics: enough that keys spread, few enough that reading them in turn looks like a stream.
const PARTITIONS: i32 = 2;

/// A Kafka of one broker in this process.
pub struct DemoBroker {
    cluster: MockCluster<'static, DefaultProducerContext>,
    topics: Vec<String>,
}

/// A message as a consumer of the demo's broker reads it.
#[derive(Debug, Clone)]
pub struct Consumed {
    /// The topic.
    pub topic: String,
    /// The key, as text.
    pub key: Option<String>,
    /// The value, as text.
    pub value: String,
}

/// What the demo's broker or consumer could not do.
#[derive(Debug, thiserror::Error)]
#[error("the broker inside the process: {0}")]
pub struct DemoError(#[from] KafkaError);

impl DemoBroker {
    /// Starts it, with the topics of a configuration.
    ///
    /// # Errors
    /// See [`DemoError`].
    pub fn start(topics: &Topics) -> Result<Self, DemoError> {
        let cluster = MockCluster::new(1)?;
        let events: Vec<String> = topics.of_events().cloned().collect();
        for topic in &events {
            cluster.create_topic(topic, PARTITIONS, 1)?;
        }
        cluster.create_topic(&topics.positions, 1, 1)?;
        Ok(Self {
            cluster,
            topics: events,
        })
    }

    /// Where it listens.
    pub fn bootstrap(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// A consumer of every event topic, from the beginning.
    ///
    /// # Errors
    /// See [`DemoError`].
    pub fn consumer(&self) -> Result<DemoConsumer, DemoError> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.bootstrap())
            .set("group.id", "demo")
            .set("auto.offset.reset", "earliest")
            .set("isolation.level", "read_committed")
            .create()?;
        let topics: Vec<_> = self.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics)?;
        Ok(DemoConsumer(consumer))
    }
}

/// Reads the demo's events. Belongs on a thread of its own: it blocks.
pub struct DemoConsumer(BaseConsumer);

impl DemoConsumer {
    /// The next message, waiting for it at most `timeout`. Errors of a broker that goes away end in `None`.
    pub fn next(&self, timeout: Duration) -> Option<Consumed> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.0.poll(left)? {
                Ok(message) => {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    return Some(Consumed {
                        topic: message.topic().to_owned(),
                        key: message.key().map(text),
                        value: message.payload().map(text).unwrap_or_default(),
                    });
                }
                Err(_) if left.is_zero() => return None,
                Err(_) => {}
            }
        }
    }
}
