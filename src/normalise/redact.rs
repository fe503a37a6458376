//! Takes the request's own token out of every field of its event.
//!
//! A token is sent where it belongs, `oauth_token_key` or an `Authorization: OAuth` header. A sender, or a proxy in
//! between, may repeat it elsewhere: in the ObjectURI, in an element, even as the name of one. There it would reach
//! Kafka in clear, so every occurrence becomes `[token]`.
//!
//! **Promises.** [`Secrets::clean_event`] visits every string of the event, names of `extra` and `facts` included,
//! but not what sealing hides anyway (`token`, `raw_body`). An occurrence is found raw and percent-encoded, in any
//! mixture, any case of the digits and any number of times over: both sides are compared in the form in which no escape
//! is left. Every token counts that query and headers name, however badly they are written. Time is linear in the event
//! for each token.
//!
//! **Consequences, chosen.**
//! - A trip id that is the token becomes `[token]`, also as key and subject: ordering per trip gets coarser, never wrong.
//! - A `traceparent` that holds the token is dropped, since it would no longer be one; an ESS id that holds it no
//!   longer serves as the event's id.
//! - Names that become equal: the last one stays, as for names that a sender repeats in JSON.
//! - A token of fewer than [`SHORTEST_ANYWHERE`] bytes is replaced only where it stands as a word of its own, between
//!   characters that are no letters and no digits. `a` as a token would otherwise take every `a` out of every field and
//!   protect nothing: what can be guessed in a second is no secret. Concur's tokens have 16 characters and more.
//!
//! **Not found**: a token some characters of which are percent-encoded while an end of it joins what stands beside it
//! into another escape: its first characters are hexadecimal digits behind a stray `%`, or it ends in `%` or `%` and a
//! digit, left as they are, before hexadecimal digits. No encoder that encodes a token leaves its `%` as it is.

mod decoded;
mod event;
mod named;
mod request;
mod tokens;

use std::borrow::Cow;

use memchr::memmem::Finder;

pub(super) use decoded::hex_pair;
pub use request::masked_request;
pub(super) use tokens::of_event as tokens_of;

use crate::event::Event;
use crate::normalise::Rules;
use crate::normalise::work::looked_at;
use crate::postback::Postback;

/// What stands where a token was.
pub(super) const PLACEHOLDER: &str = "[token]";

/// A text of the request without the tokens of its query and headers, however badly the request is written.
pub fn masked(postback: &Postback, text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let tokens = tokens::credentials(postback);
    Secrets::new(tokens.iter().map(String::as_str))
        .cleaned(&text)
        .into_owned()
}

/// Bytes from which on a token is replaced wherever it is found.
const SHORTEST_ANYWHERE: usize = 8;

/// The tokens of one request.
pub(super) struct Secrets<'a>(Vec<Needle<'a>>);

struct Needle<'a> {
    /// Finds the token as it is.
    raw: Finder<'a>,
    /// Finds the token without any escape in texts without any escape; `None` when it has none itself.
    plain: Option<Finder<'static>>,
}

impl<'a> Secrets<'a> {
    /// The tokens to look for; blank ones and repeated ones are left out.
    pub(super) fn new(tokens: impl IntoIterator<Item = &'a str>) -> Self {
        // A token, rarely one in the header as well.
        let mut needles: Vec<Needle<'a>> = Vec::with_capacity(2);
        for token in tokens {
            let known = |needle: &Needle<'_>| needle.raw.needle() == token.as_bytes();
            looked_at(needles.len());
            if token.is_empty() || needles.iter().any(known) {
                continue;
            }
            let plain = token
                .contains('%')
                .then(|| Finder::new(&decoded::fully(token.as_bytes())).into_owned());
            needles.push(Needle {
                raw: Finder::new(token.as_bytes()),
                plain,
            });
        }
        Self(needles)
    }

    /// Takes the tokens out of an event.
    pub(super) fn clean_event(&self, event: &mut Event, rules: &Rules) {
        if !self.0.is_empty() {
            event::clean(self, event, rules);
        }
    }

    /// Takes the tokens out of a text; whether there was one.
    fn clean(&self, text: &mut String) -> bool {
        let cleaned = match self.cleaned(text) {
            Cow::Borrowed(_) => return false,
            Cow::Owned(cleaned) => cleaned,
        };
        *text = cleaned;
        true
    }

    /// The text without the tokens; borrowed when there is none in it.
    fn cleaned<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.cleaned_besides(text, Vec::new())
    }

    /// The text without the tokens and without what is in the ranges `found`, which lie on character boundaries.
    fn cleaned_besides<'t>(&self, text: &'t str, mut found: Vec<(usize, usize)>) -> Cow<'t, str> {
        for needle in &self.0 {
            needle.find(text, &mut found);
        }
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        found.sort_unstable();
        let mut cleaned = String::with_capacity(text.len());
        let mut end = 0;
        for (from, to) in found {
            if from >= end {
                cleaned.push_str(&text[end..from]);
                cleaned.push_str(PLACEHOLDER);
            }
            end = end.max(to);
        }
        cleaned.push_str(&text[end..]);
        Cow::Owned(cleaned)
    }
}

impl Needle<'_> {
    /// Adds the ranges of `text` that are this token in some writing; they lie on character boundaries.
    fn find(&self, text: &str, found: &mut Vec<(usize, usize)>) {
        let plain = self.plain.as_ref().unwrap_or(&self.raw);
        if text.len() < plain.needle().len() {
            return;
        }
        looked_at(text.len());
        // The token as sent counts, also where its escapes are undone and it got shorter.
        let anywhere = self.raw.needle().len() >= SHORTEST_ANYWHERE;
        let mut add = |from: usize, to: usize| {
            let range = (text.floor_char_boundary(from), text.ceil_char_boundary(to));
            if anywhere || is_word(text, range) {
                found.push(range);
            }
        };
        for at in self.raw.find_iter(text.as_bytes()) {
            add(at, at + self.raw.needle().len());
        }
        if !text.contains('%') {
            if self.plain.is_some() {
                for at in plain.find_iter(text.as_bytes()) {
                    add(at, at + plain.needle().len());
                }
            }
            return;
        }
        let decoded = decoded::fully(text.as_bytes());
        looked_at(decoded.len());
        if plain.find(&decoded).is_none() {
            return;
        }
        let (decoded, places) = decoded::with_places(text.as_bytes());
        for at in plain.find_iter(&decoded) {
            add(places[at], places[at + plain.needle().len()]);
        }
    }
}

/// Whether no letter and no digit touches this range.
fn is_word(text: &str, (from, to): (usize, usize)) -> bool {
    let before = text[..from].chars().next_back();
    let after = text[to..].chars().next();
    !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
}

#[cfg(test)]
mod tests;
