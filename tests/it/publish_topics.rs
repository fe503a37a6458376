//! Does publishing begin by itself once topics can be made?

use std::time::Duration;

use concur_bridge::publish::{Degraded, Publisher};

use crate::support::backlog::MemoryBacklog;
use crate::support::kafka::{Operator, SOON, bootstrap_or_skip, settings};
use crate::support::wait::{wait_for, wait_until};

/// What the publisher tries again every 10 s is mended within this.
const AFTER_A_PAUSE: Duration = Duration::from_secs(30);

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
    let publisher = Publisher::spawn(&settings, backlog.clone()).unwrap();
    let text = wait_for("the alarm", SOON, || {
        let degraded = publisher.status().degraded();
        let mut degraded = degraded.into_iter();
        degraded.find(|(degraded, _)| *degraded == Degraded::TopicMissing)
    })
    .1;
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
    wait_until("everything is published", AFTER_A_PAUSE, || {
        publisher.status().published() >= backlog.last()
    });
    assert_eq!(publisher.status().degraded(), []);
}
