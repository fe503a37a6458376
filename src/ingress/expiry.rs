//! When certificates end: a metric at all times, and a warning every day from thirty days before.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use metrics::{Gauge, gauge};
use tracing::{error, warn};
use x509_parser::prelude::{FromDer, X509Certificate};

/// How long before its end a certificate is worth a warning.
const WARN_BEFORE_SECONDS: i64 = 30 * 24 * 60 * 60;

/// How often the warning is repeated.
const REMIND_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// The earliest end among the certificates of one purpose.
#[derive(Clone)]
pub(super) struct Expiry {
    what: &'static str,
    gauge: Gauge,
    /// Seconds since 1970; `i64::MAX` without a certificate.
    earliest: Arc<AtomicI64>,
}

impl Expiry {
    /// `what` is the label `certificate`.
    pub(super) fn new(what: &'static str) -> Self {
        Self {
            what,
            gauge: gauge!("concur_bridge_certificate_expiry_timestamp_seconds", "certificate" => what),
            earliest: Arc::new(AtomicI64::new(i64::MAX)),
        }
    }

    /// Takes note of the ends of newly read certificates.
    pub(super) fn set(&self, ends: &[i64]) {
        let earliest = ends.iter().copied().min();
        self.earliest
            .store(earliest.unwrap_or(i64::MAX), Ordering::Relaxed);
        if let Some(earliest) = earliest {
            self.gauge.set(earliest as f64);
        }
        self.remind();
    }

    /// Warns when the end is near or past.
    pub(super) fn remind(&self) {
        let earliest = self.earliest.load(Ordering::Relaxed);
        let certificate = self.what;
        match urgency(earliest, Timestamp::now().as_second()) {
            Urgency::None => {}
            Urgency::Soon { days } => {
                warn!(
                    certificate,
                    days, "a certificate ends soon; put a new one in its file"
                );
            }
            Urgency::Past => {
                error!(
                    certificate,
                    "a certificate has ended; put a new one in its file"
                );
            }
        }
    }
}

/// How much an end has to be talked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Urgency {
    None,
    Soon { days: i64 },
    Past,
}

fn urgency(ends: i64, now: i64) -> Urgency {
    match ends.saturating_sub(now) {
        ..=0 => Urgency::Past,
        left @ 1..=WARN_BEFORE_SECONDS => Urgency::Soon {
            days: left / (24 * 60 * 60),
        },
        _ => Urgency::None,
    }
}

/// Reminds every day, for ever.
pub(super) async fn remind_daily(expiries: Vec<Expiry>) -> std::convert::Infallible {
    loop {
        tokio::time::sleep(REMIND_EVERY).await;
        for expiry in &expiries {
            expiry.remind();
        }
    }
}

/// When a certificate ends, in seconds since 1970; `None` when it cannot be read.
pub(super) fn not_after(der: &[u8]) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use metrics_exporter_prometheus::PrometheusBuilder;

    #[test]
    fn the_earliest_end_is_shown() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let rendered = recorder.handle();
        metrics::with_local_recorder(&recorder, || Expiry::new("server"))
            .set(&[4_000, 3_000, 5_000]);
        let line =
            r#"concur_bridge_certificate_expiry_timestamp_seconds{certificate="server"} 3000"#;
        assert!(rendered.render().contains(line), "{}", rendered.render());
    }

    #[test]
    fn the_last_thirty_days_are_worth_a_warning_and_the_end_an_alarm() {
        let now = 1_800_000_000;
        let day = 24 * 60 * 60;
        for (ends, expected) in [
            (now + 40 * day, Urgency::None),
            (now + 30 * day + 1, Urgency::None),
            (now + 30 * day, Urgency::Soon { days: 30 }),
            (now + 1, Urgency::Soon { days: 0 }),
            (now, Urgency::Past),
            (now - 1, Urgency::Past),
            (i64::MAX, Urgency::None),
        ] {
            assert_eq!(urgency(ends, now), expected, "{ends}");
        }
    }
}
