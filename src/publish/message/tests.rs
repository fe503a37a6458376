use std::collections::BTreeMap;

use bytes::Bytes;
use uuid::Uuid;

use super::*;
use crate::event::EventType;
use crate::publish::stub;
use crate::record::QuarantineFacts;

const DOCUMENT: &str = r#"{"specversion":"1.0","id":"id-1","source":"/concur/v1/company","type":"com.concur.itinerary.created","subject":"tr\u00efp","time":"2026-11-24T00:42:39.123Z","datacontenttype":"application/json","dataschema":"urn:concur-bridge:schema:itinerary:1","data":{"tripId":"trïp"}}"#;

fn topics() -> Topics {
    Topics {
        itinerary: "i".to_owned(),
        fop: "f".to_owned(),
        profile: "p".to_owned(),
        other: "o".to_owned(),
        quarantine: "q".to_owned(),
        positions: "pos".to_owned(),
        routes: BTreeMap::from([("public.concur.request".to_owned(), "r".to_owned())]),
    }
}

fn composer(mode: EventsMode) -> Composer {
    Composer::new(topics(), mode, Some("bridge-0".to_owned()))
}

fn placed(kind: EventType) -> Placed {
    Placed {
        journal: Uuid::nil(),
        position: Position(7),
        crc: 1,
        record: Record {
            id: "id-1".to_owned(),
            kind,
            key: Some("trip".to_owned()),
            received_at: "2026-11-24T00:42:39.123Z".parse().unwrap(),
            traceparent: None,
            correlation_id: Some("c-1".to_owned()),
            ess_topic: None,
            quarantine: None,
            content: Bytes::from_static(DOCUMENT.as_bytes()),
        },
    }
}

fn headers(message: &Message<'_>) -> Vec<(&'static str, String)> {
    message
        .headers()
        .map(|(name, value)| (name, value.to_owned()))
        .collect()
}

fn pair(name: &'static str, value: &str) -> (&'static str, String) {
    (name, value.to_owned())
}

#[test]
fn a_structured_message_is_the_document_with_the_headers_of_the_interface() {
    let composer = composer(EventsMode::Structured);
    let placed = placed(EventType::ItineraryCreated);
    let message = composer.compose(&placed).unwrap();
    assert_eq!(message.topic, "i");
    assert_eq!(message.key, Some("trip"));
    assert_eq!(&*message.value, DOCUMENT.as_bytes());
    assert_eq!(
        headers(&message),
        [
            pair("content-type", "application/cloudevents+json"),
            pair("ce_id", "id-1"),
            pair("ce_type", "com.concur.itinerary.created"),
            pair(
                "concur-bridge-position",
                "bridge-0/00000000-0000-0000-0000-000000000000/7"
            ),
            pair("concur-correlation-id", "c-1"),
        ]
    );
}

#[test]
fn a_binary_message_is_the_data_with_every_attribute_as_a_header() {
    let composer = composer(EventsMode::Binary);
    let placed = placed(EventType::ItineraryCreated);
    let message = composer.compose(&placed).unwrap();
    assert_eq!(&*message.value, r#"{"tripId":"trïp"}"#.as_bytes());
    assert_eq!(
        headers(&message),
        [
            pair("content-type", "application/json"),
            pair("ce_id", "id-1"),
            pair("ce_type", "com.concur.itinerary.created"),
            pair(
                "concur-bridge-position",
                "bridge-0/00000000-0000-0000-0000-000000000000/7"
            ),
            pair("concur-correlation-id", "c-1"),
            pair("ce_specversion", "1.0"),
            pair("ce_source", "/concur/v1/company"),
            pair("ce_subject", "trïp"),
            pair("ce_time", "2026-11-24T00:42:39.123Z"),
            pair("ce_dataschema", "urn:concur-bridge:schema:itinerary:1"),
        ]
    );
}

#[test]
fn without_a_journal_there_is_no_position_header() {
    let composer = Composer::new(topics(), EventsMode::Structured, None);
    let record = placed(EventType::ItineraryCreated).record;
    let message = composer.compose_unplaced(&record).unwrap();
    assert!(message.headers().all(|(name, _)| name != POSITION_HEADER));
}

#[test]
fn the_topic_is_the_streams_or_the_routes_and_never_the_requests() {
    let composer = composer(EventsMode::Structured);
    let topic = |kind, ess_topic: Option<&str>| {
        let mut record = placed(kind).record;
        record.ess_topic = ess_topic.map(str::to_owned);
        composer.topic_of(&record).to_owned()
    };
    assert_eq!(topic(EventType::FopUpdated, None), "f");
    assert_eq!(topic(EventType::ProfileDeleted, None), "p");
    assert_eq!(topic(EventType::Quarantined, None), "q");
    assert_eq!(topic(EventType::Other, Some("public.concur.request")), "r");
    assert_eq!(topic(EventType::Other, Some("concur.positions")), "o");
    assert_eq!(
        topic(EventType::ItineraryCreated, Some("public.concur.request")),
        "i"
    );
}

#[test]
fn content_that_is_no_document_cannot_be_composed_in_binary_mode() {
    let composer = composer(EventsMode::Binary);
    let mut placed = placed(EventType::ItineraryCreated);
    placed.record.content = Bytes::from_static(b"{");
    let error = composer.compose(&placed).unwrap_err().to_string();
    assert!(error.contains("id-1"), "{error}");
}

#[test]
fn the_stub_of_an_oversized_record_keeps_id_key_topic_and_source() {
    let composer = composer(EventsMode::Structured);
    let placed = placed(EventType::ItineraryCreated);
    let stub = stub::of_oversized(&placed);
    let message = composer.compose_in("i", &stub).unwrap();
    assert_eq!((message.topic, message.key), ("i", Some("trip")));
    let document: serde_json::Value = serde_json::from_slice(&message.value).unwrap();
    assert_eq!(document["id"], "id-1");
    assert_eq!(document["type"], "com.concur.quarantined");
    assert_eq!(document["source"], "/concur/v1/company");
    assert_eq!(document["time"], "2026-11-24T00:42:39.123Z");
    assert_eq!(document["data"]["reason"], "too_large");
    assert_eq!(document["data"]["source"], "v1");
    assert_eq!(document["data"]["size"], DOCUMENT.len());
    let headers = headers(&message);
    assert!(headers.contains(&pair("ce_type", "com.concur.quarantined")));
}

#[test]
fn a_discarded_request_leaves_a_stub_with_its_facts() {
    let mut placed = placed(EventType::Quarantined);
    placed.record.content = Bytes::new();
    placed.record.ess_topic = Some("public.concur.request".to_owned());
    placed.record.quarantine = Some(QuarantineFacts {
        reason: "bad_json".to_owned(),
        detail: "no object".to_owned(),
        size: 12,
    });
    let stub = stub::of_discarded(&placed);
    let document: serde_json::Value = serde_json::from_slice(&stub.record.content).unwrap();
    assert_eq!(document["data"]["reason"], "bad_json");
    assert_eq!(document["data"]["source"], "ess");
    assert_eq!(document["data"].get("sealedRequest"), None);
}
