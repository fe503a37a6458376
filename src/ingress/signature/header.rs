//! The `Concur-Signature` header: base64, standard alphabet, padded or not.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Longest header value looked at: a signature of an 8192-bit key and some.
const MAX_HEADER_BYTES: usize = 2048;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The signature in a header value; `None` when it is not base64 or too long to be one. Padding may be absent.
pub fn decode_header(value: &[u8]) -> Option<Vec<u8>> {
    let value = value.trim_ascii();
    if value.is_empty() || value.len() > MAX_HEADER_BYTES {
        return None;
    }
    BASE64.decode(value).ok()
}
