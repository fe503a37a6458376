//! What must hold for every postback, whatever is in it.

use bytes::Bytes;
use concur_bridge::config::ObjectUriHosts;
use concur_bridge::event::{Data, Event, Key, Source};
use concur_bridge::normalise::{Rules, normalise};
use concur_bridge::postback::{Dialect, Postback};
use http::HeaderMap;
use jiff::Timestamp;
use serde_json::Value;

/// A request without headers.
pub fn request(dialect: Dialect, query: String, body: &[u8]) -> Postback {
    Postback {
        dialect,
        query,
        headers: HeaderMap::new(),
        body: Bytes::copy_from_slice(body),
        received_at: Timestamp::UNIX_EPOCH,
    }
}

/// Normalises twice and looks at what came out. `token` is one that the request carries besides the event's own.
pub fn normalises_soundly(postback: &Postback, token: Option<&str>) {
    let rules = Rules {
        object_uri_hosts: ObjectUriHosts::default(),
    };
    let first = normalise(postback, &rules);
    let second = normalise(postback, &rules);
    match (&first, &second) {
        (Ok(first), Ok(second)) => {
            assert_eq!(first.data, second.data);
            event_is_sound(first, token);
        }
        (Err(first), Err(second)) => assert_eq!(first, second),
        _ => panic!("the same bytes are an event and are none"),
    }
}

fn event_is_sound(event: &Event, token: Option<&str>) {
    let mut texts = Vec::new();
    collect(
        serde_json::to_value(&event.data).expect("data is JSON"),
        &mut texts,
    );
    texts.extend(event.subject.clone());
    texts.extend(event.correlation_id.clone());
    texts.extend(event.traceparent.clone());
    if let Source::Ess(topic) = &event.source {
        texts.push(topic.clone());
    }
    if let Key::Trip(key) | Key::User(key) = &event.key {
        texts.push(key.clone());
    }
    if let Some(delivery) = &event.delivery {
        texts.extend(delivery.sender_id.clone().filter(|_| delivery.serves));
        texts.push(delivery.topic.clone());
    }
    let own = event.token.as_ref().map(|token| token.expose());
    for token in own
        .into_iter()
        .chain(token)
        .filter(|token| is_telling(token))
    {
        for text in &texts {
            assert!(!text.contains(token), "the token is in {text}");
        }
    }
    if let Some(uri) = trusted(&event.data) {
        let rest = uri[..8]
            .eq_ignore_ascii_case("https://")
            .then(|| &uri[8..])
            .expect("https only");
        let authority = rest.split(['/', '?', '#']).next().expect("a first part");
        let host = authority.strip_suffix(":443").unwrap_or(authority);
        assert!(
            ObjectUriHosts::default().allow(&host.to_ascii_lowercase()),
            "{uri}"
        );
        assert!(uri.bytes().all(|byte| byte.is_ascii_graphic()), "{uri}");
    }
}

/// Every text of a document, as whoever reads the JSON will have it: in its written form the `n` of a `\n` could seem to
/// be the first letter of a token.
fn collect(value: Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text),
        Value::Array(values) => values.into_iter().for_each(|value| collect(value, texts)),
        Value::Object(members) => members.into_iter().for_each(|(name, value)| {
            texts.push(name);
            collect(value, texts);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => texts.push(value.to_string()),
    }
}

/// Whether a token can be looked for: shorter ones stay inside of words, others are names of fields.
fn is_telling(token: &str) -> bool {
    token.len() >= 8
        && token.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && token.bytes().any(|byte| byte.is_ascii_digit())
}

fn trusted(data: &Data) -> Option<&str> {
    match data {
        Data::Itinerary(data) => data.object_uri.as_deref(),
        Data::Fop(data) => data.object_uri.as_deref(),
        Data::Profile(data) => data.object_uri.as_deref(),
        Data::Other(data) => data.object_uri.as_deref(),
    }
}
