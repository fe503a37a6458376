//! Does the publisher keep its promises on a real Kafka?

use std::time::Duration;

use concur_bridge::config::{Delivery, EventsMode};
use concur_bridge::publish::{Degraded, End, Publisher, Settings};
use concur_bridge::record::Position;

use crate::support::backlog::{MemoryBacklog, itinerary_of};
use crate::support::kafka::{
    Operator, SOON, bootstrap_or_skip, positions_of, read_committed, read_uncommitted, settings,
};
use crate::support::wait::{wait_for, wait_until};

/// What the publisher tries again every 10 s is mended within this.
const AFTER_A_PAUSE: Duration = Duration::from_secs(30);

fn end_of(mut publisher: Publisher, deadline: Duration) -> End {
    publisher.stop(deadline);
    outcome(&mut publisher)
}

fn outcome(publisher: &mut Publisher) -> End {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(async { tokio::time::timeout(SOON, publisher.ended()).await })
        .expect("the publisher ends")
}

fn wait_published(publisher: &Publisher, position: Position) {
    wait_until("everything is published", AFTER_A_PAUSE, || {
        publisher.status().published() >= position
    });
}

fn is_degraded(publisher: &Publisher, code: Degraded) -> bool {
    publisher
        .status()
        .degraded()
        .iter()
        .any(|(degraded, _)| *degraded == code)
}

fn assert_published_once(settings: &Settings, ids: &[String]) {
    let consumed = read_committed(&settings.kafka.brokers, &settings.topics.itinerary);
    let expected: Vec<u64> = (1..=ids.len() as u64).collect();
    assert_eq!(positions_of(&consumed), expected);
    for message in &consumed {
        assert_eq!(message.id(), ids[message.position() as usize - 1]);
    }
}

#[test]
fn every_record_is_published_once_over_restarts() {
    let Some(bootstrap) = bootstrap_or_skip() else {
        return;
    };
    let settings = settings(&bootstrap);
    let backlog = MemoryBacklog::new();
    let mut ids = backlog.append_events(0, 300);
    for round in 1..4 {
        let publisher = Publisher::spawn(&settings, backlog.clone()).unwrap();
        ids.extend(backlog.append_events(round * 1_000, 200));
        if round < 3 {
            wait_until("something is published", SOON, || {
                publisher.status().published() > Position(ids.len() as u64 / 2)
            });
        } else {
            wait_published(&publisher, backlog.last());
        }
        let end = end_of(publisher, SOON);
        assert_eq!(
            end,
            End::Stopped {
                transaction_open: false
            }
        );
        // As after a kill: the journal's own mark is lost, Kafka's position is not.
        backlog.forget_published();
    }
    assert_published_once(&settings, &ids);
}
