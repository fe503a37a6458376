//! Who may ask the admin port what.
//!
//! `Host` must be an IP literal, `localhost` or a configured name, so a web page cannot reach the port under a name of its
//! own (DNS rebinding). Writes need a JSON content type and an `Origin` of the same host, so a page of another site cannot
//! post a form to it. Beyond loopback everything but probes and metrics needs the bearer token.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, ORIGIN};
use http::{Method, StatusCode};

use crate::reload::Live;
use crate::secret::{Secrets, lines};

/// The rules of one admin listener.
#[derive(Clone)]
pub struct Guard {
    hosts: Arc<[String]>,
    loopback: bool,
    tokens: Option<Live<Secrets>>,
}

/// Reads the bearer tokens of `admin.token_file`, one a line.
///
/// # Errors
/// There is no token in it.
pub fn parse_tokens(text: &str) -> Result<Secrets, String> {
    Secrets::new(lines(text)).map_err(|_| "it holds no token".to_owned())
}

/// Paths that probes and scrapers ask without a token.
const OPEN: [&str; 3] = ["/livez", "/readyz", "/metrics"];

impl Guard {
    /// Rules for a listener on this address.
    pub fn new(listen: SocketAddr, hosts: &[String], tokens: Option<Live<Secrets>>) -> Self {
        Self {
            hosts: hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
            loopback: listen.ip().is_loopback(),
            tokens,
        }
    }

    /// Whether the request may go on; otherwise the status it is refused with.
    ///
    /// # Errors
    /// 403 for a foreign host or origin, 401 for a wrong or missing token, 415 for a write that is not JSON.
    pub fn admit(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<(), StatusCode> {
        let host = headers
            .get(HOST)
            .and_then(|host| host.to_str().ok())
            .ok_or(StatusCode::FORBIDDEN)?;
        if !self.knows(host_name(host)) {
            return Err(StatusCode::FORBIDDEN);
        }
        if !OPEN.contains(&path) {
            self.check_token(headers)?;
        }
        if method != Method::GET && method != Method::HEAD {
            let json = headers
                .get(CONTENT_TYPE)
                .and_then(|kind| kind.to_str().ok())
                .is_some_and(is_json);
            if !json {
                return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
            }
            let origin = headers
                .get(ORIGIN)
                .and_then(|origin| origin.to_str().ok())
                .unwrap_or_default();
            let same = ["http://", "https://"]
                .iter()
                .any(|scheme| origin.strip_prefix(scheme) == Some(host));
            if !same {
                return Err(StatusCode::FORBIDDEN);
            }
        }
        Ok(())
    }

    fn knows(&self, name: &str) -> bool {
        let literal = name.trim_start_matches('[').trim_end_matches(']');
        name.eq_ignore_ascii_case("localhost")
            || literal.parse::<IpAddr>().is_ok()
            || self.hosts.contains(&name.to_ascii_lowercase())
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<(), StatusCode> {
        let Some(tokens) = &self.tokens else {
            return if self.loopback {
                Ok(())
            } else {
                Err(StatusCode::FORBIDDEN)
            };
        };
        let given = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.as_bytes().split_at_checked(7))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer "))
            .map(|(_, token)| token)
            .ok_or(StatusCode::UNAUTHORIZED)?;
        if tokens.get().contain(given) {
            Ok(())
        } else {
            Err(StatusCode::UNAUTHORIZED)
        }
    }
}

fn is_json(kind: &str) -> bool {
    kind.split(';')
        .next()
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// The name of a `Host` header, without the port; an IPv6 literal keeps its brackets.
fn host_name(host: &str) -> &str {
    if let Some(end) = host.find(']') {
        return &host[..=end];
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn guard(listen: &str, token: Option<&str>) -> Guard {
        let tokens = token.map(|text| Live::fixed(parse_tokens(text).unwrap()));
        Guard::new(
            listen.parse().unwrap(),
            &["Bridge.internal".to_owned()],
            tokens,
        )
    }

    #[test]
    fn a_foreign_host_name_is_refused_on_every_path() {
        let guard = guard("127.0.0.1:1", None);
        for (host, allowed) in [
            ("127.0.0.1:8081", true),
            ("[::1]:8081", true),
            ("localhost", true),
            ("bridge.internal:8081", true),
            ("evil.example:8081", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.nip.example", false),
            ("", false),
        ] {
            let answer = guard.admit(&Method::GET, "/metrics", &headers(&[("host", host)]));
            assert_eq!(answer.is_ok(), allowed, "{host}");
        }
        assert_eq!(
            guard.admit(&Method::GET, "/livez", &HeaderMap::new()),
            Err(StatusCode::FORBIDDEN)
        );
    }

    #[test]
    fn beyond_loopback_only_probes_and_metrics_are_open_without_a_token() {
        let host = headers(&[("host", "10.0.0.1")]);
        let open = guard("0.0.0.0:1", None);
        assert_eq!(open.admit(&Method::GET, "/metrics", &host), Ok(()));
        assert_eq!(
            open.admit(&Method::GET, "/api/v1/status", &host),
            Err(StatusCode::FORBIDDEN)
        );
        let with_token = guard("0.0.0.0:1", Some("# rotated in May\none\ntwo\n"));
        for (value, answer) in [
            ("Bearer one", Ok(())),
            ("bearer two", Ok(())),
            ("Bearer three", Err(StatusCode::UNAUTHORIZED)),
            ("Bearer ", Err(StatusCode::UNAUTHORIZED)),
            ("Bearer # rotated in May", Err(StatusCode::UNAUTHORIZED)),
            ("Basic one", Err(StatusCode::UNAUTHORIZED)),
        ] {
            let asked = headers(&[("host", "10.0.0.1"), ("authorization", value)]);
            assert_eq!(
                with_token.admit(&Method::GET, "/", &asked),
                answer,
                "{value}"
            );
        }
        assert_eq!(
            with_token.admit(&Method::GET, "/", &host),
            Err(StatusCode::UNAUTHORIZED)
        );
    }

    #[test]
    fn a_write_needs_json_and_an_origin_of_the_same_host() {
        let guard = guard("127.0.0.1:1", None);
        for (kind, origin, answer) in [
            ("application/json", "http://127.0.0.1:8081", Ok(())),
            (
                "application/json; charset=utf-8",
                "http://127.0.0.1:8081",
                Ok(()),
            ),
            (
                "text/plain",
                "http://127.0.0.1:8081",
                Err(StatusCode::UNSUPPORTED_MEDIA_TYPE),
            ),
            (
                "application/json",
                "http://evil.example",
                Err(StatusCode::FORBIDDEN),
            ),
            (
                "application/json",
                "http://127.0.0.1:9",
                Err(StatusCode::FORBIDDEN),
            ),
            ("application/json", "null", Err(StatusCode::FORBIDDEN)),
        ] {
            let asked = headers(&[
                ("host", "127.0.0.1:8081"),
                ("content-type", kind),
                ("origin", origin),
            ]);
            assert_eq!(
                guard.admit(&Method::POST, "/api/v1/x", &asked),
                answer,
                "{kind} {origin}"
            );
        }
    }
}
