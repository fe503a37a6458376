//! Does the publisher keep its promises on a real Kafka?

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use concur_bridge::clock::ManualClock;
use concur_bridge::config::{Delivery, EventsMode};
use concur_bridge::publish::{Backlog as _, Degraded, End, Publisher, Settings};
use concur_bridge::record::Position;

use crate::support::backlog::MemoryBacklog;
use crate::support::clock::SkippingClock;
use crate::support::kafka::{
    Operator, SOON, bootstrap_or_skip, positions_of, read_committed, read_uncommitted, settings,
};
use crate::support::wait::{wait_for, wait_until};

/// How long the publisher pauses before it tries again what only an operator can mend.
const PAUSE: Duration = Duration::from_secs(10);

/// A publisher on a clock that skips its pauses.
pub(crate) struct Publishing {
    publisher: Publisher,
    clock: Arc<SkippingClock>,
}

impl Deref for Publishing {
    type Target = Publisher;

    fn deref(&self) -> &Publisher {
        &self.publisher
    }
}

impl DerefMut for Publishing {
    fn deref_mut(&mut self) -> &mut Publisher {
        &mut self.publisher
    }
}

pub(crate) fn start(settings: &Settings, backlog: &MemoryBacklog) -> Publishing {
    let clock: Arc<SkippingClock> = Arc::default();
    Publishing {
        publisher: Publisher::spawn(settings, backlog.clone(), clock.clone()).unwrap(),
        clock,
    }
}

pub(crate) fn end_of(mut publishing: Publishing, deadline: Duration) -> End {
    publishing.stop(deadline);
    outcome(&mut publishing)
}

/// How the publisher ends, which it is to do soon.
pub(crate) fn outcome(publisher: &mut Publisher) -> End {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(async { tokio::time::timeout(SOON, publisher.ended()).await })
        .expect("the publisher ends")
}

pub(crate) fn wait_published(publishing: &Publishing, position: Position) {
    wait_until("everything is published", SOON * 3, || {
        if is_degraded(publishing, Degraded::TopicMissing) {
            publishing.clock.skip(PAUSE);
        }
        publishing.status().published() >= position
    });
}

/// A broker that was slow for a moment may have raised an alarm since the last record was published.
pub(crate) fn wait_until_nothing_is_degraded(publisher: &Publisher) {
    wait_until("all alarms are over", SOON, || {
        publisher.status().degraded().is_empty()
    });
}

fn is_degraded(publisher: &Publisher, code: Degraded) -> bool {
    publisher
        .status()
        .degraded()
        .iter()
        .any(|(degraded, _)| *degraded == code)
}

