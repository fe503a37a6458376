//! The real Kafka that `dev/kafka` starts: whether it is there, topics of a test's own, and reading what consumers read.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use concur_bridge::config::{Delivery, EventsMode, Kafka, Properties, Topics};
use concur_bridge::publish::Settings;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use uuid::Uuid;

use super::wait::patience;

/// For what a broker does at once.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// The bootstrap servers of the real Kafka; `None`, said aloud, where there is none.
///
/// # Panics
/// When the run requires Kafka (`CONCUR_BRIDGE_REQUIRE` contains `kafka`) and there is none.
pub(crate) fn bootstrap_or_skip() -> Option<String> {
    let bootstrap = std::env::var("KAFKA_BOOTSTRAP").ok();
    if bootstrap.is_none() {
        let required = std::env::var("CONCUR_BRIDGE_REQUIRE").unwrap_or_default();
        assert!(
            !required.contains("kafka"),
            "this run requires Kafka, but KAFKA_BOOTSTRAP is not set: eval \"$(dev/kafka env)\""
        );
        // Not by a macro: the harness would keep that to itself.
        let _ = writeln!(std::io::stderr(), "skipped: needs dev/kafka");
    }
    bootstrap
}

/// Topics, instance and prefix of one test's own.
pub(crate) fn settings(bootstrap: &str) -> Settings {
    let own = Uuid::new_v4().simple().to_string();
    Settings {
        instance: "bridge-0".to_owned(),
        kafka: Kafka {
            brokers: bootstrap.to_owned(),
            delivery: Delivery::ExactlyOnce,
            create_topics: true,
            partitions: 3,
            replication_factor: -1,
            transactional_id_prefix: format!("t{own}"),
            properties: Properties::default(),
        },
        topics: Topics {
            itinerary: format!("t{own}.itinerary"),
            fop: format!("t{own}.fop"),
            profile: format!("t{own}.profile"),
            other: format!("t{own}.other"),
            quarantine: format!("t{own}.quarantine"),
            positions: format!("t{own}.positions"),
            routes: BTreeMap::new(),
        },
        mode: EventsMode::Structured,
    }
}

/// A message as a consumer gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Consumed {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: Option<String>,
    pub(crate) value: Vec<u8>,
    pub(crate) headers: BTreeMap<String, String>,
}

impl Consumed {
    /// The CloudEvents id, by its header.
    pub(crate) fn id(&self) -> &str {
        &self.headers["ce_id"]
    }

    /// The sequence number in the position header.
    pub(crate) fn position(&self) -> u64 {
        let header = &self.headers["concur-bridge-position"];
        header.rsplit('/').next().unwrap().parse().unwrap()
    }

    fn of(message: &BorrowedMessage<'_>) -> Self {
        let headers = message
            .headers()
            .into_iter()
            .flat_map(|headers| headers.iter())
            .map(|header| {
                let value = header.value.unwrap_or_default();
                (
                    header.key.to_owned(),
                    String::from_utf8(value.to_vec()).unwrap(),
                )
            })
            .collect();
        Self {
            partition: message.partition(),
            offset: message.offset(),
            key: message
                .key()
                .map(|key| String::from_utf8(key.to_vec()).unwrap()),
            value: message.payload().unwrap_or_default().to_vec(),
            headers,
        }
    }
}

/// Everything that a topic shows a reader of `read_committed` now, partition by partition in order.
pub(crate) fn read_committed(bootstrap: &str, topic: &str) -> Vec<Consumed> {
    read(bootstrap, topic, "read_committed")
}

/// Everything in a topic, aborted and open transactions included.
pub(crate) fn read_uncommitted(bootstrap: &str, topic: &str) -> Vec<Consumed> {
    read(bootstrap, topic, "read_uncommitted")
}

