//! Reads the query component of a v1 postback, strictly.
//!
//! `form_urlencoded` turns a bad escape into U+FFFD, `+` into a blank, and a map keeps the last duplicate: each of them
//! is a way to make two readers see two different requests. Here a bad escape and a known parameter sent twice are
//! malformed, and `+` stays `+` (RFC 3986; a login has no blanks). The escapes of unknown parameters are checked as
//! well, since a name that does not decode cannot be said to be unknown.
//!
//! Names are compared in any case, after decoding. A parameter without a value, or with a blank one, is as good as not
//! sent, but sent it was: once more is still a duplicate.

use std::borrow::Cow;

use super::blank::trim;
use super::work::looked_at;
use super::{Malformed, Reason};

/// The parameters that the contract knows, decoded and trimmed; blank ones are `None`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Query<'a> {
    /// `type`
    pub(super) kind: Option<Cow<'a, str>>,
    /// `oauth_token_key`
    pub(super) token: Option<Cow<'a, str>>,
    /// `userid_type`
    pub(super) user_id_type: Option<Cow<'a, str>>,
    /// `userid_value`
    pub(super) user_id_value: Option<Cow<'a, str>>,
    /// How many parameters the contract does not know.
    pub(super) unknown: usize,
}

/// The known names, in the order of [`Query`]'s fields.
const KNOWN: [&str; 4] = ["type", "oauth_token_key", "userid_type", "userid_value"];

impl<'a> Query<'a> {
    /// Reads a raw query, without its `?`.
    ///
    /// # Errors
    /// `bad_percent_encoding`, `bad_utf8` for escapes that decode to something else, `duplicate_parameter`.
    pub(super) fn parse(raw: &'a str) -> Result<Self, Malformed> {
        let mut values: [Option<Cow<'a, str>>; KNOWN.len()] = Default::default();
        let mut unknown = 0;
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            let Some(index) = KNOWN
                .iter()
                .position(|known| name.eq_ignore_ascii_case(known))
            else {
                unknown += 1;
                continue;
            };
            if values[index].replace(trim(value)).is_some() {
                return Err(Malformed::new(
                    Reason::DuplicateParameter,
                    format!("the query names `{}` twice", KNOWN[index]),
                ));
            }
        }
        let [kind, token, user_id_type, user_id_value] =
            values.map(|value| value.filter(|value| !value.is_empty()));
        Ok(Self {
            kind,
            token,
            user_id_type,
            user_id_value,
            unknown,
        })
    }
}

/// Undoes percent-encoding, once.
fn decode(text: &str) -> Result<Cow<'_, str>, Malformed> {
    looked_at(text.len());
    let Some(first) = memchr::memchr(b'%', text.as_bytes()) else {
        return Ok(Cow::Borrowed(text));
    };
    let mut decoded = Vec::with_capacity(text.len());
    let (plain, mut rest) = text.as_bytes().split_at(first);
    decoded.extend_from_slice(plain);
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'%' {
            decoded.push(byte);
            rest = after;
            continue;
        }
        let escaped = after
            .first_chunk::<2>()
            .and_then(|digits| super::redact::hex_pair(digits[0], digits[1]))
            .ok_or_else(|| {
                Malformed::new(
                    Reason::BadPercentEncoding,
                    "the query has a `%` without two hexadecimal digits after it",
                )
            })?;
        decoded.push(escaped);
        rest = &after[2..];
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| {
        Malformed::new(
            Reason::BadUtf8,
            "the query decodes to bytes that are not UTF-8",
        )
    })
}

#[cfg(test)]
mod tests;
