use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;

use super::*;
use crate::postback::Dialect;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn postback(query: &str, traceparent: &str) -> Postback {
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", HeaderValue::from_str(traceparent).unwrap());
    Postback {
        dialect: Dialect::V1,
        query: query.to_owned(),
        headers,
        body: Bytes::new(),
        received_at: Timestamp::UNIX_EPOCH,
    }
}

#[test]
fn the_parent_is_the_span_of_the_requests_traceparent() {
    let header = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let parent = parent_of(&postback("type=fop&oauth_token_key=abc", &header)).unwrap();
    assert_eq!(parent.trace_id().to_string(), TRACE);
    assert_eq!(parent.span_id().to_string(), "00f067aa0ba902b7");
    assert!(parent.is_sampled() && parent.is_remote());
    assert_eq!(parent_of(&postback("type=fop", "00-nonsense")), None);
}

#[test]
fn a_traceparent_that_holds_the_token_is_no_parent() {
    let header = format!("00-{TRACE}-00f067aa0ba902b7-01");
    for query in [
        format!("type=fop&oauth_token_key={TRACE}"),
        format!("type=fop&OAUTH_TOKEN_KEY=%34{}", &TRACE[1..]),
    ] {
        assert_eq!(parent_of(&postback(&query, &header)), None, "{query}");
    }
    let mut by_header = postback("type=fop", &header);
    let credentials = HeaderValue::from_str(&format!("OAuth {TRACE}")).unwrap();
    by_header.headers.insert("authorization", credentials);
    assert_eq!(parent_of(&by_header), None);
}