fn read(bootstrap: &str, topic: &str, isolation: &str) -> Vec<Consumed> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "test-reader")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", isolation)
        .set("fetch.wait.max.ms", "50")
        .create()
        .unwrap();
    let metadata = consumer
        .fetch_metadata(Some(topic), patience(SOON))
        .unwrap();
    let partitions: Vec<i32> = metadata.topics()[0]
        .partitions()
        .iter()
        .map(|partition| partition.id())
        .collect();
    let mut assignment = TopicPartitionList::new();
    for partition in &partitions {
        assignment
            .add_partition_offset(topic, *partition, Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let mut consumed = Vec::new();
    let mut open = partitions.len();
    let began = Instant::now();
    while open > 0 {
        assert!(
            began.elapsed() < patience(SOON * 3),
            "topic {topic} cannot be read to its end"
        );
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => consumed.push(Consumed::of(&message)),
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => open -= 1,
            Some(Err(error)) => panic!("topic {topic} cannot be read: {error}"),
            None => {}
        }
    }
    consumed.sort_by_key(|message| (message.partition, message.offset));
    consumed
}

/// The positions in a topic, in order; per partition they must ascend.
///
/// # Panics
/// When two of one partition are out of order: per key that would be a reordering.
pub(crate) fn positions_of(consumed: &[Consumed]) -> Vec<u64> {
    for pair in consumed.windows(2) {
        assert!(
            pair[0].partition != pair[1].partition || pair[0].position() < pair[1].position(),
            "out of order: {pair:?}"
        );
    }
    let mut positions: Vec<u64> = consumed.iter().map(Consumed::position).collect();
    positions.sort_unstable();
    positions
}

/// An operator's hands.
pub(crate) struct Operator {
    bootstrap: String,
    admin: AdminClient<DefaultClientContext>,
    runtime: tokio::runtime::Runtime,
}

impl Operator {
    pub(crate) fn at(bootstrap: &str) -> Self {
        Self {
            bootstrap: bootstrap.to_owned(),
            admin: ClientConfig::new()
                .set("bootstrap.servers", bootstrap)
                .create()
                .unwrap(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap(),
        }
    }

    pub(crate) fn create_topic(&self, name: &str, config: &[(&str, &str)]) {
        let mut topic = NewTopic::new(name, 1, TopicReplication::Fixed(1));
        topic.config = config.to_vec();
        let options = AdminOptions::new().operation_timeout(Some(patience(SOON)));
        let results = self
            .runtime
            .block_on(self.admin.create_topics([&topic], &options))
            .unwrap();
        assert_eq!(results, [Ok(name.to_owned())]);
    }

    pub(crate) fn delete_topic(&self, name: &str) {
        let options = AdminOptions::new().operation_timeout(Some(patience(SOON)));
        let results = self
            .runtime
            .block_on(self.admin.delete_topics(&[name], &options))
            .unwrap();
        assert_eq!(results, [Ok(name.to_owned())]);
    }

    pub(crate) fn has_topic(&self, name: &str) -> bool {
        let metadata = self
            .admin
            .inner()
            .fetch_metadata(None, patience(SOON))
            .unwrap();
        metadata.topics().iter().any(|topic| topic.name() == name)
    }

    pub(crate) fn partitions(&self, name: &str) -> usize {
        let metadata = self
            .admin
            .inner()
            .fetch_metadata(None, patience(SOON))
            .unwrap();
        let mut topics = metadata.topics().iter();
        topics
            .find(|topic| topic.name() == name)
            .map_or(0, |topic| topic.partitions().len())
    }

    pub(crate) fn topic_settings(&self, name: &str) -> BTreeMap<String, String> {
        let resource = ResourceSpecifier::Topic(name);
        let mut results = self
            .runtime
            .block_on(
                self.admin
                    .describe_configs([&resource], &AdminOptions::new()),
            )
            .unwrap();
        let entries = results.remove(0).unwrap().entries;
        entries
            .into_iter()
            .map(|entry| (entry.name, entry.value.unwrap_or_default()))
            .collect()
    }

    /// Takes a transactional id and leaves no position record behind.
    pub(crate) fn fence(&self, transactional_id: &str) {
        let bootstrap = &self.bootstrap;
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("transactional.id", transactional_id)
            .create()
            .unwrap();
        producer.init_transactions(patience(SOON)).unwrap();
    }
}
