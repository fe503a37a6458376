//! Are topics made as they should be, and does publishing begin by itself once they are there?

use concur_bridge::publish::{Degraded, Publisher};

use crate::publish::{
    assert_published_once, end_of, start, wait_published, wait_until_nothing_is_degraded,
};
use crate::support::backlog::MemoryBacklog;
use crate::support::kafka::{Operator, SOON, bootstrap_or_skip, settings};
use crate::support::wait::{wait_for, wait_until};

/// What the alarm says that names them.
fn missing_topics(publisher: &Publisher) -> String {
    wait_for("the alarm", SOON, || {
        let degraded = publisher.status().degraded();
        let mut degraded = degraded.into_iter();
        degraded.find(|(degraded, _)| *degraded == Degraded::TopicMissing)
    })
    .1
}

/// A cluster answers with the same code when one broker of those that are wanted is missing for good, and when its only
/// broker is just starting or shutting down.
#[test]
fn topics_that_too_few_brokers_can_hold_are_named_as_missing_and_publishing_begins_once_they_are_there()
 {
    let Some(bootstrap) = bootstrap_or_skip() else {
        return;
    };
    let mut settings = settings(&bootstrap);
    settings.kafka.replication_factor = 2;
    let backlog = MemoryBacklog::new();
    backlog.append_events(0, 10);
    let publisher = start(&settings, &backlog);
    let text = missing_topics(&publisher);
    assert!(text.contains(&settings.topics.itinerary), "{text}");
    assert!(text.contains("kafka.replication_factor"), "{text}");
    let operator = Operator::at(&bootstrap);
    let topics = &settings.topics;
    for topic in [
        &topics.itinerary,
        &topics.fop,
        &topics.profile,
        &topics.other,
        &topics.quarantine,
        &topics.positions,
    ] {
        operator.create_topic(topic, &[]);
    }
    wait_published(&publisher, backlog.last());
    wait_until_nothing_is_degraded(&publisher);
}

#[test]
fn a_missing_topic_pauses_publishing_by_name_and_its_creation_resumes_it() {
    let Some(bootstrap) = bootstrap_or_skip() else {
        return;
    };
    let mut settings = settings(&bootstrap);
    settings.kafka.create_topics = false;
    let operator = Operator::at(&bootstrap);
    let topics = [
        &settings.topics.itinerary,
        &settings.topics.fop,
        &settings.topics.other,
        &settings.topics.positions,
    ];
    for topic in topics {
        operator.create_topic(topic, &[]);
    }
    let backlog = MemoryBacklog::new();
    let ids = backlog.append_events(0, 10);
    let publisher = start(&settings, &backlog);
    let text = missing_topics(&publisher);
    assert!(text.contains(&settings.topics.profile), "{text}");
    assert!(text.contains(&settings.topics.quarantine), "{text}");
    operator.create_topic(&settings.topics.profile, &[]);
    operator.create_topic(&settings.topics.quarantine, &[]);
    wait_published(&publisher, backlog.last());
    wait_until_nothing_is_degraded(&publisher);
    end_of(publisher, SOON);
    assert_published_once(&settings, &ids);
}

#[test]
fn topics_that_the_bridge_creates_take_the_brokers_time_and_positions_are_compacted() {
    let Some(bootstrap) = bootstrap_or_skip() else {
        return;
    };
    let settings = settings(&bootstrap);
    let publisher = start(&settings, &MemoryBacklog::new());
    wait_until("kafka is up", SOON, || publisher.status().kafka_up());
    end_of(publisher, SOON);
    let operator = Operator::at(&bootstrap);
    let itinerary = operator.topic_settings(&settings.topics.itinerary);
    assert_eq!(itinerary["message.timestamp.type"], "LogAppendTime");
    let positions = operator.topic_settings(&settings.topics.positions);
    assert_eq!(positions["cleanup.policy"], "compact");
    assert_eq!(operator.partitions(&settings.topics.itinerary), 3);
    assert_eq!(operator.partitions(&settings.topics.positions), 1);
}
