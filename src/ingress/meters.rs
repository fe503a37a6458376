//! What the ingress counts, and the log's throttle.
//!
//! All handles are made once: the hot path touches atomics, never the registry. Label values come from closed sets,
//! so no request can make a new series. A request is counted under its path's `source`; what never reached one of the
//! two paths has no source and is counted as a refusal only.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::refused::Cause;
use crate::postback::Dialect;

/// Every status that a request on one of the two paths can be answered with. A head that is too large or no HTTP at all
/// is refused before its path is known.
const STATUSES: [u16; 8] = [200, 400, 401, 405, 413, 414, 415, 503];

/// Why a connection ended without an answer that was due or possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// `ingress.header_timeout`.
    HeadLate,
    /// `ingress.body_timeout`.
    BodyLate,
    /// `ingress.idle_timeout`: nothing is wrong.
    Idle,
    /// The client went in the middle of a request.
    Cut,
    /// It made room for another.
    Evicted,
    /// The TLS handshake failed or took too long.
    Handshake,
    /// The PROXY header is missing, malformed, late or from an untrusted peer.
    ProxyHeader,
}

impl Ending {
    /// Every ending: the label values of `concur_bridge_ingress_connections_ended_total`.
    pub const ALL: [Self; 7] = [
        Self::HeadLate,
        Self::BodyLate,
        Self::Idle,
        Self::Cut,
        Self::Evicted,
        Self::Handshake,
        Self::ProxyHeader,
    ];

    /// The label value.
    pub fn label(self) -> &'static str {
        match self {
            Self::HeadLate => "head_late",
            Self::BodyLate => "body_late",
            Self::Idle => "idle",
            Self::Cut => "cut",
            Self::Evicted => "evicted",
            Self::Handshake => "tls_handshake",
            Self::ProxyHeader => "proxy_header",
        }
    }
}

/// What is counted per request and per connection.
pub(super) struct Meters {
    requests: [[Counter; STATUSES.len()]; 2],
    duration: Histogram,
    endings: [Counter; Ending::ALL.len()],
    pub(super) connections: Gauge,
    pub(super) in_flight: Gauge,
    pub(super) handshakes: Counter,
    throttles: [Throttle; Ending::ALL.len()],
}

impl Meters {
    pub(super) fn new() -> Self {
        let requests = [Dialect::V1, Dialect::Ess].map(|dialect| {
            STATUSES.map(|status| {
                counter!(
                    "concur_bridge_ingress_requests_total",
                    "source" => dialect.label(),
                    "status" => status.to_string(),
                )
            })
        });
        Self {
            requests,
            duration: histogram!("concur_bridge_ingress_duration_seconds"),
            endings: Ending::ALL.map(|ending| {
                counter!("concur_bridge_ingress_connections_ended_total", "reason" => ending.label())
            }),
            connections: gauge!("concur_bridge_ingress_connections"),
            in_flight: gauge!("concur_bridge_ingress_in_flight_requests"),
            handshakes: counter!("concur_bridge_ingress_tls_handshakes_total"),
            throttles: Ending::ALL.map(|_| Throttle::default()),
        }
    }

    /// One answered request.
    pub(super) fn answered(&self, dialect: Dialect, status: StatusCode, began: Instant) {
        let source = match dialect {
            Dialect::V1 => 0,
            Dialect::Ess => 1,
        };
        if let Some(place) = STATUSES.iter().position(|known| *known == status.as_u16()) {
            self.requests[source][place].increment(1);
        }
        self.duration.record(began.elapsed());
    }

    /// One connection that ended without an answer.
    pub(super) fn ended(&self, ending: Ending) {
        let place = Ending::ALL
            .iter()
            .position(|known| *known == ending)
            .unwrap_or(0);
        self.endings[place].increment(1);
        if ending == Ending::Idle {
            return;
        }
        if let Some(more) = self.throttles[place].admit() {
            debug!(
                reason = ending.label(),
                more, "connection ended without an answer"
            );
        }
    }
}

/// Refusals by cause, with at most one log line a second each.
pub(super) struct Refusals {
    counters: [Counter; Cause::ALL.len()],
    throttles: [Throttle; Cause::ALL.len()],
}

impl Refusals {
    pub(super) fn new() -> Self {
        Self {
            counters: Cause::ALL.map(
                |cause| counter!("concur_bridge_ingress_refusals_total", "reason" => cause.label()),
            ),
            throttles: Cause::ALL.map(|_| Throttle::default()),
        }
    }

    /// One refused request.
    pub(super) fn count(&self, cause: Cause) {
        let place = cause.index();
        self.counters[place].increment(1);
        if let Some(more) = self.throttles[place].admit() {
            warn!(
                reason = cause.label(),
                status = cause.status().as_u16(),
                more,
                "request refused"
            );
        }
    }
}

/// Lets one through per second and counts the others.
#[derive(Debug)]
pub(crate) struct Throttle {
    origin: Instant,
    /// Milliseconds since `origin` before which nothing more is let through.
    closed_until: AtomicU64,
    held_back: AtomicU64,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            origin: Instant::now(),
            closed_until: AtomicU64::new(0),
            held_back: AtomicU64::new(0),
        }
    }
}

impl Throttle {
    const INTERVAL: Duration = Duration::from_secs(1);

    /// `Some(n)`: go on, and `n` were held back since the last that was let through.
    pub(crate) fn admit(&self) -> Option<u64> {
        let now = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        let closed_until = self.closed_until.load(Ordering::Relaxed);
        let interval = u64::try_from(Self::INTERVAL.as_millis()).unwrap_or(u64::MAX);
        let open = now >= closed_until
            && self
                .closed_until
                .compare_exchange(
                    closed_until,
                    now.saturating_add(interval),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok();
        if open {
            Some(self.held_back.swap(0, Ordering::Relaxed))
        } else {
            self.held_back.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn of_many_lines_within_a_second_one_is_let_through() {
        let throttle = Throttle::default();
        assert_eq!(throttle.admit(), Some(0));
        assert_eq!(throttle.admit(), None);
        let moment = Duration::from_millis(1);
        tokio::time::advance(Throttle::INTERVAL - moment).await;
        assert_eq!(throttle.admit(), None);
        tokio::time::advance(moment).await;
        assert_eq!(throttle.admit(), Some(2));
        assert_eq!(throttle.admit(), None);
        tokio::time::advance(Throttle::INTERVAL * 10).await;
        assert_eq!(throttle.admit(), Some(1));
    }
}
