//! Does the stateless mode acknowledge only what Kafka has, and refuse at once what it cannot have?

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use concur_bridge::clock::SystemClock;
use concur_bridge::publish::direct::{Direct, DirectError};
use concur_bridge::publish::{Settings, check};
use concur_bridge::record::Record;

use crate::support::backlog::{itinerary, itinerary_of};
use crate::support::kafka::{Operator, SOON, bootstrap_or_skip, read_uncommitted, settings};
use crate::support::wait::wait_until;

/// No acknowledgement of a broker that is there takes so long.
const ACK_TIMEOUT: Duration = Duration::from_secs(60);

fn start(settings: &Settings) -> Direct {
    Direct::spawn(settings, ACK_TIMEOUT, Arc::new(SystemClock)).unwrap()
}

async fn stop(direct: &Direct) {
    direct.stop(SOON);
    let ended = tokio::time::timeout(SOON, direct.ended()).await;
    ended.expect("the producer ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_record_is_in_kafka_in_order_and_without_a_position() {
    let Some(bootstrap) = bootstrap_or_skip() else {
        return;
    };
    let settings = settings(&bootstrap);
    let direct = start(&settings);
    wait_until("kafka is up", SOON, || direct.status().kafka_up());
    let records: Vec<Record> = (0..200).map(itinerary).collect();
    let mut appends = Vec::new();
    for record in records.clone() {
        let direct = direct.clone();
        appends.push(tokio::spawn(async move { direct.append(record).await }));
    }
    for append in appends {
        append.await.unwrap().unwrap();
    }
    // One after another: in this order per key.
    let later: Vec<Record> = (200..230).map(|n| itinerary(n * 50)).collect();
    for record in &later {
        direct.append(record.clone()).await.unwrap();
    }
    let consumed = read_uncommitted(&bootstrap, &settings.topics.itinerary);
    assert_eq!(consumed.len(), records.len() + later.len());
    assert!(
        consumed
            .iter()
            .all(|message| !message.headers.contains_key("concur-bridge-position"))
    );
    let in_order: Vec<&str> = consumed
        .iter()
        .map(|message| message.id())
        .filter(|id| later.iter().any(|record| record.id == *id))
        .collect();
    let expected: Vec<&str> = later.iter().map(|record| record.id.as_str()).collect();
    assert_eq!(in_order, expected);
    stop(&direct).await;
    assert!(matches!(
        direct.append(records[0].clone()).await,
        Err(DirectError::Closing)
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_broker_a_record_is_refused_at_once() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = settings(&nobody.local_addr().unwrap().to_string());
    drop(nobody);
    let direct = start(&settings);
    let append = pin!(direct.append(itinerary(0)));
    let refused = append.poll(&mut Context::from_waker(Waker::noop()));
    assert!(
        matches!(refused, Poll::Ready(Err(DirectError::Unavailable(_)))),
        "{refused:?}"
    );
    stop(&direct).await;
}

#[test]
fn a_record_too_large_for_its_topic_is_refused_as_such() {
    let Some(bootstrap) = bootstrap_or_skip() else {
        return;
    };
    let settings = settings(&bootstrap);
    let limit = [("max.message.bytes", "5000")];
    Operator::at(&bootstrap).create_topic(&settings.topics.itinerary, &limit);
    let direct = start(&settings);
    wait_until("kafka is up", SOON, || direct.status().kafka_up());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let refused = direct.append(itinerary_of(0, 10_000)).await;
        let Err(DirectError::Unavailable(text)) = &refused else {
            panic!("{refused:?}");
        };
        assert!(text.contains("too large"), "{text}");
        direct.append(itinerary(1)).await.unwrap();
        stop(&direct).await;
    });
}

#[test]
fn check_names_every_missing_topic_or_says_that_they_will_be_created() {
    let Some(bootstrap) = bootstrap_or_skip() else {
        return;
    };
    let mut settings = settings(&bootstrap);
    let findings = check(&settings, false);
    assert_eq!((findings.faults.len(), findings.notes.len()), (0, 6));
    assert!(findings.cluster_id.is_some());
    settings.kafka.create_topics = false;
    let faults = check(&settings, false).faults.join("\n");
    for topic in [&settings.topics.fop, &settings.topics.positions] {
        assert!(faults.contains(topic), "{faults}");
    }
    assert!(!Operator::at(&bootstrap).has_topic(&settings.topics.fop));
}

#[test]
fn a_refused_property_is_named_without_its_value() {
    let mut settings = settings("127.0.0.1:1");
    let property = ("sasl.mechanism.password".to_owned(), "hunter2".to_owned());
    settings.kafka.properties.0.extend([property]);
    let faults = check(&settings, false).faults;
    assert_eq!(faults.len(), 1);
    assert!(faults[0].contains("sasl.mechanism.password"), "{faults:?}");
    assert!(!faults[0].contains("hunter2"), "{faults:?}");
}
