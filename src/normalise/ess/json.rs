//! Reads a body as one JSON object, losing nothing that JSON allows.
//!
//! RFC 8259 allows more than serde_json's values can hold, and the sender would be told that its event is final for
//! it. So one pass over the text, before the parser sees it, measures the nesting and mends two things:
//! - half of a surrogate pair (`\ud83d` alone) becomes U+FFFD, as it does in every reader that does not fail;
//! - a number that would not come back with the same value (`12345678901234567890123`, `1e400`) becomes a text of its
//!   digits. Rounding an id or an amount in silence would be worse than its being a text.
//!
//! A name that comes again replaces the earlier value, as in most readers of JSON.

use serde_json::{Map, Value};

use super::super::work::looked_at;
use super::super::{Malformed, Reason};

/// Levels of arrays and objects, the envelope included.
const MAX_DEPTH: usize = 64;

/// Decimal digits that a 64-bit float always gives back.
const SAFE_DIGITS: usize = 15;

/// The object in a body.
///
/// # Errors
/// `bad_utf8`, `bad_json`, `too_complex`.
pub(super) fn object(body: &[u8]) -> Result<Map<String, Value>, Malformed> {
    let text = std::str::from_utf8(body)
        .map_err(|_| Malformed::new(Reason::BadUtf8, "the body is not UTF-8"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mended = Mender::new(text).mend()?;
    serde_json::from_str(mended.as_deref().unwrap_or(text))
        .map_err(|_| Malformed::new(Reason::BadJson, "the body is not one JSON object"))
}

struct Mender<'a> {
    text: &'a str,
    /// The text up to `copied`, mended.
    mended: Option<String>,
    copied: usize,
}

impl<'a> Mender<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            mended: None,
            copied: 0,
        }
    }

    /// The mended text; `None` when there was nothing to mend. What is no JSON stays none.
    fn mend(mut self) -> Result<Option<String>, Malformed> {
        let bytes = self.text.as_bytes();
        let mut depth = 0_usize;
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match byte {
                b'"' => at = self.string(at + 1),
                b'[' | b'{' => {
                    depth += 1;
                    if depth > MAX_DEPTH {
                        return Err(Malformed::new(
                            Reason::TooComplex,
                            format!("JSON deeper than {MAX_DEPTH} levels"),
                        ));
                    }
                    at += 1;
                }
                b']' | b'}' => {
                    depth = depth.saturating_sub(1);
                    at += 1;
                }
                b'-' | b'0'..=b'9' => at = self.number(at),
                _ => at += 1,
            }
        }
        if let Some(mended) = &mut self.mended {
            mended.push_str(&self.text[self.copied..]);
        }
        Ok(self.mended)
    }

    /// Walks through a string whose content begins at `at`; returns the place behind it.
    fn string(&mut self, mut at: usize) -> usize {
        let bytes = self.text.as_bytes();
        while let Some(offset) = memchr::memchr2(b'"', b'\\', &bytes[at..]) {
            at += offset;
            looked_at(offset + 1);
            if bytes[at] == b'"' {
                return at + 1;
            }
            at += match code_unit(&bytes[at..]) {
                Some(0xd800..=0xdbff)
                    if matches!(code_unit(&bytes[at + 6..]), Some(0xdc00..=0xdfff)) =>
                {
                    12
                }
                Some(0xd800..=0xdfff) => {
                    self.replace(at, at + 6, "\\ufffd");
                    6
                }
                Some(_) => 6,
                None => 2,
            };
            at = at.min(bytes.len());
        }
        bytes.len()
    }

    /// Walks through a number that begins at `at`; returns the place behind it.
    fn number(&mut self, at: usize) -> usize {
        let rest = &self.text[at..];
        let end = rest
            .find(|char: char| !matches!(char, '0'..='9' | '+' | '-' | '.' | 'e' | 'E'))
            .unwrap_or(rest.len());
        let number = &rest[..end];
        // As the name of a member it is no JSON, and must not become any.
        let behind = rest[end..].trim_start();
        looked_at(rest.len() - behind.len());
        let is_name = behind.starts_with(':');
        if is_number(number) && !is_name && !comes_back(number) {
            self.replace(at, at + end, &format!("\"{number}\""));
        }
        at + end
    }

    fn replace(&mut self, from: usize, to: usize, with: &str) {
        looked_at(from - self.copied);
        let mended = self.mended.get_or_insert_with(String::new);
        mended.push_str(&self.text[self.copied..from]);
        mended.push_str(with);
        self.copied = to;
    }
}

/// The UTF-16 code unit of an escape `\uXXXX` at the start.
fn code_unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.first_chunk::<4>()?;
    digits.iter().try_fold(0, |unit, &digit| {
        let digit = char::from(digit).to_digit(16)?;
        Some(unit << 4 | u16::try_from(digit).ok()?)
    })
}

/// Whether this is a number as JSON writes one.
fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|text| digits(text.strip_prefix(['+', '-']).unwrap_or(text)))
}

/// Whether the parser keeps the value of this number.
fn comes_back(number: &str) -> bool {
    looked_at(number.len());
    let plain = !number.contains(['e', 'E']);
    if plain && number.len() <= SAFE_DIGITS {
        return true;
    }
    if number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok() {
        return true;
    }
    // Asked of the parser itself, which rounds faster and sometimes otherwise than the standard library.
    serde_json::from_str::<f64>(number)
        .is_ok_and(|float| significant(number) == significant(&format!("{float:e}")))
}

/// The digits of a number without zeros at their ends, and the power of ten of the last; `None` when out of bounds.
fn significant(number: &str) -> Option<(String, i64)> {
    let number = number.strip_prefix('-').unwrap_or(number);
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let kept = digits.trim_end_matches('0');
    let dropped = i64::try_from(digits.len() - kept.len()).ok()?;
    let power = exponent
        .parse::<i64>()
        .ok()?
        .checked_sub(i64::try_from(fraction.len()).ok()?)?
        .checked_add(dropped)?;
    match kept.trim_start_matches('0') {
        "" => Some((String::new(), 0)),
        digits => Some((digits.to_owned(), power)),
    }
}

#[cfg(test)]
mod tests;
