//! Reads `.http` fixtures: whole HTTP/1.1 requests, byte for byte as they would be on the wire.

use bytes::Bytes;
use concur_bridge::postback::{Dialect, Postback};
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;

/// When every fixture is received.
pub(crate) const RECEIVED_AT: &str = "2026-11-24T00:42:39.123Z";

/// The postback in a fixture. A path that begins with `/ess` is an ESS delivery.
///
/// # Panics
/// When the file is no request, or its Content-Length is not the length of the body: the fixture is wrong.
pub(crate) fn postback(file: &[u8]) -> Postback {
    let end = file
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("a blank line, CRLF, ends the head");
    let head = std::str::from_utf8(&file[..end]).expect("the head is text");
    let body = Bytes::copy_from_slice(&file[end + 4..]);
    let mut lines = head.split("\r\n");
    let target = lines
        .next()
        .and_then(|line| line.strip_prefix("POST ")?.strip_suffix(" HTTP/1.1"))
        .expect("a request line `POST … HTTP/1.1`");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").expect("`name: value`");
        headers.append(
            name.parse::<HeaderName>().expect("a header name"),
            HeaderValue::from_bytes(value.as_bytes()).expect("a header value"),
        );
    }
    let length = headers
        .get("content-length")
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok())
        .expect("a Content-Length");
    assert_eq!(
        length,
        body.len(),
        "Content-Length is not the body's length"
    );
    Postback {
        dialect: if path.starts_with("/ess") {
            Dialect::Ess
        } else {
            Dialect::V1
        },
        query: query.to_owned(),
        headers,
        body,
        received_at: RECEIVED_AT.parse::<Timestamp>().expect("a timestamp"),
    }
}
