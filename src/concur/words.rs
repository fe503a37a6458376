//! Concur's words, made fit for a terminal, a log and a screenshot.
//!
//! An answer may be JSON, XML, an HTML page or junk, and may quote the token it was sent, raw or encoded. The order
//! matters: control characters and tags go first, so that they cannot split a token; the token is masked next; the
//! text is shortened last, so that no half of a token stays at the cut.

use serde_json::Value;

use crate::secret::Token;

/// Characters of Concur's words that are shown: two lines of a terminal.
const MAX_SHOWN: usize = 300;

/// What stands where a token stood.
const MASK: &str = "[token]";

/// The words of an answer's body.
pub(super) fn readable(body: &[u8], secrets: &[&Token]) -> String {
    let text = String::from_utf8_lossy(body);
    let text = message_of_json(&text).unwrap_or_else(|| text.into_owned());
    clean(&without_tags(&without_controls(&text)), secrets)
}

/// A text of one line: masked, blanks folded, shortened.
pub(super) fn clean(text: &str, secrets: &[&Token]) -> String {
    let mut text = without_controls(text);
    for secret in secrets {
        text = mask(&text, secret.expose());
    }
    let folded = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match folded.char_indices().nth(MAX_SHOWN) {
        Some((cut, _)) => format!("{}…", &folded[..cut]),
        None => folded,
    }
}

/// The message inside the JSON forms that Concur documents: `error_description` (OAuth), `message`, `errorMessage`.
fn message_of_json(text: &str) -> Option<String> {
    fn find(value: &Value) -> Option<&str> {
        match value {
            Value::Object(map) => [
                "error_description",
                "errorMessage",
                "message",
                "error",
                "errors",
            ]
            .iter()
            .filter_map(|key| map.get(*key))
            .find_map(find),
            Value::Array(items) => items.iter().find_map(find),
            Value::String(text) => Some(text),
            _ => None,
        }
    }
    find(&serde_json::from_str(text).ok()?).map(str::to_owned)
}

/// Line ends and tabs become blanks; other control characters and those that reorder or hide text go.
fn without_controls(text: &str) -> String {
    text.chars()
        .filter_map(|character| match character {
            '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => Some(' '),
            '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{feff}' => None,
            other if other.is_control() => None,
            other => Some(other),
        })
        .collect()
}

/// The text of a page or an XML document: each tag becomes a blank, scripts and styles go whole.
fn without_tags(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        shown.push_str(&rest[..start]);
        let tag = &rest[start..];
        let lower = tag.get(..8).unwrap_or(tag).to_ascii_lowercase();
        let end = if lower.starts_with("<script") {
            end_after(tag, "</script>")
        } else if lower.starts_with("<style") {
            end_after(tag, "</style>")
        } else if tag[1..]
            .starts_with(|next: char| next.is_ascii_alphabetic() || matches!(next, '/' | '!' | '?'))
        {
            end_after(tag, ">")
        } else {
            shown.push('<');
            1
        };
        if end > 1 {
            shown.push(' ');
        }
        rest = &tag[end..];
    }
    shown.push_str(rest);
    shown
}

fn end_after(tag: &str, close: &str) -> usize {
    let lower = tag.to_ascii_lowercase();
    lower.find(close).map_or(tag.len(), |at| at + close.len())
}

