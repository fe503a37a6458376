//! The reader on a real Kafka: what was aborted it does not see, what is behind an abort it does.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::support::observed::{Inspector, Observed};
use crate::support::patience::patience;
use crate::support::reader::{Follower, Source, read_all};
use crate::support::wait;

const LIMIT: Duration = Duration::from_secs(60);

/// The direct address of a real Kafka; says so when there is none, and fails where one is required.
fn bootstrap() -> Option<String> {
    if let Ok(bootstrap) = std::env::var("KAFKA_BOOTSTRAP") {
        return Some(bootstrap);
    }
    println!("skipped: needs dev/kafka");
    let required = std::env::var("CONCUR_BRIDGE_REQUIRE").unwrap_or_default();
    assert!(
        !required.split(',').any(|word| word.trim() == "kafka"),
        "required: dev/kafka"
    );
    None
}

/// One transaction of messages with these contexts.
fn transaction(producer: &BaseProducer, topics: &[String], contexts: &[String], commit: bool) {
    producer.begin_transaction().unwrap();
    for (n, context) in contexts.iter().enumerate() {
        let payload = serde_json::json!({ "data": { "context": context } }).to_string();
        let record = BaseRecord::to(&topics[n % topics.len()])
            .key(context)
            .payload(&payload);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    if commit {
        producer.commit_transaction(patience(LIMIT)).unwrap();
    } else {
        producer.flush(patience(LIMIT)).unwrap();
        producer.abort_transaction(patience(LIMIT)).unwrap();
    }
}

#[test]
fn a_committed_reader_sees_every_committed_event_and_no_aborted_one() {
    let Some(bootstrap) = bootstrap() else { return };
    let unique = uuid::Uuid::new_v4();
    let topics: Vec<String> = (0..2).map(|n| format!("reader-{unique}-{n}")).collect();
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &bootstrap)
        .set("transactional.id", unique.to_string())
        .create()
        .unwrap();
    let admin: rdkafka::admin::AdminClient<_> = ClientConfig::new()
        .set("bootstrap.servers", &bootstrap)
        .create()
        .unwrap();
    let new: Vec<_> = topics
        .iter()
        .map(|topic| {
            rdkafka::admin::NewTopic::new(topic, 3, rdkafka::admin::TopicReplication::Fixed(1))
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime
        .block_on(admin.create_topics(&new, &Default::default()))
        .unwrap();

    let source = Source {
        bootstrap,
        topics: topics.clone(),
        inspector: Arc::new(Inspector::default()),
    };
    let follower = Follower::start(source.clone());
    producer.init_transactions(patience(LIMIT)).unwrap();
    let names =
        |range: std::ops::Range<u32>| range.map(|n| format!("i1-0-{n}#1")).collect::<Vec<_>>();
    transaction(&producer, &topics, &names(0..40), true);
    transaction(&producer, &topics, &names(40..80), false);
    transaction(&producer, &topics, &names(80..120), true);

    let wanted = [names(0..40), names(80..120)].concat();
    let tags: Vec<_> = wanted.iter().map(|name| name.parse().unwrap()).collect();
    wait::until_true(LIMIT, "the follower to see all", || {
        follower.missing(&tags) == 0
    })
    .unwrap();
    let seen = |read: Vec<Observed>| {
        let mut tags: Vec<_> = read.into_iter().filter_map(|event| event.tag).collect();
        tags.sort_unstable();
        tags
    };
    let mut sorted = tags.clone();
    sorted.sort_unstable();
    assert_eq!(seen(follower.finish().unwrap()), sorted);
    assert_eq!(seen(read_all(&source).unwrap()), sorted);
}
