//! Finds in any text what stands behind a name that contains `token`: in an element, a member, a parameter, a header.
//!
//! No parser, since the text may be what no parser takes. Where it is in doubt the rest of the line, the element or the
//! text counts. Time is linear in the text.
//!
//! **Not found**: a name whose `token` is itself escaped (`\u0074oken`, `&#116;oken`).

use memchr::{memchr, memchr2, memmem};

use crate::normalise::work::looked_at;

/// The ranges of the values, in order; they lie on character boundaries.
pub(super) fn values(text: &str) -> Vec<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(offset) = memchr2(b't', b'T', &bytes[at..]) {
        let word = at + offset;
        looked_at(offset);
        let is_token = bytes[word..]
            .get(..5)
            .is_some_and(|word| word.eq_ignore_ascii_case(b"token"));
        if !is_token {
            at = word + 1;
            continue;
        }
        let name = word
            - bytes[at..word]
                .iter()
                .rev()
                .take_while(|&&byte| is_name(byte) || byte == b':')
                .count();
        looked_at(word - name);
        let before = &bytes[..name];
        at = if before.ends_with(b"</") {
            end_of(&bytes[word..], is_name) + word
        } else if before.ends_with(b"<") {
            element(text, name, &mut found)
        } else {
            let end = end_of(&bytes[word..], is_name) + word;
            match value_after(bytes, end) {
                Some((from, to)) => {
                    found.push((from, to));
                    to
                }
                None => end,
            }
        };
    }
    found.retain(|(from, to)| from < to);
    found
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.') || byte >= 0x80
}

fn end_of(bytes: &[u8], inside: impl Fn(u8) -> bool) -> usize {
    let end = bytes
        .iter()
        .position(|&byte| !inside(byte))
        .unwrap_or(bytes.len());
    looked_at(end);
    end
}

/// The attributes and the content of the element whose name begins at `name`; the place behind them.
fn element(text: &str, name: usize, found: &mut Vec<(usize, usize)>) -> usize {
    let bytes = text.as_bytes();
    let name_end = name + end_of(&bytes[name..], |byte| is_name(byte) || byte == b':');
    let tag_end = memchr(b'>', &bytes[name_end..]).map_or(bytes.len(), |at| name_end + at);
    looked_at(tag_end - name_end);
    let attributes = text[name_end..tag_end].trim_end_matches('/').trim();
    if !attributes.is_empty() {
        found.push((name_end, tag_end));
    }
    if tag_end == bytes.len() || bytes[tag_end - 1] == b'/' {
        return tag_end;
    }
    let closing = [b"</", &bytes[name..name_end]].concat();
    let content_end =
        memmem::find(&bytes[tag_end..], &closing).map_or(bytes.len(), |at| tag_end + at);
    looked_at(content_end - tag_end);
    if !text[tag_end + 1..content_end].trim().is_empty() {
        found.push((tag_end + 1, content_end));
    }
    content_end
}

/// The range of the value when a separator stands behind a name that ends at `at`.
fn value_after(bytes: &[u8], mut at: usize) -> Option<(usize, usize)> {
    let mut separated = false;
    let mut escaped = false;
    while at < bytes.len() {
        let (char, length) = character(&bytes[at..]);
        looked_at(length);
        match char {
            b'=' | b':' | b'>' => separated = true,
            b'"' | b'\'' if separated => {
                let from = at + length;
                return Some((from, quoted_end(bytes, from, char, escaped || length > 1)));
            }
            b'"' | b'\'' | b' ' | b'\t' | b'\r' | b'\n' | b'\\' => {}
            _ => break,
        }
        escaped = char == b'\\';
        at += length;
    }
    if !separated || at == bytes.len() {
        return None;
    }
    let rest = &bytes[at..];
    let end = if matches!(rest[0], b'{' | b'[') {
        nested_end(rest)
    } else {
        end_of(rest, |byte| {
            !matches!(
                byte,
                b'\r' | b'\n' | b'&' | b'<' | b'>' | b'"' | b'\'' | b'}' | b']' | b','
            )
        })
    };
    Some((at, at + end))
}

/// The character at the start, also one that is escaped for a URL or for XML, and its length.
fn character(bytes: &[u8]) -> (u8, usize) {
    const ENTITIES: [(&[u8], u8); 3] = [(b"&quot;", b'"'), (b"&apos;", b'\''), (b"&gt;", b'>')];
    if let [b'%', high, low, ..] = bytes
        && let Some(decoded) = super::hex_pair(*high, *low)
    {
        return (decoded, 3);
    }
    ENTITIES
        .iter()
        .find(|(entity, _)| bytes.starts_with(entity))
        .map_or((bytes[0], 1), |&(entity, char)| (char, entity.len()))
}

/// The end of a value in quotes that begins at `from`. In quotes that are themselves escaped no escape is expected.
fn quoted_end(bytes: &[u8], from: usize, quote: u8, escaped: bool) -> usize {
    let mut at = from;
    while at < bytes.len() {
        let (char, length) = character(&bytes[at..]);
        looked_at(length);
        if char == quote || (escaped && char == b'\\') {
            return at;
        }
        at += if char == b'\\' { length + 1 } else { length };
    }
    bytes.len()
}

/// The end of an array or object at the start, brackets in texts left out.
fn nested_end(bytes: &[u8]) -> usize {
    let (mut depth, mut in_text, mut at) = (0_usize, false, 0);
    while at < bytes.len() {
        looked_at(1);
        match bytes[at] {
            b'\\' => at += 1,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => depth += 1,
            b'}' | b']' if !in_text => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}