/// The text with every occurrence of the secret masked, whichever of its characters are encoded.
fn mask(text: &str, secret: &str) -> String {
    if secret.is_empty() {
        return text.to_owned();
    }
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if let Some(length) = occurrence(rest.as_bytes(), secret.as_bytes()) {
            masked.push_str(MASK);
            rest = &rest[length..];
        } else {
            masked.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    masked
}

/// The length of the secret at the start of the text, if it stands there.
fn occurrence(text: &[u8], secret: &[u8]) -> Option<usize> {
    let mut ends = vec![0];
    for &byte in secret {
        ends = ends
            .iter()
            .flat_map(|&end| forms(&text[end..], byte).map(move |length| end + length))
            .collect();
        ends.dedup();
        if ends.is_empty() {
            return None;
        }
    }
    // All forms are ASCII around ASCII, so every end is a character boundary.
    ends.into_iter().max()
}

/// The lengths that one byte may have at the start of a text: raw, `%2B` (also `%252B`), `\/`, `\u002b`, `&#43;`, `&#x2b;`.
fn forms(text: &[u8], byte: u8) -> impl Iterator<Item = usize> {
    let raw = (text.first() == Some(&byte)).then_some(1);
    let escaped = (text.first() == Some(&b'\\') && text.get(1) == Some(&byte)).then_some(2);
    [raw, escaped, unicode(text, byte), reference(text, byte)]
        .into_iter()
        .flatten()
        .chain(percent(text, byte))
}

/// Encoded once, twice or three times: each time more, the `%` itself becomes `%25`.
fn percent(text: &[u8], byte: u8) -> impl Iterator<Item = usize> {
    [1, 3, 5].into_iter().filter_map(move |at| {
        let (head, rest) = text.split_at_checked(at)?;
        let is_encoded_percent = head.strip_prefix(b"%")?.chunks(2).all(|pair| pair == b"25");
        (is_encoded_percent && byte_of(rest.get(..2)?, 16)? == byte).then_some(at + 2)
    })
}

fn unicode(text: &[u8], byte: u8) -> Option<usize> {
    let digits = text.strip_prefix(b"\\u00")?.get(..2)?;
    (byte_of(digits, 16)? == byte).then_some(6)
}

fn reference(text: &[u8], byte: u8) -> Option<usize> {
    let inside = text.strip_prefix(b"&#")?;
    let end = inside.iter().take(8).position(|&next| next == b';')?;
    let value = match &inside[..end] {
        [b'x' | b'X', digits @ ..] => byte_of(digits, 16),
        digits => byte_of(digits, 10),
    };
    (value? == byte).then_some(end + 3)
}

fn byte_of(digits: &[u8], radix: u32) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_masked_however_it_is_encoded() {
        let token = Token::new("a+/b=%7".to_owned());
        for text in [
            "x a+/b=%7 y",
            "x a%2B%2fb%3D%257 y",
            "x a%252B%252Fb%253D%25257 y",
            "x %61%2B%2F%62%3D%25%37 y",
            r"x a+\/b=%7 y",
            r"x a\u002b\u002Fb\u003d%7 y",
            "x a&#43;&#x2f;b&#61;%7 y",
            "x a+/\u{0}b=\u{200b}%7 y",
        ] {
            assert_eq!(
                readable(text.as_bytes(), &[&token]),
                "x [token] y",
                "{text}"
            );
        }
    }

    #[test]
    fn the_cut_leaves_no_half_of_a_token() {
        let token = Token::new("t".repeat(40));
        let text = format!("{}{}", "x".repeat(MAX_SHOWN - 20), token.expose());
        assert!(!readable(text.as_bytes(), &[&token]).contains("ttt"));
    }

    #[test]
    fn each_form_of_answer_becomes_one_clean_line() {
        for (body, words) in [
            (r#"{"message":"no such\ntopic"}"#, "no such topic"),
            (
                r#"{"error":"invalid_client","error_description":"client not found","code":61}"#,
                "client not found",
            ),
            (
                r#"{"errors":[{"errorCode":"1","errorMessage":"nope"}]}"#,
                "nope",
            ),
            (
                "<Error><Message>Invalid token</Message><Id>7</Id></Error>",
                "Invalid token 7",
            ),
            (
                "<!DOCTYPE html><html><head><style>a{}</style><script>x<y</script></head><body><h1>503</h1>\r\n<p>Down",
                "503 Down",
            ),
            ("a < b \u{1b}[31mred\u{202e}", "a < b [31mred"),
            ("\u{fffd}", "\u{fffd}"),
            ("", ""),
        ] {
            assert_eq!(readable(body.as_bytes(), &[]), words, "{body}");
        }
        assert_eq!(readable(b"\xff\xfe", &[]), "\u{fffd}\u{fffd}");
    }
}
