//! Reads the W3C `traceparent` header of a request.
//!
//! The header comes from outside and travels on into Kafka, so only a valid one does: version, trace id, parent id and
//! flags in lower-case hexadecimal, ids not zero, version not `ff`. A later version may append fields after a hyphen.
//! Two of them are none, as the specification wants it.

use http::HeaderMap;

/// Version, trace id, parent id, flags and three hyphens.
const LENGTH: usize = 2 + 1 + 32 + 1 + 16 + 1 + 2;

/// Longest one taken over; later versions may be longer than 55 bytes, but not without bound.
const LONGEST: usize = 128;

/// The valid `traceparent` of these headers.
pub(crate) fn of(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all("traceparent").iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    value.to_str().ok().filter(|value| is_valid(value))
}

fn is_valid(text: &str) -> bool {
    let Some((head, tail)) = text.split_at_checked(LENGTH) else {
        return false;
    };
    let mut parts = head.split('-');
    let (Some(version), Some(trace), Some(parent), Some(flags), None) = (
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
    ) else {
        return false;
    };
    let tail_fits = tail.is_empty() || (version != "00" && tail.starts_with('-'));
    is_hex(version, 2)
        && version != "ff"
        && is_hex(trace, 32)
        && is_hex(parent, 16)
        && is_hex(flags, 2)
        && [trace, parent]
            .iter()
            .all(|id| id.bytes().any(|byte| byte != b'0'))
        && tail_fits
        && text.len() <= LONGEST
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_specification_calls_valid_travels_on() {
        const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(is_valid(GOOD));
        assert!(is_valid(&GOOD.replacen("00", "cc", 1)));
        assert!(is_valid(&format!("{}-extra", GOOD.replacen("00", "cc", 1))));
        for bad in [
            String::new(),
            GOOD.to_uppercase(),
            format!("{GOOD}-extra"),
            format!("{GOOD}0"),
            GOOD.replacen("00", "ff", 1),
            GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            GOOD.replace("-00f", "_00f"),
            GOOD.replace("4bf92f", "4bf9-f"),
            GOOD[..54].to_owned(),
            format!("cc{}-{}", &GOOD[2..], "x".repeat(200)),
        ] {
            assert!(!is_valid(&bad), "{bad}");
        }
    }

    #[test]
    fn two_headers_are_none() {
        let mut headers = HeaderMap::new();
        let value = http::HeaderValue::from_static(
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        );
        headers.append("traceparent", value.clone());
        assert!(of(&headers).is_some());
        headers.append("traceparent", value);
        assert_eq!(of(&headers), None);
    }
}
