//! A postback as received: the first of the four shapes of one notification
//! (*Postback* → Event → Record → Message).
//!
//! A [`Postback`] is everything of an authenticated request that the rest of the bridge may look at: the raw query,
//! the headers and the body, byte for byte. Nothing is decoded here, so a request that turns out to be malformed can
//! be kept whole in the quarantine and sent through the same way again after a fix ([`Postback::to_wire`],
//! [`Postback::from_wire`]).
//!
//! A postback may hold the OAuth token anywhere, so it has no `Debug` of its content and is never logged.

use std::fmt;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;

/// Which of the two formats a request is written in; decided by the path it was sent to, never by its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// v1 postbacks, company and user level: query parameters and an XML body.
    V1,
    /// Event Subscription Service v4 webhooks: a JSON body.
    Ess,
}

impl Dialect {
    /// The value of the metric label `source`.
    pub fn label(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::Ess => "ess",
        }
    }
}

/// One authenticated request, as received.
#[derive(Clone)]
pub struct Postback {
    /// The format it is written in.
    pub dialect: Dialect,
    /// The query component of the request target, still percent-encoded, without the `?`; empty when there was none.
    pub query: String,
    /// All request headers, in the order of arrival.
    pub headers: HeaderMap,
    /// The body, identity-encoded, at most `ingress.max_body` bytes.
    pub body: Bytes,
    /// When the head of the request had been read, to the millisecond.
    pub received_at: Timestamp,
}

impl fmt::Debug for Postback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postback")
            .field("dialect", &self.dialect)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Why stored bytes are no postback: the quarantine holds something that this version did not write.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a request in the form the quarantine keeps: {0}")]
pub struct WireError(&'static str);

impl Postback {
    /// The credentials of an `Authorization` header of scheme `OAuth` (any case), as user-level postbacks carry one.
    ///
    /// `Some("")` is a header that names the scheme and nothing else.
    pub fn oauth_credentials(&self) -> Option<&[u8]> {
        oauth_credentials(&self.headers)
    }

    /// The whole request as HTTP/1.1 wire bytes, for the quarantine. The path is the dialect's name, since the path
    /// received may end in the path secret.
    pub fn to_wire(&self) -> Vec<u8> {
        let mut wire = Vec::with_capacity(512 + self.query.len() + self.body.len());
        wire.extend_from_slice(b"POST /");
        wire.extend_from_slice(self.dialect.label().as_bytes());
        if !self.query.is_empty() {
            wire.push(b'?');
            wire.extend_from_slice(self.query.as_bytes());
        }
        wire.extend_from_slice(b" HTTP/1.1\r\n");
        for (name, value) in &self.headers {
            wire.extend_from_slice(name.as_str().as_bytes());
            wire.extend_from_slice(b": ");
            wire.extend_from_slice(value.as_bytes());
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"\r\n");
        wire.extend_from_slice(&self.body);
        wire
    }

    /// Reads back what [`Postback::to_wire`] wrote. `received_at` is the original receipt time.
    pub fn from_wire(wire: &[u8], received_at: Timestamp) -> Result<Self, WireError> {
        let end = wire
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .ok_or(WireError("the head has no end"))?;
        let (head, body) = (&wire[..end], &wire[end + 4..]);
        let mut lines = head
            .split(|&byte| byte == b'\n')
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let target = lines
            .next()
            .and_then(|line| std::str::from_utf8(line).ok())
            .and_then(|line| line.strip_prefix("POST /")?.strip_suffix(" HTTP/1.1"))
            .ok_or(WireError("no request line"))?;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let dialect = match path {
            "v1" => Dialect::V1,
            "ess" => Dialect::Ess,
            _ => return Err(WireError("an unknown dialect")),
        };
        let mut headers = HeaderMap::new();
        for line in lines {
            let colon = line
                .iter()
                .position(|&byte| byte == b':')
                .ok_or(WireError("a header without a colon"))?;
            let name = HeaderName::from_bytes(&line[..colon])
                .map_err(|_| WireError("a bad header name"))?;
            let value = line[colon + 1..]
                .strip_prefix(b" ")
                .unwrap_or(&line[colon + 1..]);
            let value =
                HeaderValue::from_bytes(value).map_err(|_| WireError("a bad header value"))?;
            headers.append(name, value);
        }
        Ok(Self {
            dialect,
            query: query.to_owned(),
            headers,
            body: Bytes::copy_from_slice(body),
            received_at,
        })
    }
}

/// The credentials of the first `Authorization` header of scheme `OAuth`, whatever case the scheme is written in.
pub fn oauth_credentials(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get_all(AUTHORIZATION).iter().find_map(|value| {
        let value = value.as_bytes();
        let (scheme, rest) = value.split_at_checked(5)?;
        if !scheme.eq_ignore_ascii_case(b"OAuth") {
            return None;
        }
        match rest.first() {
            None => Some(rest),
            Some(b' ' | b'\t') => Some(rest.trim_ascii()),
            Some(_) => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_form_gives_back_the_same_postback() {
        let mut headers = HeaderMap::new();
        headers.append("authorization", HeaderValue::from_static("oauth abc"));
        headers.append("x-two", HeaderValue::from_static("1"));
        headers.append("x-two", HeaderValue::from_static(""));
        let sent = Postback {
            dialect: Dialect::V1,
            query: "type=fop&oauth_token_key=%zz".into(),
            headers,
            body: Bytes::from_static(b"\r\n\r\nPOST /x\xff"),
            received_at: Timestamp::UNIX_EPOCH,
        };
        let read = Postback::from_wire(&sent.to_wire(), sent.received_at).unwrap();
        assert_eq!(read.query, sent.query);
        assert_eq!(read.headers, sent.headers);
        assert_eq!(read.body, sent.body);
        assert_eq!(read.oauth_credentials(), Some(&b"abc"[..]));
    }

    #[test]
    fn only_the_oauth_scheme_counts_as_a_concur_token() {
        for (value, expected) in [
            ("OAuth t", Some("t")),
            ("oauth   t ", Some("t")),
            ("OAuth", Some("")),
            ("OAuth2 t", None),
            ("Bearer t", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            assert_eq!(
                oauth_credentials(&headers),
                expected.map(str::as_bytes),
                "{value}"
            );
        }
    }
}
