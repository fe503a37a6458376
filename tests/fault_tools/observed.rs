//! Alters one thing each in a true message.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::observed::{Inspector, Message, Observed};
use crate::support::traffic::{Form, Key, Tag, expected, token};

const TOKEN_KEY: [u8; 32] = [7; 32];
const FINGERPRINT_KEY: [u8; 32] = [9; 32];
const POSITION: &str = "bridge-0/0199f3c2-0000-7000-8000-000000000001/12";

/// A message under construction.
struct Draft {
    event: Value,
    key: String,
    headers: HashMap<&'static str, String>,
}

fn inspector() -> Inspector {
    let set = |kid: &str, key: [u8; 32]| {
        json!({ "keys": [{ "kty": "oct", "kid": kid, "k": URL_SAFE_NO_PAD.encode(key) }] })
            .to_string()
    };
    let mut inspector =
        Inspector::with_keys(&set("k1", TOKEN_KEY), &set("f1", FINGERPRINT_KEY)).unwrap();
    let schema = json!({ "type": "object", "required": ["id", "time"], "properties": { "time": { "type": "string" } } });
    inspector.schemas.insert(
        "urn:test".into(),
        jsonschema::validator_for(&schema).unwrap(),
    );
    inspector
}

fn seal(clear: &str) -> String {
    let mut header = josekit::jwe::JweHeader::new();
    header.set_content_encryption("A256GCM");
    header.set_key_id("k1");
    let encrypter = josekit::jwe::Dir.encrypter_from_bytes(TOKEN_KEY).unwrap();
    josekit::jwe::serialize_compact(clear.as_bytes(), &header, &encrypter).unwrap()
}

fn fingerprint(token: &str) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &FINGERPRINT_KEY);
    URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, token.as_bytes()))
}

fn draft(form: Form) -> Draft {
    let tag = Tag {
        key: Key {
            form,
            run: 1,
            worker: 2,
            index: 3,
        },
        n: 4,
    };
    let expected = expected(tag);
    let mut data = expected.data;
    let token = token(tag.key);
    if form == Form::Ess {
        data["context"] = Value::Null;
    } else {
        data["token"] = json!({ "fingerprint": fingerprint(&token), "jwe": seal(&token) });
    }
    let id = expected
        .id
        .unwrap_or_else(|| "0199f3c2-0000-7000-8000-00000000000a".into());
    let mut event = json!({
        "specversion": "1.0", "id": id, "source": expected.source, "type": expected.kind,
        "time": "2026-11-24T00:42:39.123Z", "dataschema": "urn:test", "data": data,
    });
    if let Some(subject) = &expected.subject {
        event["subject"] = json!(subject);
    }
    Draft {
        key: expected.subject.unwrap_or_else(|| fingerprint(&token)),
        headers: HashMap::from([
            ("content-type", "application/cloudevents+json".into()),
            ("ce_id", id),
            ("ce_type", expected.kind.into()),
            ("concur-bridge-position", POSITION.into()),
        ]),
        event,
    }
}

fn inspect(draft: &Draft) -> Observed {
    inspector().inspect(&message(draft, draft.event.to_string().as_bytes()))
}

fn message<'a>(draft: &'a Draft, payload: &'a [u8]) -> Message<'a> {
    Message {
        topic: "t",
        partition: 1,
        offset: 2,
        key: Some(draft.key.as_bytes()),
        headers: draft
            .headers
            .iter()
            .map(|(name, value)| (*name, value.as_bytes()))
            .collect(),
        payload,
    }
}

/// Applies `alter` to an itinerary's message and demands that it is found at fault.
fn caught(alter: impl FnOnce(&mut Draft)) {
    let mut draft = draft(Form::Itinerary);
    alter(&mut draft);
    let faults = inspect(&draft).faults;
    assert_eq!(faults.len(), 1, "{faults:?}");
}

#[test]
fn a_true_message_of_every_form_is_clean() {
    for form in [Form::Itinerary, Form::Profile, Form::Fop, Form::Ess] {
        let observed = inspect(&draft(form));
        assert_eq!(observed.faults, [""; 0], "{form:?}");
        assert_eq!(observed.tag.map(|tag| tag.n), Some(4));
        assert_eq!(
            observed.position,
            Some((0x0199_f3c2_0000_7000_8000_0000_0000_0001, 12))
        );
    }
}

#[test]
fn an_altered_attribute_is_caught() {
    caught(|draft| draft.event["source"] = json!("/concur/v1/user"));
    caught(|draft| draft.event["subject"] = json!("another trip"));
    caught(|draft| draft.event["specversion"] = json!("0.3"));
}

#[test]
fn an_altered_field_is_caught() {
    caught(|draft| draft.event["data"]["tripId"] = json!("another trip"));
    caught(|draft| draft.event["data"]["user"] = Value::Null);
    caught(|draft| {
        drop(
            draft.event["data"]
                .as_object_mut()
                .unwrap()
                .remove("objectUri"),
        )
    });
}

#[test]
fn a_message_with_another_key_or_headers_is_caught() {
    caught(|draft| draft.key = "another trip".into());
    caught(|draft| drop(draft.headers.insert("ce_id", "1".into())));
    caught(|draft| drop(draft.headers.remove("content-type")));
    caught(|draft| {
        drop(
            draft
                .headers
                .insert("concur-bridge-position", "bridge-0/7".into()),
        )
    });
}

#[test]
fn another_token_is_caught() {
    caught(|draft| draft.event["data"]["token"]["jwe"] = json!(seal("another token")));
    caught(|draft| {
        draft.event["data"]["token"]["fingerprint"] = json!(fingerprint("another token"))
    });
    caught(|draft| drop(draft.event["data"].as_object_mut().unwrap().remove("token")));
}

#[test]
fn an_event_that_its_schema_refuses_is_caught() {
    caught(|draft| draft.event["time"] = json!(5));
    caught(|draft| drop(draft.event.as_object_mut().unwrap().remove("time")));
    caught(|draft| draft.event["dataschema"] = json!("urn:unknown"));
}

#[test]
fn what_is_no_json_is_caught_and_names_no_postback() {
    let observed = inspector().inspect(&Message {
        topic: "t",
        partition: 0,
        offset: 0,
        key: None,
        headers: HashMap::new(),
        payload: b"{\"id\":",
    });
    assert!(!observed.faults.is_empty());
    assert_eq!(observed.tag, None);
}

#[test]
fn a_glance_sees_what_order_and_number_need_and_judges_nothing() {
    let mut draft = draft(Form::Itinerary);
    draft.event["subject"] = json!("another trip");
    let glance = Inspector::default().glance(&message(&draft, draft.event.to_string().as_bytes()));
    let look = inspect(&draft);
    assert_eq!(look.faults.len(), 1);
    assert_eq!(
        glance,
        Observed {
            faults: Vec::new(),
            ..look
        }
    );
}
