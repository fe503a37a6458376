//! A whole request as text for a person, without what may be its token. For requests that cannot be understood.
//!
//! **Promises.** Nothing that the request calls a token is shown, and nowhere what has the same text.
//! - Of the query only `type` and `userid_type` have their value shown, when it is a plain word, and `userid_value` when
//!   the request names a token: then the one can be told from the other. Every other value is hidden, and so is every
//!   name that is no plain word.
//! - Of headers and body all that stands behind a name with `token` in it is hidden, see [`named`].
//! - A body that is no text, or has more than [`MOST_VALUES`] such names, is not shown at all.
//!
//! **Not found**: a token that nothing in the request calls one.

use std::borrow::Cow;

use http::header::AUTHORIZATION;

use super::{PLACEHOLDER, SHORTEST_ANYWHERE, Secrets, named, tokens};
use crate::normalise::work::looked_at;
use crate::postback::Postback;

/// What stands where something was that may be anything.
const HIDDEN: &str = "[hidden]";

/// Values of one body that are looked for elsewhere. What Concur sends has none; looking for each takes a whole pass.
const MOST_VALUES: usize = 100;

/// Longest plain word.
const LONGEST_WORD: usize = 32;

/// The request in the form that the quarantine keeps, masked.
pub fn masked_request(postback: &Postback) -> String {
    let body = body(postback);
    let mut tokens = tokens::credentials(postback);
    let names_a_token = !tokens.is_empty();
    for (_, value) in &postback.headers {
        in_text(&String::from_utf8_lossy(value.as_bytes()), &mut tokens);
    }
    in_text(&body, &mut tokens);
    let mut written: Vec<String> = Vec::with_capacity(tokens.len());
    for token in tokens {
        let others = [
            token.replace('\\', "\\\\").replace('"', "\\\""),
            token.replace('/', "\\/"),
            quick_xml::escape::escape(token.as_str()).into_owned(),
            quick_xml::escape::partial_escape(token.as_str()).into_owned(),
        ];
        written.extend(others.into_iter().filter(|other| *other != token));
        written.push(token);
    }
    let secrets = Secrets::new(written.iter().map(String::as_str));

    let mut text = format!("POST /{}", postback.dialect.label());
    if !postback.query.is_empty() {
        text.push('?');
        text += &query(&postback.query, names_a_token, &secrets);
    }
    text += " HTTP/1.1\r\n";
    for (name, value) in &postback.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        text += &secrets.cleaned(name.as_str());
        text += ": ";
        if *name == AUTHORIZATION {
            let scheme = value.trim().split_once([' ', '\t']);
            if let Some((scheme, _)) = scheme.filter(|(scheme, _)| is_word(scheme)) {
                text += scheme;
                text.push(' ');
            }
            text += PLACEHOLDER;
        } else if tokens::speaks_of_a_token(name.as_str()) {
            text += PLACEHOLDER;
        } else {
            text += &secrets.cleaned_besides(&value, named::values(&value));
        }
        text += "\r\n";
    }
    text += "\r\n";
    text += &secrets.cleaned_besides(&body, named::values(&body));
    text
}

/// The body, or that it is not shown.
fn body(postback: &Postback) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(&postback.body);
    // A NUL is in no text but UTF-16 and UTF-32, where no name would be found.
    if text.contains('\0') || named::values(&text).len() > MOST_VALUES {
        let size = postback.body.len();
        return Cow::Owned(format!(
            "[{size} bytes that are not shown without --reveal]"
        ));
    }
    text
}

/// Adds what a text calls a token, and its parts, when they are long enough to be one.
fn in_text(text: &str, tokens: &mut Vec<String>) {
    let mut found = Vec::new();
    for (from, to) in named::values(text) {
        let value = &text[from..to];
        looked_at(value.len());
        tokens::add(value, &mut found);
        if let Ok(Cow::Owned(plain)) = quick_xml::escape::unescape(value) {
            tokens::add(&plain, &mut found);
        }
        if value.contains('\\')
            && let Ok(plain) = serde_json::from_str::<String>(&format!("\"{value}\""))
        {
            tokens::add(&plain, &mut found);
        }
        let ends = |char: char| char.is_whitespace() || "<>[]{}\"',;?&".contains(char);
        value
            .split(ends)
            .filter(|part| part.len() >= SHORTEST_ANYWHERE)
            .take(MOST_VALUES)
            .for_each(|part| tokens::add(part, &mut found));
    }
    if text.contains('%') {
        let decoded = super::decoded::fully(text.as_bytes());
        let decoded = String::from_utf8_lossy(&decoded);
        for (from, to) in named::values(&decoded).into_iter().take(MOST_VALUES) {
            let value = &decoded[from..to];
            tokens::add(value, &mut found);
            tokens::add(value.split([';', '?']).next().unwrap_or(""), &mut found);
        }
    }
    found.retain(|token| token.len() >= SHORTEST_ANYWHERE);
    tokens.extend(found);
}

fn query(query: &str, names_a_token: bool, secrets: &Secrets<'_>) -> String {
    let mut shown = String::with_capacity(query.len());
    for part in query.split_inclusive(['&', ';', '?']) {
        let parameter = part.trim_end_matches(['&', ';', '?']);
        let (name, value) = match parameter.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (parameter, None),
        };
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        let cleaned = secrets.cleaned(name);
        let readable = cleaned.is_empty() || cleaned == PLACEHOLDER || is_word(&cleaned);
        shown += if readable { &cleaned } else { HIDDEN };
        if let Some(value) = value {
            shown.push('=');
            let readable = (is("type") || is("userid_type")) && is_word(value)
                || is("userid_value") && names_a_token;
            if value.is_empty() || readable {
                shown += &secrets.cleaned_besides(value, named::values(value));
            } else if tokens::speaks_of_a_token(name) {
                shown += PLACEHOLDER;
            } else {
                shown += match secrets.cleaned(value) {
                    Cow::Owned(cleaned) if cleaned == PLACEHOLDER => PLACEHOLDER,
                    _ => HIDDEN,
                };
            }
        }
        shown += &part[parameter.len()..];
    }
    shown
}

/// A word of a person's, not of a generator's: letters and what joins them.
fn is_word(text: &str) -> bool {
    (1..=LONGEST_WORD).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-' | b'.'))
}

#[cfg(test)]
mod tests;