pub(crate) fn assert_published_once(settings: &Settings, ids: &[String]) {
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
        let publisher = start(&settings, &backlog);
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

#[test]
fn at_least_once_publishes_everything_in_order_without_a_transaction() {
    let Some(bootstrap) = bootstrap_or_skip() else {
        return;
    };
    let mut settings = settings(&bootstrap);
    settings.kafka.delivery = Delivery::AtLeastOnce;
    let backlog = MemoryBacklog::new();
    let ids = backlog.append_events(0, 500);
    let publisher = start(&settings, &backlog);
    wait_published(&publisher, backlog.last());
    assert_published_once(&settings, &ids);
    let topic = &settings.topics.itinerary;
    assert_eq!(
        read_uncommitted(&bootstrap, topic).len(),
        ids.len(),
        "a transaction would leave markers and nothing more, an aborted one records"
    );
    assert!(!Operator::at(&bootstrap).has_topic(&settings.topics.positions));
    end_of(publisher, SOON);
    assert_eq!(backlog.published_position(), backlog.last());
}

#[test]
fn a_twin_on_a_copied_journal_fences_the_first_and_the_first_ends_with_the_exit_decision() {
    let Some(bootstrap) = bootstrap_or_skip() else {
        return;
    };
    let settings = settings(&bootstrap);
    let backlog = MemoryBacklog::new();
    let ids = backlog.append_events(0, 20);
    let mut first = start(&settings, &backlog);
    wait_published(&first, backlog.last());
    let twins = backlog.copy();
    let twin = start(&settings, &twins);
    wait_until("the twin has taken over", SOON, || twin.status().kafka_up());
    let more = twins.append_events(100, 5);
    wait_published(&twin, twins.last());
    backlog.append_events(200, 1);
    assert_eq!(outcome(&mut first), End::Fenced);
    assert!(is_degraded(&first, Degraded::Fenced));
    twins.append_events(300, 1);
    wait_published(&twin, twins.last());
    end_of(twin, SOON);
    let consumed = read_committed(&bootstrap, &settings.topics.itinerary);
    assert_eq!(
        positions_of(&consumed),
        (1..=twins.last().0).collect::<Vec<_>>()
    );
    assert!(
        more.iter()
            .chain(&ids)
            .all(|id| consumed.iter().any(|message| message.id() == id))
    );
}

#[test]
fn our_own_transaction_that_the_broker_timed_out_is_no_twin() {
    let Some(bootstrap) = bootstrap_or_skip() else {
        return;
    };
    let settings = settings(&bootstrap);
    let backlog = MemoryBacklog::new();
    let mut ids = backlog.append_events(0, 20);
    let publisher = start(&settings, &backlog);
    wait_published(&publisher, backlog.last());
    // What the broker does to a transaction that it times out: the epoch moves on.
    Operator::at(&bootstrap).fence(&settings.transactional_id());
    ids.extend(backlog.append_events(100, 20));
    wait_published(&publisher, backlog.last());
    end_of(publisher, SOON);
    assert_published_once(&settings, &ids);
}

#[test]
fn a_position_that_is_not_this_journals_alarms_skips_nothing_and_renews_the_journal() {
    let Some(bootstrap) = bootstrap_or_skip() else {
        return;
    };
    let settings = settings(&bootstrap);
    let replaced = MemoryBacklog::new();
    replaced.append_events(0, 50);
    let publisher = start(&settings, &replaced);
    wait_published(&publisher, replaced.last());
    end_of(publisher, SOON);

    let backlog = MemoryBacklog::new();
    let before = backlog.uuid();
    let ids = backlog.append_events(1_000, 10);
    let publisher = start(&settings, &backlog);
    wait_published(&publisher, backlog.last());
    assert!(is_degraded(&publisher, Degraded::PositionMismatch));
    assert_ne!(backlog.uuid(), before);
    end_of(publisher, SOON);
    let consumed = read_committed(&bootstrap, &settings.topics.itinerary);
    assert_eq!(consumed.len(), 60);
    assert!(
        ids.iter()
            .all(|id| consumed.iter().any(|message| message.id() == id))
    );

    let publisher = start(&settings, &backlog);
    wait_until("the next start is in order", SOON, || {
        publisher.status().kafka_up()
    });
    backlog.append_events(2_000, 1);
    wait_published(&publisher, backlog.last());
    assert!(!is_degraded(&publisher, Degraded::PositionMismatch));
    end_of(publisher, SOON);
}

#[test]
fn a_deleted_positions_topic_alarms_and_publishing_goes_on_without_a_repeat() {
    let Some(bootstrap) = bootstrap_or_skip() else {
        return;
    };
    let settings = settings(&bootstrap);
    let backlog = MemoryBacklog::new();
    let mut ids = backlog.append_events(0, 50);
    let publisher = start(&settings, &backlog);
    wait_published(&publisher, backlog.last());
    Operator::at(&bootstrap).delete_topic(&settings.topics.positions);
    ids.extend(backlog.append_events(100, 50));
    wait_published(&publisher, backlog.last());
    assert!(is_degraded(&publisher, Degraded::PositionsLost));
    end_of(publisher, SOON);
    assert_published_once(&settings, &ids);
}

#[test]
fn what_kafka_lost_although_it_had_acknowledged_it_alarms_with_the_command_that_sends_it_again() {
    let Some(bootstrap) = bootstrap_or_skip() else {
        return;
    };
    let settings = settings(&bootstrap);
    let backlog = MemoryBacklog::new();
    backlog.append_events(0, 5);
    let publisher = start(&settings, &backlog);
    wait_published(&publisher, backlog.last());
    end_of(publisher, SOON);
    // As if five more had been published by a transaction of which nothing is left.
    let (_, offset) = backlog.published();
    backlog.append_events(100, 5);
    let mut after = backlog.clone();
    after.mark_published(backlog.last(), offset.map(|offset| offset + 2));

    let publisher = start(&settings, &backlog);
    wait_until("the loss is seen", SOON, || {
        is_degraded(&publisher, Degraded::PositionsLost)
    });
    let texts = publisher.status().degraded();
    assert!(
        texts
            .iter()
            .any(|(_, text)| text.contains("journal replay --from 6 --to 10 --apply")),
        "{texts:?}"
    );
    end_of(publisher, SOON);
}

#[test]
fn a_binary_message_has_the_data_as_value_and_attributes_as_headers() {
    let Some(bootstrap) = bootstrap_or_skip() else {
        return;
    };
    let mut settings = settings(&bootstrap);
    settings.mode = EventsMode::Binary;
    let backlog = MemoryBacklog::new();
    backlog.append_events(3, 1);
    let publisher = start(&settings, &backlog);
    wait_published(&publisher, backlog.last());
    end_of(publisher, SOON);
    let consumed = read_committed(&bootstrap, &settings.topics.itinerary);
    let data: serde_json::Value = serde_json::from_slice(&consumed[0].value).unwrap();
    assert_eq!(data["tripId"], "trip-3");
    assert_eq!(consumed[0].key.as_deref(), Some("trip-3"));
    assert_eq!(consumed[0].headers["content-type"], "application/json");
    assert_eq!(consumed[0].headers["ce_specversion"], "1.0");
    assert_eq!(consumed[0].headers["ce_subject"], "trip-3");
}

#[test]
fn another_cluster_than_the_journals_pauses_publishing() {
    let Some(bootstrap) = bootstrap_or_skip() else {
        return;
    };
    let settings = settings(&bootstrap);
    let mut backlog = MemoryBacklog::new();
    concur_bridge::publish::Backlog::bind_cluster(&mut backlog, "another").unwrap();
    backlog.append_events(0, 1);
    let publisher = start(&settings, &backlog);
    wait_until("the alarm", SOON, || {
        is_degraded(&publisher, Degraded::ClusterChanged)
    });
    let end = end_of(publisher, SOON);
    assert_eq!(
        end,
        End::Stopped {
            transaction_open: false
        }
    );
    assert!(!Operator::at(&bootstrap).has_topic(&settings.topics.itinerary));
}

#[test]
fn without_kafka_the_publisher_says_why_and_stops_at_once_when_asked() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    let backlog = MemoryBacklog::new();
    backlog.append_events(0, 10);
    // Time stands still: what the publisher waits for, only the request to stop can end.
    let clock = Arc::new(ManualClock::new());
    let mut publisher = Publisher::spawn(&settings(&address), backlog, clock).unwrap();
    let text = wait_for("the alarm", SOON, || {
        publisher
            .status()
            .degraded()
            .into_iter()
            .find(|(degraded, _)| *degraded == Degraded::KafkaDown)
    })
    .1;
    assert!(text.contains("refused"), "{text}");
    assert!(!publisher.status().kafka_up());
    publisher.stop(SOON);
    assert_eq!(
        outcome(&mut publisher),
        End::Stopped {
            transaction_open: false
        }
    );
}

#[test]
fn a_journal_that_cannot_be_read_ends_the_publisher_with_its_error() {
    let Some(bootstrap) = bootstrap_or_skip() else {
        return;
    };
    let backlog = MemoryBacklog::new();
    backlog.append_events(0, 1);
    backlog.fail_reads();
    let end = outcome(&mut start(&settings(&bootstrap), &backlog));
    assert!(matches!(end, End::Backlog(_)), "{end:?}");
}
