//! Is a repeated ESS delivery one event, whatever its sender's id is like?

use serde_json::{Value, json};

use crate::support::bridge::{Bridge, Home};

/// Delivers what must be accepted; the id in the answer.
fn deliver(bridge: &Bridge, path: &str, body: &Value) -> String {
    let answer = bridge.post(
        path,
        "Content-Type: application/json\r\n",
        body.to_string().as_bytes(),
    );
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str::<Value>(&answer.body).unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn a_repeated_ess_delivery_is_one_event_and_the_same_id_with_other_bytes_is_another() {
    let home = Home::new(&[]);
    let bridge = home.serve();
    let delivery = |trip: &str| {
        let body = json!({
            "id": "8f1e2d3c", "correlationId": "c-1", "eventType": "ItineraryUpdated", "topic": "public.concur.travel.itinerary",
            "timeStamp": "2026-11-24T00:42:39Z", "facts": { "id": trip, "userId": "u-1" },
        });
        deliver(&bridge, "/ess", &body)
    };
    assert_eq!(delivery("T1"), "8f1e2d3c", "the sender's id is the event's");
    assert_eq!(delivery("T1"), "8f1e2d3c");
    let other = delivery("T2");
    assert_ne!(other, "8f1e2d3c");
    assert_eq!(
        delivery("T2"),
        other,
        "the second event is repeated as well"
    );
    let exported = home.json(&["journal", "export"]);
    assert_eq!(exported.len(), 2);
    assert_eq!(
        exported[0]["event"]["source"],
        "/concur/ess/v4/public.concur.travel.itinerary"
    );
    assert_eq!(exported[0]["key"], "T1");
    assert_eq!(exported[1]["event"]["data"]["senderId"], "8f1e2d3c");
    let metrics = bridge.ask("/metrics", "").body;
    assert!(
        metrics.contains("concur_bridge_ess_repeated_total 2")
            && metrics.contains("concur_bridge_ess_id_reused_total 1"),
        "{metrics}"
    );
}

#[test]
fn a_repeated_ess_delivery_is_one_event_also_when_its_id_cannot_be_the_events() {
    let home = Home::new(&[]);
    let bridge = home.serve();
    let delivery = |sender_id: &Value, trip: &str| {
        let body = json!({
            "id": sender_id, "eventType": "ItineraryUpdated", "topic": "public.concur.travel.itinerary",
            "facts": { "id": trip },
        });
        deliver(&bridge, "/ess?oauth_token_key=CANARYTOKEN42", &body)
    };
    let mut positions = 0;
    for (sender_id, written) in [
        (json!("i".repeat(129)), json!("i".repeat(129))),
        (json!("i".repeat(130)), json!("i".repeat(130))),
        (json!("a\r\nb"), json!("a\r\nb")),
        (json!("x-CANARYTOKEN42"), json!("x-[token]")),
        (json!("y\n-CANARYTOKEN42"), json!("y\n-[token]")),
    ] {
        let id = delivery(&sender_id, "T1");
        assert!(id.parse::<uuid::Uuid>().is_ok(), "{id}");
        assert_eq!(delivery(&sender_id, "T1"), id, "{sender_id}");
        let other = delivery(&sender_id, "T2");
        assert_ne!(other, id, "{sender_id}: other bytes are another event");
        assert_eq!(delivery(&sender_id, "T2"), other, "{sender_id}");
        assert_eq!(delivery(&sender_id, "T1"), id, "{sender_id}");
        let exported = home.json(&["journal", "export"]);
        positions += 2;
        assert_eq!(exported.len(), positions, "{sender_id}");
        for (record, id) in exported[positions - 2..].iter().zip([id, other]) {
            assert_eq!(record["event"]["id"], id);
            assert_eq!(record["event"]["data"]["senderId"], written);
        }
    }
    // Without an id nothing tells a repeat from a second change.
    assert_ne!(delivery(&Value::Null, "T1"), delivery(&Value::Null, "T1"));
}
