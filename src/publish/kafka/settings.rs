//! Properties of librdkafka clients: the bridge's defaults, then the operator's, then those that are the bridge's own.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::BaseProducer;

use super::super::cluster::Limits;
use super::listener::{Listener, Secrets};
use crate::config::{Delivery, Kafka, Properties};

/// Properties that an operator cannot set: a guarantee of the bridge hangs on each, or another key of the configuration
/// is the place for it.
const OWNED_PROPERTIES: &[&str] = &[
    "acks",
    "allow.auto.create.topics",
    "auto.offset.reset",
    "bootstrap.servers",
    "delivery.report.only.error",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "isolation.level",
    "log.queue",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "metadata.broker.list",
    "partitioner",
    "produce.offset.report",
    "queuing.strategy",
    "request.required.acks",
    "transactional.id",
];

/// Below this the broker would not take even what the bridge sends itself.
const SMALLEST_BATCH_BYTES: usize = 1_000;
/// Librdkafka's own default for `batch.size`; a few hundred records of a usual size.
const LARGEST_BATCH_BYTES: usize = 1_000_000;

/// What all clients of one bridge have in common.
#[derive(Clone)]
pub(crate) struct ClientSettings {
    kafka: Kafka,
    transactional_id: String,
    secrets: Secrets,
}

/// The version of librdkafka that is linked in.
pub(crate) fn librdkafka_version() -> String {
    rdkafka::util::get_rdkafka_version().1
}

/// What is wrong with one of the operator's properties, as far as it can be told from itself alone.
pub fn property_fault(name: &str, value: &str) -> Option<String> {
    if OWNED_PROPERTIES.contains(&name) {
        return Some(format!("`{name}` belongs to the bridge and cannot be set"));
    }
    let mut config = ClientConfig::new();
    config.set(name, value);
    let error = config.create_native_config().err()?;
    let secrets = Secrets::of(&Properties([(name.to_owned(), value.to_owned())].into()));
    Some(super::errors::describe(&error, &secrets))
}

/// What librdkafka has against the properties together, without connecting anywhere.
pub(crate) fn verify(settings: &ClientSettings) -> Result<(), String> {
    settings
        .producer(Limits::default())
        .create::<BaseProducer>()
        .map(drop)
        .map_err(|error| super::errors::describe(&error, &settings.secrets))
}

impl ClientSettings {
    pub(crate) fn new(kafka: Kafka, transactional_id: String) -> Self {
        let secrets = Secrets::of(&kafka.properties);
        Self {
            kafka,
            transactional_id,
            secrets,
        }
    }

    pub(super) fn listener(&self) -> Listener {
        Listener::new(self.secrets.clone())
    }

    pub(super) fn transactional(&self) -> bool {
        self.kafka.delivery == Delivery::ExactlyOnce
    }

    /// A client that asks: for metadata, and for the end of a partition with open and aborted transactions included.
    pub(super) fn asking(&self) -> ClientConfig {
        let mut config = self.base();
        self.apply(&mut config);
        config.set("isolation.level", "read_uncommitted");
        config
    }

    /// A client that reads committed position records.
    pub(super) fn reading(&self) -> ClientConfig {
        let mut config = self.base();
        config
            .set("fetch.wait.max.ms", "100")
            .set("fetch.message.max.bytes", "262144")
            .set("queued.max.messages.kbytes", "2048");
        self.apply(&mut config);
        config
            // Never joined and never committed to; librdkafka assigns no partition without one.
            .set("group.id", &self.transactional_id)
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .set("isolation.level", "read_committed");
        config
    }

    /// The producer of the engine.
    pub(super) fn producer(&self, limits: Limits) -> ClientConfig {
        let mut config = self.base();
        self.producing(&mut config, limits);
        // A transaction is queued within this time, and goes in few large batches. Of an idempotent producer librdkafka has
        // one batch of a partition on its way, and spins until it is acknowledged when more lingered long enough.
        config.set("linger.ms", "5");
        if self.transactional() {
            // Bounds how long a predecessor that was killed hides the end of the topics from readers of read_committed.
            config.set("transaction.timeout.ms", "30000");
        } else {
            // Nothing is given up: what was not delivered would be overtaken by what comes behind it.
            config.set("message.timeout.ms", "0");
        }
        self.apply(&mut config);
        self.own_producer(&mut config);
        if self.transactional() {
            config.set("transactional.id", &self.transactional_id);
        }
        config
    }

    /// The producer of the stateless mode: a message that is not acknowledged in time is given up.
    pub(super) fn direct(&self, limits: Limits, ack_timeout: Duration) -> ClientConfig {
        let mut config = self.base();
        self.producing(&mut config, limits);
        config.set("linger.ms", "1");
        self.apply(&mut config);
        self.own_producer(&mut config);
        config.set(
            "message.timeout.ms",
            ack_timeout.as_millis().max(1).to_string(),
        );
        config
    }

    fn base(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("client.id", "concur-bridge")
            // A broker that comes back is noticed within a second rather than ten.
            .set("reconnect.backoff.max.ms", "1000")
            .set("socket.keepalive.enable", "true")
            // Half-open connections: a broker that vanished is given up in time for the transaction's own timeout.
            .set("socket.timeout.ms", "10000")
            .set("socket.connection.setup.timeout.ms", "5000");
        config
    }

    fn producing(&self, config: &mut ClientConfig, limits: Limits) {
        let batch_bytes = limits
            .batch_bytes
            .unwrap_or(LARGEST_BATCH_BYTES)
            .clamp(SMALLEST_BATCH_BYTES, LARGEST_BATCH_BYTES);
        let message_bytes = limits
            .message_bytes
            .unwrap_or(LARGEST_BATCH_BYTES)
            .clamp(LARGEST_BATCH_BYTES, 1_000_000_000);
        config
            .set("batch.size", batch_bytes.to_string())
            .set("message.max.bytes", message_bytes.to_string())
            // A transaction is 2 MiB at most; one message alone may be larger.
            .set("queue.buffering.max.kbytes", "16384")
            .set("queue.buffering.max.messages", "20000")
            // The bridge has seen the topics before it sends: one that is gone is gone.
            .set("topic.metadata.propagation.max.ms", "5000");
    }

    fn own_producer(&self, config: &mut ClientConfig) {
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set("allow.auto.create.topics", "false");
    }

    fn apply(&self, config: &mut ClientConfig) {
        for (name, value) in &self.kafka.properties.0 {
            config.set(name, value);
        }
        config.set("bootstrap.servers", &self.kafka.brokers);
    }

    /// Whether batches reach the broker smaller than they are here.
    pub(super) fn compresses(&self) -> bool {
        let properties = &self.kafka.properties.0;
        ["compression.type", "compression.codec"]
            .iter()
            .filter_map(|name| properties.get(*name))
            .any(|codec| codec != "none")
    }
}
