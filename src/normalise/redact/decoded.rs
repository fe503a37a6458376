//! Percent-decoding until no escape is left.
//!
//! An escape may appear only when another one is decoded (`%2541`). Each output byte can complete one, so the end of
//! the output is looked at after every byte: one pass, linear, and since escapes cannot overlap the result does not
//! depend on the order.

/// The byte that two hexadecimal digits of either case stand for.
pub(in crate::normalise) fn hex_pair(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// The bytes with every escape undone.
pub(super) fn fully(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for &byte in text {
        out.push(byte);
        while let [.., b'%', high, low] = out[..]
            && let Some(decoded) = hex_pair(high, low)
        {
            out.truncate(out.len() - 3);
            out.push(decoded);
        }
    }
    out
}

/// The same, and for each byte the range of the input that it came from. An input byte is in one range only.
pub(super) fn with_origins(text: &[u8]) -> (Vec<u8>, Vec<(usize, usize)>) {
    let mut out = Vec::with_capacity(text.len());
    let mut origins: Vec<(usize, usize)> = Vec::with_capacity(text.len());
    for (at, &byte) in text.iter().enumerate() {
        out.push(byte);
        origins.push((at, at + 1));
        while let [.., b'%', high, low] = out[..]
            && let Some(decoded) = hex_pair(high, low)
        {
            let first = out.len() - 3;
            out.truncate(first);
            out.push(decoded);
            origins.truncate(first + 1);
            origins[first].1 = at + 1;
        }
    }
    (out, origins)
}
