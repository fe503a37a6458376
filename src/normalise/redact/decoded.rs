//! Percent-decoding until no escape is left.
//!
//! An escape may appear only when another one is decoded (`%2541`). Each output byte can complete one, so the end of
//! the output is looked at after every byte: one pass, linear, and since escapes cannot overlap the result does not
//! depend on the order.

/// The byte that two hexadecimal digits of either case stand for.
pub(in crate::normalise) fn hex_pair(high: u8, low: u8) -> Option<u8> {
    Some(hex_digit(high)? << 4 | hex_digit(low)?)
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// The bytes with every escape undone.
pub(super) fn fully(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let plain = memchr::memchr(b'%', text).unwrap_or(text.len());
    out.extend_from_slice(&text[..plain]);
    for &byte in &text[plain..] {
        out.push(byte);
        while let [.., b'%', high, low] = out[..]
            && let Some(decoded) = hex_pair(high, low)
        {
            out.truncate(out.len() - 2);
            if let Some(last) = out.last_mut() {
                *last = decoded;
            }
        }
    }
    out
}

/// The same, and where in the input each byte begins, then the input's length: byte `n` came from the range between
/// places `n` and `n + 1`.
pub(super) fn with_places(text: &[u8]) -> (Vec<u8>, Vec<usize>) {
    let mut out = Vec::with_capacity(text.len());
    let mut places = Vec::with_capacity(text.len() + 1);
    for (at, &byte) in text.iter().enumerate() {
        out.push(byte);
        places.push(at);
        while let [.., b'%', high, low] = out[..]
            && let Some(decoded) = hex_pair(high, low)
        {
            out.truncate(out.len() - 2);
            places.truncate(out.len());
            if let Some(last) = out.last_mut() {
                *last = decoded;
            }
        }
    }
    places.push(text.len());
    (out, places)
}
