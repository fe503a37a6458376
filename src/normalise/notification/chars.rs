//! The characters of XML 1.0: which may be there at all, which make a name, and what a reference stands for.

use super::super::blank::is_blank;
use super::super::{Malformed, Reason};

/// The document as text: UTF-8, without its byte order mark, holding no character that XML 1.0 forbids.
///
/// # Errors
/// `bad_utf8` for other encodings, also for UTF-16 that happens to be valid UTF-8; `bad_xml` for forbidden characters
/// and for a body with nothing in it.
pub(super) fn document(body: &[u8]) -> Result<&str, Malformed> {
    if matches!(body, [b'<', 0, ..] | [0, b'<', ..]) {
        return Err(Malformed::new(
            Reason::BadUtf8,
            "the body is in another encoding than UTF-8",
        ));
    }
    let text = std::str::from_utf8(body)
        .map_err(|_| Malformed::new(Reason::BadUtf8, "the body is not UTF-8"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_matches(is_blank).is_empty() {
        return Err(Malformed::new(Reason::BadXml, "the body is empty"));
    }
    if text.starts_with('\u{feff}') {
        // quick-xml would drop it too; by XML 1.0 it is text in front of the root.
        return Err(Malformed::new(
            Reason::BadXml,
            "the body begins with two byte order marks",
        ));
    }
    if !is_allowed(text) {
        return Err(Malformed::new(
            Reason::BadXml,
            "the body holds characters that XML forbids",
        ));
    }
    Ok(text)
}

fn is_allowed(text: &str) -> bool {
    let bytes = text.as_bytes();
    // Bytes, not characters, and a whole chunk without a way out, so that the compiler looks at many at a time.
    let controls = bytes.chunks(1024).any(|chunk| {
        chunk.iter().fold(false, |found, &byte| {
            found | (byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r'))
        })
    });
    !controls
        && memchr::memchr_iter(0xef, bytes)
            .all(|at| !matches!(bytes.get(at + 1..at + 3), Some([0xbf, 0xbe] | [0xbf, 0xbf])))
}

/// The local part of a name, when it is a name with at most one prefix.
pub(super) fn local_name(name: &str) -> Option<&str> {
    let local = match name.split_once(':') {
        None => name,
        Some((prefix, local)) if is_name(prefix) => local,
        Some(_) => return None,
    };
    is_name(local).then_some(local)
}

/// Whether this is a name without a colon (XML 1.0, fifth edition, 2.3; Namespaces 1.0, 3).
pub(super) fn is_name(name: &str) -> bool {
    // Names are ASCII letters as a rule, and this is asked for every element.
    if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return true;
    }
    let mut chars = name.chars();
    chars.next().is_some_and(starts_name) && chars.all(continues_name)
}

fn starts_name(char: char) -> bool {
    matches!(char,
        'A'..='Z' | '_' | 'a'..='z' | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{2ff}'
        | '\u{370}'..='\u{37d}' | '\u{37f}'..='\u{1fff}' | '\u{200c}'..='\u{200d}' | '\u{2070}'..='\u{218f}'
        | '\u{2c00}'..='\u{2fef}' | '\u{3001}'..='\u{d7ff}' | '\u{f900}'..='\u{fdcf}' | '\u{fdf0}'..='\u{fffd}'
        | '\u{10000}'..='\u{effff}')
}

fn continues_name(char: char) -> bool {
    starts_name(char)
        || matches!(char, '-' | '.' | '0'..='9' | '\u{b7}' | '\u{300}'..='\u{36f}' | '\u{203f}'..='\u{2040}')
}

/// The character that `&name;` stands for: one of the five predefined entities, or a character that XML 1.0 allows.
pub(super) fn referenced(name: &str) -> Option<char> {
    let Some(number) = name.strip_prefix('#') else {
        return match name {
            "lt" => Some('<'),
            "gt" => Some('>'),
            "amp" => Some('&'),
            "apos" => Some('\''),
            "quot" => Some('"'),
            _ => None,
        };
    };
    let (digits, radix) = match number.strip_prefix('x') {
        Some(digits) => (digits, 16),
        None => (number, 10),
    };
    // `from_str_radix` takes a sign, XML does not.
    if !digits.starts_with(|digit: char| digit.is_digit(radix)) {
        return None;
    }
    u32::from_str_radix(digits, radix)
        .ok()
        .and_then(char::from_u32)
        .filter(|&char| {
            matches!(char, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
        })
}

/// Whether every `&` in an attribute value begins a reference that stands for something.
pub(super) fn references_resolve(value: &str) -> bool {
    value.split('&').skip(1).all(|after| {
        after
            .split_once(';')
            .is_some_and(|(name, _)| referenced(name).is_some())
    })
}
