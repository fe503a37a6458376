//! Decides whether a URI that a postback names may be handed to consumers as one to fetch with a credential.
//!
//! Consumers send a token to `objectUri`. So it must lead to a Concur host whichever URL parser a consumer uses, and
//! parsers differ: on backslashes, tabs and line feeds, userinfo, full-width dots, `?` before `@`, numbers as hosts.
//! Whoever can post could otherwise point every consumer, token in hand, at a host of his own or at somebody's internal
//! network.
//!
//! **Promises.** [`place`] calls a text trusted only when (1) it is plain: `https://`, a host of ASCII letters, digits,
//! hyphens and dots, at most `:443`, then nothing or a path and what may follow one, as RFC 3986 allows it, where
//! `[token]` may stand for a token; and (2) WHATWG parsing gives that same host and changes nothing but the case of scheme
//! and host, the default port and an empty path; and (3) the host is allowed by `events.object_uri_hosts`. Dot segments
//! are changed by parsing, a trailing dot or an IP address is no allowed host. The text goes on as sent.
//!
//! **When it fails.** Anything else is kept, as `objectUriUntrusted`: a bare id, a link elsewhere. Never malformed.

use super::redact::PLACEHOLDER;
use super::work::looked_at;
use crate::config::ObjectUriHosts;

/// The two fields of `data` that a URI may go to; at most one is set.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) object_uri: Option<String>,
    pub(super) object_uri_untrusted: Option<String>,
}

/// Puts a URI where it belongs.
pub(super) fn place(text: Option<String>, hosts: &ObjectUriHosts) -> Placed {
    match text {
        None => Placed::default(),
        Some(text) if is_trusted(&text, hosts) => Placed {
            object_uri: Some(text),
            object_uri_untrusted: None,
        },
        Some(text) => Placed {
            object_uri: None,
            object_uri_untrusted: Some(text),
        },
    }
}

/// Whether a consumer may fetch this with a credential.
fn is_trusted(text: &str, hosts: &ObjectUriHosts) -> bool {
    let Some((host, path)) = plain_parts(text) else {
        return false;
    };
    let Ok(parsed) = url::Url::parse(text) else {
        return false;
    };
    let (Some(url::Host::Domain(domain)), "https", None) =
        (parsed.host(), parsed.scheme(), parsed.port())
    else {
        return false;
    };
    let bare = parsed.username().is_empty() && parsed.password().is_none();
    let same_rest = parsed.as_str().len() >= path.len()
        && parsed[url::Position::BeforePath..] == *if path.is_empty() { "/" } else { path };
    bare && same_rest && domain.eq_ignore_ascii_case(host) && hosts.allow(domain)
}

/// Host and rest of a text that no parser can read in two ways; `None` when it is not that plain.
fn plain_parts(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_at_checked("https://".len())?;
    if !scheme.eq_ignore_ascii_case("https://") {
        return None;
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host = authority.strip_suffix(":443").unwrap_or(authority);
    // WHATWG parsing lets an empty label pass, resolvers do not agree on it.
    let is_name = host.split('.').all(|label| {
        let mut bytes = label.bytes();
        !label.is_empty() && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    });
    let path_is_plain = (path.is_empty() || path.starts_with('/'))
        && path
            .split(PLACEHOLDER)
            .all(|part| is_plain(part.as_bytes()));
    (is_name && path_is_plain).then_some((host, path))
}

/// What RFC 3986 lets stand in path, query and fragment: printable ASCII without ``"<>[\]^`{|}``, each `%` before two hex
/// digits.
fn is_plain(part: &[u8]) -> bool {
    // Without a way out, so that the compiler looks at many bytes at a time.
    let holds_no_other = part.iter().fold(true, |so_far, &byte| {
        so_far & matches!(byte, b'!' | b'#'..=b';' | b'=' | b'?'..=b'Z' | b'_' | b'a'..=b'z' | b'~')
    });
    holds_no_other && escapes_are_whole(part)
}

fn escapes_are_whole(mut part: &[u8]) -> bool {
    looked_at(part.len());
    loop {
        part = match part {
            [] => return true,
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                rest
            }
            [b'%', ..] => return false,
            _ => &part[memchr::memchr(b'%', part).unwrap_or(part.len())..],
        };
    }
}

#[cfg(test)]
mod tests;
