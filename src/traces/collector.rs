//! The way to the collector: the exporter's HTTP client, over the reqwest and rustls that the bridge has anyway.
//!
//! **Promises.** A request ends within [`EXPORT_TIME`](super::EXPORT_TIME), follows no redirect and reads a bounded answer. Of
//! failures the first is told, then one a minute, then that it works again; all are counted.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use metrics::{Counter, counter};
use opentelemetry_http::{HttpClient, HttpError};
use tokio::runtime::Handle;
use url::{Host, Url};

use super::EXPORT_TIME;
use crate::outbound;

/// Between two warnings about a collector that is away.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// An answer beyond this is not read: what a collector says about partial success is short.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// The exporter's HTTP client.
#[derive(Debug)]
pub(super) struct Collector {
    http: reqwest::Client,
    /// The exporter works on a thread of its own, requests need a runtime.
    runtime: Handle,
    failures: Counter,
    outage: Mutex<Outage>,
}

/// Which of the collector's failures are told.
#[derive(Debug, Default)]
struct Outage {
    /// When the last warning was; `None` while the collector works.
    warned_at: Option<Instant>,
}

/// No client can be made.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct CollectorError(String);

/// Where OTLP takes traces, below the endpoint.
pub(super) fn traces_url(endpoint: &Url) -> String {
    format!("{}/v1/traces", endpoint.as_str().trim_end_matches('/'))
}

impl Collector {
    pub(super) fn new(endpoint: &Url) -> Result<Self, CollectorError> {
        let tls = outbound::tls(endpoint.scheme() == "https")
            .map_err(|error| CollectorError(error.to_string()))?;
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("concur-bridge/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .timeout(EXPORT_TIME)
            .http1_only()
            .tls_backend_preconfigured(tls);
        if is_loopback(endpoint) {
            builder = builder.no_proxy();
        }
        Ok(Self {
            http: builder
                .build()
                .map_err(|error| CollectorError(error.to_string()))?,
            runtime: Handle::current(),
            failures: counter!("concur_bridge_traces_export_errors_total"),
            outage: Mutex::default(),
        })
    }

    fn failed(&self, reason: &str) {
        self.failures.increment(1);
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        if outage.warns_at(Instant::now()) {
            tracing::warn!(
                reason,
                "the OpenTelemetry collector does not take traces; spans are dropped, nothing else"
            );
        }
    }

    fn worked(&self) {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        if outage.ends() {
            tracing::info!("the OpenTelemetry collector takes traces again");
        }
    }
}

impl Outage {
    /// Whether to warn of a failure at `now`: of the first, then once a minute.
    fn warns_at(&mut self, now: Instant) -> bool {
        let warns = self
            .warned_at
            .is_none_or(|last| now.duration_since(last) >= WARN_EVERY);
        if warns {
            self.warned_at = Some(now);
        }
        warns
    }

    /// The collector works. Whether there was an outage, which is over now.
    fn ends(&mut self) -> bool {
        self.warned_at.take().is_some()
    }
}

#[async_trait::async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sent = self.runtime.spawn(send(self.http.clone(), request));
        let answer = match sent.await {
            Ok(answer) => answer.map_err(|error| outbound::innermost(&error.without_url())),
            // The runtime ends with the process.
            Err(error) => Err(error.to_string()),
        };
        match answer {
            Ok(answer) => {
                if answer.status().is_success() {
                    self.worked();
                } else {
                    self.failed(answer.status().as_str());
                }
                Ok(answer)
            }
            Err(reason) => {
                self.failed(&reason);
                Err(reason.into())
            }
        }
    }
}

async fn send(
    http: reqwest::Client,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, reqwest::Error> {
    let mut answer = http.execute(request.try_into()?).await?;
    let mut body = Vec::new();
    while body.len() < MAX_ANSWER_BYTES
        && let Some(chunk) = answer.chunk().await?
    {
        body.extend_from_slice(&chunk);
    }
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = answer.status();
    *response.headers_mut() = std::mem::take(answer.headers_mut());
    Ok(response)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_once_a_minute_and_its_end_once() {
        let began = Instant::now();
        let mut outage = Outage::default();
        assert!(!outage.ends(), "nothing has failed");
        let warnings: Vec<u64> = (0..=180)
            .filter(|second| outage.warns_at(began + Duration::from_secs(*second)))
            .collect();
        assert_eq!(warnings, [0, 60, 120, 180]);
        assert!(outage.ends());
        assert!(!outage.ends(), "the end is told once");
        assert!(outage.warns_at(began), "the next outage is told at once");
    }
}
