use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use jiff::Timestamp;

use super::super::normalise;
use super::*;
use crate::config::ObjectUriHosts;
use crate::postback::Dialect;

const BODY: &str = "<Notification><TripId>abc</TripId></Notification>";

fn postback(query: &str, authorization: Option<&[u8]>, body: &str) -> Postback {
    let mut headers = HeaderMap::new();
    if let Some(value) = authorization {
        headers.insert(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
    }
    Postback {
        dialect: Dialect::V1,
        query: query.to_owned(),
        headers,
        body: Bytes::copy_from_slice(body.as_bytes()),
        received_at: Timestamp::UNIX_EPOCH,
    }
}

fn event(postback: &Postback) -> Result<Event, Reason> {
    let rules = Rules {
        object_uri_hosts: ObjectUriHosts::default(),
    };
    normalise(postback, &rules).map_err(|malformed| malformed.reason)
}

fn token_of(event: &Event) -> Option<&str> {
    event.token.as_ref().map(Token::expose)
}

#[test]
fn a_token_header_that_is_not_utf8_matters_only_when_it_is_the_token() {
    let header = Some(&b"OAuth t\xffken"[..]);
    for query in ["type=fop", "type=profile", "type=itinerary"] {
        let outcome = event(&postback(query, header, BODY));
        assert_eq!(outcome.err(), Some(Reason::BadUtf8), "{query}");
    }
    let event = event(&postback("type=fop&oauth_token_key=query", header, "")).unwrap();
    assert_eq!(token_of(&event), Some("query"));
    assert_eq!(event.source, Source::User);
}

#[test]
fn a_token_header_beside_a_token_in_the_query_is_not_given_away_either() {
    let body = "<Notification><TripId>from-the-query</TripId><Context>x from-the-header \
                from-the-query</Context><A>from-th%65-header</A></Notification>";
    let query = "type=itinerary&oauth_token_key=from-the-query";
    let event = event(&postback(query, Some(b"OAuth from-the-header"), body)).unwrap();
    assert_eq!(token_of(&event), Some("from-the-query"));
    assert_eq!(event.key, Key::Trip("[token]".to_owned()));
    assert_eq!(event.subject.as_deref(), Some("[token]"));
    let Data::Itinerary(data) = &event.data else {
        unreachable!("an itinerary")
    };
    assert_eq!(data.trip_id.as_deref(), Some("[token]"));
    assert_eq!(data.context.as_deref(), Some("x [token] [token]"));
    assert_eq!(data.extra["A"], "[token]");
}

#[test]
fn who_sent_it_is_told_by_header_and_user_id() {
    let user = "&userid_type=login&userid_value=cm@example.com";
    for (kind, with_user, header, expected) in [
        ("itinerary", true, false, Source::Company),
        ("itinerary", true, true, Source::User),
        ("itinerary", false, false, Source::User),
        ("itinerary", false, true, Source::User),
        ("profile", true, false, Source::Company),
        ("profile", true, true, Source::User),
        ("profile", false, false, Source::User),
        ("fop", false, false, Source::Company),
        ("fop", true, false, Source::Company),
        ("fop", false, true, Source::User),
    ] {
        let user = if with_user { user } else { "" };
        let query = format!("type={kind}&oauth_token_key=abcdefgh{user}");
        let header = header.then_some(&b"oauth abcdefgh"[..]);
        let event = event(&postback(&query, header, BODY)).unwrap();
        assert_eq!(event.source, expected, "{query} {header:?}");
    }
}

#[test]
fn the_query_is_judged_before_the_body() {
    for (query, expected) in [
        ("type=itinerary&x=%", Reason::BadPercentEncoding),
        ("type=itinerary&type=itinerary", Reason::DuplicateParameter),
        ("type=other", Reason::UnknownType),
        ("oauth_token_key=x", Reason::MissingType),
    ] {
        let outcome = event(&postback(query, None, "no XML"));
        assert_eq!(outcome.err(), Some(expected), "{query}");
    }
}

#[test]
fn a_charset_counts_only_for_a_body_that_is_not_ascii() {
    let zurich = "<Notification><TripId>Zürich</TripId></Notification>";
    for (charset, body, good) in [
        ("text/xml; charset=utf-8", zurich, true),
        ("text/xml; Charset = \"UTF-8\" ; x=y", zurich, true),
        ("text/xml", zurich, true),
        ("text/xml; charset=iso-8859-1", zurich, false),
        ("text/xml;charset=\"windows-1252\"", zurich, false),
        ("text/xml; charset=", zurich, false),
        ("text/xml; charset=iso-8859-1", BODY, true),
    ] {
        let mut postback = postback("type=itinerary", None, body);
        let value = HeaderValue::from_static(charset);
        postback.headers.insert(http::header::CONTENT_TYPE, value);
        assert_eq!(event(&postback).is_ok(), good, "{charset}");
    }
}

#[test]
fn unknown_parameters_are_counted_for_v1_only() {
    let fop = postback("type=fop&a=1&b&oauth_token_key=x", None, "");
    assert_eq!(event(&fop).unwrap().unknown_parameters, 2);
    let mut webhook = postback("a=1", None, r#"{"eventType":"updated"}"#);
    webhook.dialect = Dialect::Ess;
    assert_eq!(event(&webhook).unwrap().unknown_parameters, 0);
}
