//! What must hold for every postback, whatever is in it.

use bytes::Bytes;
use concur_bridge::config::ObjectUriHosts;
use concur_bridge::event::{Data, Event, Key, Source};
use concur_bridge::normalise::{Rules, normalise};
use concur_bridge::postback::{Dialect, Postback};
use http::HeaderMap;
use jiff::Timestamp;

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
    let mut texts = vec![serde_json::to_string(&event.data).expect("data is JSON")];
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
        texts.extend(delivery.id.clone());
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

/// Whether a token can be looked for in JSON: shorter ones stay inside of words, others are escaped or are names of fields.
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
