//! The head of a request: which of the two paths it is for, and whether its form can be served at all.
//!
//! Paths are compared byte for byte, without any normalising: what a proxy in front may have cleaned up is its own
//! business, and a second opinion on dots, slashes and escapes is how checks are walked around.

use http::header::{CONTENT_ENCODING, EXPECT, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Uri};

use super::auth::{Gate, Peer};
use super::limits::MAX_TARGET_BYTES;
use super::refused::Cause;
use crate::postback::Dialect;

/// One of the two paths, with who may post there.
pub(super) struct Route {
    pub(super) dialect: Dialect,
    pub(super) path: String,
    pub(super) gate: Gate,
}

/// The part of a request's path that comes after the configured one.
#[derive(Debug, PartialEq, Eq)]
enum Rest<'a> {
    /// Nothing: the path itself.
    None,
    /// What follows the slash.
    Segment(&'a str),
}

/// A request that is for no route, and the path it came close to.
pub(super) struct Unrouted {
    pub(super) cause: Cause,
    pub(super) dialect: Option<Dialect>,
}

/// The route of a request and what follows its path; or 414, 404, 405, in this order.
pub(super) fn route<'r, 'u>(
    routes: &'r [Route; 2],
    method: &Method,
    uri: &'u Uri,
) -> Result<(&'r Route, Option<&'u str>), Unrouted> {
    let unrouted = |cause, dialect| Unrouted { cause, dialect };
    let path = uri.path();
    let found = routes
        .iter()
        .find_map(|route| Some((route, route.rest(path)?)));
    let target_bytes = path.len() + uri.query().map_or(0, |query| query.len() + 1);
    if target_bytes > MAX_TARGET_BYTES {
        let dialect = found.map(|(route, _)| route.dialect);
        return Err(unrouted(Cause::TargetTooLong, dialect));
    }
    let (route, rest) = found.ok_or(unrouted(Cause::UnknownPath, None))?;
    if method != Method::POST {
        return Err(unrouted(Cause::MethodNotAllowed, Some(route.dialect)));
    }
    let rest = match rest {
        Rest::None => None,
        Rest::Segment(rest) => Some(rest),
    };
    Ok((route, rest))
}

impl Route {
    /// What follows this route's path; `None` when the request is not for it. Only with a path secret may anything
    /// follow.
    fn rest<'u>(&self, path: &'u str) -> Option<Rest<'u>> {
        let rest = path.strip_prefix(self.path.as_str())?;
        if rest.is_empty() {
            return Some(Rest::None);
        }
        let segment = rest.strip_prefix('/')?;
        self.gate
            .has_path_secret()
            .then_some(Rest::Segment(segment))
    }

    /// Authentication, as far as it can be told from the head.
    pub(super) fn check(
        &self,
        rest: Option<&str>,
        peer: Peer,
        headers: &HeaderMap,
    ) -> Result<(), Cause> {
        self.gate.check(rest, peer, headers)
    }
}

/// Whether the body is encoded in no way but chunks.
pub(super) fn is_identity(headers: &HeaderMap) -> bool {
    let only = |name, plain: &str| {
        headers.get_all(name).iter().all(|value| {
            value.as_bytes().split(|&byte| byte == b',').all(|coding| {
                let coding = coding.trim_ascii();
                coding.is_empty() || coding.eq_ignore_ascii_case(plain.as_bytes())
            })
        })
    };
    only(CONTENT_ENCODING, "identity") && only(TRANSFER_ENCODING, "chunked")
}

/// Whether the client holds the body back until it is asked for.
pub(super) fn waits_for_continue(headers: &HeaderMap) -> bool {
    headers.contains_key(EXPECT)
}
