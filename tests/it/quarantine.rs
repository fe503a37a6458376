//! Does a quarantined request come out as what it would have been, once it can be read?

use std::sync::Arc;

use bytes::Bytes;
use concur_bridge::clock::SystemClock;
use concur_bridge::config::{Config, UserIds};
use concur_bridge::journal::{Inspector, Journal, Options};
use concur_bridge::normalise::{Malformed, Reason, Rules};
use concur_bridge::postback::{Dialect, Postback};
use concur_bridge::quarantine::{self, Quarantine};
use concur_bridge::record::Position;
use concur_bridge::seal::Sealer;
use concur_bridge::secret::Vault;
use serde_json::Value;

const RECEIVED_AT: &str = "2026-11-24T00:42:39.123Z";

/// Quarantines the request as a version that could not read it would have, and has it sent through again. The id that
/// was told to the person who asked, and the event.
async fn requeued(dialect: Dialect, query: &str, body: &str) -> (String, Value) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().display();
    let text = format!(
        "journal.dir = '{root}/journal'\ntokens.key_file = '{root}/token.key'\ntokens.fingerprint_key_file = '{root}/fingerprint.key'\n"
    );
    let config = Config::parse(&text, std::iter::empty()).unwrap();
    let sealer = Sealer::new(Vault::open(&config.tokens, true).unwrap(), UserIds::Plain);
    let rules = Rules {
        object_uri_hosts: config.events.object_uri_hosts.clone(),
    };
    let journal = Journal::open(Options {
        config: config.journal.clone(),
        instance: None,
        transactional_prefix: "concur-bridge".to_owned(),
        fatal: Box::new(|fatal| panic!("the journal ended: {fatal}")),
        clock: Arc::new(SystemClock),
    })
    .unwrap();
    let postback = Postback {
        dialect,
        query: query.to_owned(),
        headers: http::HeaderMap::new(),
        body: Bytes::copy_from_slice(body.as_bytes()),
        received_at: RECEIVED_AT.parse().unwrap(),
    };
    let malformed = Malformed::new(Reason::UnknownType, "not known to an older version");
    let record = sealer.quarantine(&postback, &malformed, "q-1").unwrap();
    journal.append(record, None).await.unwrap();

    let inspector = Inspector::open(&config.journal.dir).unwrap();
    let entry = quarantine::find(&inspector, "q-1").unwrap();
    let quarantine = Quarantine::new(journal.clone(), rules, sealer);
    let id = quarantine.requeue(&entry).await.unwrap();
    assert!(
        quarantine::find(&inspector, "q-1").is_err(),
        "it is still there"
    );
    let events = inspector.read(Position(1), 10, 1 << 20).unwrap();
    drop(inspector);
    journal.close().await;
    let [event] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(event.record.id, id);
    (id, serde_json::from_slice(&event.record.content).unwrap())
}

#[tokio::test]
async fn a_postback_becomes_the_event_of_its_receipt_under_a_new_id() {
    let body = "<Notification><TripId>T1</TripId><EventType>CREATE</EventType></Notification>";
    let (id, event) = requeued(
        Dialect::V1,
        "type=itinerary&oauth_token_key=CANARYTOKEN42",
        body,
    )
    .await;
    assert_eq!(event["id"], id);
    assert_eq!(event["type"], "com.concur.itinerary.created");
    assert_eq!(event["time"], RECEIVED_AT);
    assert_eq!(event["data"]["tripId"], "T1");
    assert!(!event.to_string().contains("CANARYTOKEN42"), "{event}");
}

#[tokio::test]
async fn an_ess_delivery_keeps_its_senders_id_beside_its_new_one() {
    let body = r#"{"id":"sender-1","topic":"public.concur.travel.itinerary","eventType":"public.concur.travel.itinerary.created","timeStamp":"2026-11-24T00:42:39Z","facts":{"id":"T1"}}"#;
    let (id, event) = requeued(Dialect::Ess, "", body).await;
    assert_eq!(event["id"], id);
    assert_ne!(id, "sender-1");
    assert_eq!(event["data"]["senderId"], "sender-1");
    assert_eq!(event["data"]["tripId"], "T1");
}

#[tokio::test]
async fn an_id_of_a_sender_that_cannot_serve_is_kept_as_sent() {
    for (sender_id, written) in [
        ("i".repeat(129), "i".repeat(129)),
        ("x-CANARYTOKEN42".to_owned(), "x-[token]".to_owned()),
    ] {
        let body = serde_json::json!({ "id": sender_id, "facts": {} }).to_string();
        let (id, event) = requeued(Dialect::Ess, "oauth_token_key=CANARYTOKEN42", &body).await;
        assert_eq!(event["id"], id);
        assert_eq!(event["data"]["senderId"], written);
        assert!(!event.to_string().contains("CANARYTOKEN42"), "{event}");
    }
}
