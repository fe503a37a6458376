//! What publishing counts. Every series is made at start, so that an alarm on a rise sees the first event as well.

use std::collections::BTreeMap;
use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};

use super::failure::FailureKind;
use crate::config::Topics;

/// What is counted per transaction and per topic.
pub(super) struct Meters {
    duration: Histogram,
    events: BTreeMap<String, Counter>,
}

impl Meters {
    pub(super) fn new(topics: &Topics) -> Self {
        for kind in FailureKind::ALL {
            errors(kind).increment(0);
        }
        let events = topics
            .of_events()
            .map(|topic| {
                let counter =
                    counter!("concur_bridge_publish_events_total", "topic" => topic.clone());
                (topic.clone(), counter)
            })
            .collect();
        Self {
            duration: histogram!("concur_bridge_publish_duration_seconds"),
            events,
        }
    }

    /// Kafka has as many more events of this topic.
    pub(super) fn published(&self, topic: &str, events: u64) {
        if let Some(counter) = self.events.get(topic) {
            counter.increment(events);
        }
    }

    /// One transaction, or one record without.
    pub(super) fn took(&self, duration: Duration) {
        self.duration.record(duration);
    }
}

/// Failures of this kind.
pub(super) fn errors(kind: FailureKind) -> Counter {
    counter!("concur_bridge_publish_errors_total", "kind" => kind.label())
}
