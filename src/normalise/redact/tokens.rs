//! Collects what may be a request's token, leniently: also from a request that cannot be read.
//!
//! A parameter counts when its name contains `token` in any case, wherever a careless sender could have begun it: a
//! registered URL that had a `?` gets a second one, some write `;` for `&`, some encode the whole query. Each value counts
//! up to the next `&` and up to the next of `&`, `;` and `?`, since a token may hold the latter two. Every `Authorization`
//! header counts, whatever its scheme.

use std::borrow::Cow;

use http::header::AUTHORIZATION;

use super::decoded;
use crate::normalise::work::looked_at;
use crate::normalise::{Malformed, Reason, blank};
use crate::postback::Postback;

/// Whether a name, percent-encoded or not, speaks of a token.
pub(super) fn speaks_of_a_token(name: &str) -> bool {
    looked_at(name.len());
    let contains = |name: &[u8]| {
        name.windows(5)
            .any(|word| word.eq_ignore_ascii_case(b"token"))
    };
    if name.contains('%') {
        contains(&decoded::fully(name.as_bytes()))
    } else {
        contains(name.as_bytes())
    }
}

/// Writings of tokens that are looked for in one event: each takes a pass over all of it. One token has nine at most.
const MOST_WRITINGS: usize = 32;

/// The [`credentials`] of a request that becomes an event, each once.
///
/// # Errors
/// `too_complex` when there are more than can be looked for in good time. Kept whole and sealed, none of them gets away.
pub(in crate::normalise) fn of_event(postback: &Postback) -> Result<Vec<String>, Malformed> {
    let mut tokens = credentials(postback);
    tokens.sort_unstable();
    tokens.dedup();
    if tokens.len() > MOST_WRITINGS {
        return Err(Malformed::new(
            Reason::TooComplex,
            "query and headers name too many tokens",
        ));
    }
    Ok(tokens)
}

/// The values of query and headers that may be the token, in every writing that [`Secrets`](super::Secrets) does not
/// find by itself. Some may be blank or repeated.
pub(super) fn credentials(postback: &Postback) -> Vec<String> {
    let mut tokens = Vec::new();
    in_query(&postback.query, &mut tokens);
    for value in postback.headers.get_all(AUTHORIZATION) {
        let value = String::from_utf8_lossy(value.as_bytes());
        let value = value.trim();
        let (_, credentials) = value.split_once([' ', '\t']).unwrap_or(("", value));
        add(credentials, &mut tokens);
        if credentials.contains('=') {
            // `OAuth oauth_token="…"`.
            for parameter in credentials.split(',') {
                let (name, value) = parameter.split_once('=').unwrap_or_default();
                if speaks_of_a_token(name) {
                    add(value.trim().trim_matches('"'), &mut tokens);
                }
            }
        }
    }
    tokens
}

/// The values in a query, or in what looks like one, whose name speaks of a token.
pub(super) fn in_query(query: &str, tokens: &mut Vec<String>) {
    in_parameters(query, tokens);
    if query.contains('%') {
        in_parameters(&text(decoded::fully(query.as_bytes())), tokens);
    }
}

fn in_parameters(query: &str, tokens: &mut Vec<String>) {
    for parameter in query.split('&') {
        in_parameter(parameter, tokens);
        if parameter.contains([';', '?']) {
            for part in parameter.split([';', '?']) {
                in_parameter(part, tokens);
            }
        }
    }
}

/// The value behind the first name that speaks of a token, and behind the last: more would take quadratic time.
fn in_parameter(parameter: &str, tokens: &mut Vec<String>) {
    let mut named = parameter.match_indices('=').filter_map(|(at, _)| {
        let start = parameter[..at]
            .rfind(['=', ';', '?'])
            .map_or(0, |at| at + 1);
        looked_at(at - start);
        speaks_of_a_token(&parameter[start..at]).then(|| &parameter[at + 1..])
    });
    if let Some(value) = named.next() {
        add(value, tokens);
    }
    if let Some(value) = named.next_back() {
        add(value, tokens);
    }
}

/// Adds a token as it is, decoded once and entirely, without blanks around it, and with `+` for every blank and the
/// other way round.
pub(super) fn add(token: &str, tokens: &mut Vec<String>) {
    looked_at(token.len());
    let mut writings = vec![Cow::Borrowed(token)];
    if token.contains('%') {
        let once: Vec<u8> = percent_encoding::percent_decode_str(token).collect();
        writings.push(Cow::Owned(text(once)));
        writings.push(Cow::Owned(text(decoded::fully(token.as_bytes()))));
    }
    for writing in writings {
        let writing = writing.trim_matches(blank::is_blank);
        if writing.is_empty() {
            continue;
        }
        tokens.push(writing.to_owned());
        if writing.contains(['+', ' ']) {
            tokens.push(writing.replace('+', " ").trim().to_owned());
            tokens.push(writing.replace(' ', "+"));
        }
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}
