//! How long a call is tried, and what a pause between two tries is.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::RETRY_AFTER;
use jiff::Timestamp;
use jiff::fmt::rfc2822;

/// The limits of one errand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Tries of each call, the first included.
    pub tries: u32,
    /// Time for all calls together, pauses included.
    pub total: Duration,
    /// The first pause; each further one is three times as long.
    pub backoff: Duration,
}

impl Default for Patience {
    /// Three tries, 60 s, 1 s: a person waits in front of it.
    fn default() -> Self {
        Self {
            tries: 3,
            total: Duration::from_secs(60),
            backoff: Duration::from_secs(1),
        }
    }
}

impl Patience {
    /// The pause after try number `tries` (from 1) when Concur named none.
    pub(super) fn pause_after(&self, tries: u32) -> Duration {
        self.backoff
            .saturating_mul(3_u32.saturating_pow(tries.saturating_sub(1)))
    }
}

/// The pause that an answer asks for: `Retry-After` in seconds or as a date (RFC 9110 §10.2.3). A date in the past is
/// no pause; one that cannot be read is none asked for.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = rfc2822::parse(text).ok()?.timestamp();
    let now = Timestamp::try_from(now).ok()?;
    Some(Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (value, pause) in [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            assert_eq!(
                retry_after(&headers, now),
                pause.map(Duration::from_secs),
                "{value}"
            );
        }
    }

    #[test]
    fn pauses_grow() {
        let patience = Patience::default();
        assert_eq!(patience.pause_after(1), Duration::from_secs(1));
        assert_eq!(patience.pause_after(2), Duration::from_secs(3));
    }
}
