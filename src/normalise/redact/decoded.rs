//! Percent-decoding until no escape is left.
//!
//! An escape may appear only when another one is decoded (`%2541`). Each output byte can complete one, so the end of
//! the output is looked at after every byte: one pass, linear, and since escapes cannot overlap the result does not
//! depend on the order.

use crate::normalise::work::looked_at;

/// The value of each hexadecimal digit of either case; [`NO_DIGIT`] for every other byte. A table, because a long text of
/// escapes asks for every byte.
const DIGITS: [u8; 256] = {
    let mut digits = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        digits[b"0123456789abcdef"[value] as usize] = value as u8;
        digits[b"0123456789ABCDEF"[value] as usize] = value as u8;
        value += 1;
    }
    digits
};

const NO_DIGIT: u8 = 0xff;

/// The byte that two hexadecimal digits of either case stand for.
pub(in crate::normalise) fn hex_pair(high: u8, low: u8) -> Option<u8> {
    let (high, low) = (DIGITS[usize::from(high)], DIGITS[usize::from(low)]);
    (high | low != NO_DIGIT).then_some(high << 4 | low)
}

/// The bytes with every escape undone.
pub(super) fn fully(text: &[u8]) -> Vec<u8> {
    looked_at(text.len());
    let mut out = text.to_vec();
    let mut end = memchr::memchr(b'%', text).unwrap_or(text.len());
    for &byte in &text[end..] {
        out[end] = byte;
        end += 1;
        while let [.., b'%', high, low] = out[..end]
            && let Some(decoded) = hex_pair(high, low)
        {
            looked_at(1);
            end -= 2;
            out[end - 1] = decoded;
        }
    }
    out.truncate(end);
    out
}

/// The same, and where in the input each byte begins, then the input's length: byte `n` came from the range between
/// places `n` and `n + 1`.
pub(super) fn with_places(text: &[u8]) -> (Vec<u8>, Vec<usize>) {
    looked_at(text.len());
    let mut out = Vec::with_capacity(text.len());
    let mut places = Vec::with_capacity(text.len() + 1);
    for (at, &byte) in text.iter().enumerate() {
        out.push(byte);
        places.push(at);
        while let [.., b'%', high, low] = out[..]
            && let Some(decoded) = hex_pair(high, low)
        {
            looked_at(1);
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
