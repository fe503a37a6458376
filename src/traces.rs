//! Traces: one OpenTelemetry span per postback, to a collector, when `[otel] endpoint` names one.
//!
//! **What it does.** A span covers a postback from the end of its head until it is durable or refused. Its parent is the
//! request's valid `traceparent`, whose sampling decision holds. Spans go out in batches as OTLP, protobuf over HTTP. The
//! `traceparent` that an event carries into Kafka stays the sender's: the bridge is no link of that chain.
//!
//! **Promises.** Attributes come from closed sets: `http.request.method`, `http.response.status_code`,
//! `concur_bridge.source`, `concur_bridge.outcome`. Nothing of a request is in a span but the ids of its `traceparent`, and
//! those only while they do not hold its token. Requests that are not let in make no span, so a stranger cannot fill the
//! collector. Without an endpoint nothing is made: no thread, no client, one `None` looked at per postback.
//!
//! **When it fails.** Spans wait in a queue of [`QUEUE_SPANS`], from which one thread exports. A collector that is slow or away
//! costs spans, a warning a minute and a count, never an answer: what does not fit the queue is dropped. The end of the
//! process waits [`FLUSH_TIME`] at most, and never beyond the drain deadline.
//!
//! **Left to others.** Sampling and enriching: that is what a collector is for. Its credentials are taken from
//! `OTEL_EXPORTER_OTLP_HEADERS`, more about the process from `OTEL_RESOURCE_ATTRIBUTES`.

mod collector;

use std::time::{Duration, Instant, SystemTime};

use http::StatusCode;
use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId,
    TraceState, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider,
};

use self::collector::Collector;
use crate::config::Otel;
use crate::normalise::{masked, traceparent};
use crate::postback::Postback;

/// Spans that wait for the collector, at most: about 1 MiB.
pub const QUEUE_SPANS: usize = 2048;

/// Spans of one export.
const BATCH_SPANS: usize = 512;

/// How long a span waits for others to go with.
const EXPORT_EVERY: Duration = Duration::from_secs(1);

/// How long one export may take, retries included.
const EXPORT_TIME: Duration = Duration::from_secs(5);

/// How long the end of the process waits for the last spans.
pub const FLUSH_TIME: Duration = Duration::from_secs(2);

/// Where spans go out.
pub struct Outlet {
    exporter: SpanExporter,
    service_name: String,
}

/// Makes spans and sends them. Cheap to clone.
#[derive(Clone)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// Traces were asked for and cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("otel.endpoint: {0}")]
pub struct TracesError(String);

/// How a postback ended that was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// `accepted`, or the label of the cause it was refused for.
    pub(crate) label: &'static str,
    /// The status of the answer.
    pub(crate) status: StatusCode,
}

/// A postback under way. Dropped without an outcome, it was abandoned: its client went away.
pub(crate) struct Underway<'t> {
    traces: &'t Traces,
    parent: Option<SpanContext>,
    source: &'static str,
    began: SystemTime,
    outcome: Option<Outcome>,
}

impl Outlet {
    /// The way to the collector of the configuration; none without one. Must run inside a tokio runtime, which the exports
    /// use. Connects to nothing yet.
    ///
    /// # Errors
    /// The client cannot be made, as for https on a system without root certificates.
    pub fn open(otel: &Otel) -> Result<Option<Self>, TracesError> {
        let Some(endpoint) = &otel.endpoint else {
            return Ok(None);
        };
        let collector = Collector::new(endpoint).map_err(|error| TracesError(error.to_string()))?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(collector)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(collector::traces_url(endpoint))
            .with_timeout(EXPORT_TIME)
            .build()
            .map_err(|error| TracesError(error.to_string()))?;
        Ok(Some(Self {
            exporter,
            service_name: otel.service_name.clone(),
        }))
    }
}

impl Traces {
    /// Makes the spans of this replica, to go out there.
    pub fn start(outlet: Outlet, instance: &str) -> Self {
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE_SPANS)
            .with_max_export_batch_size(BATCH_SPANS)
            .with_scheduled_delay(EXPORT_EVERY)
            .build();
        let resource = Resource::builder()
            .with_service_name(outlet.service_name)
            .with_attributes([
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("service.instance.id", instance.to_owned()),
            ])
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(
                BatchSpanProcessor::builder(outlet.exporter)
                    .with_batch_config(batches)
                    .build(),
            )
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
            .with_resource(resource)
            .build();
        Self {
            tracer: provider.tracer("concur-bridge"),
            provider,
        }
    }

    /// A postback begins to be kept; `began` is when its head was complete.
    pub(crate) fn begin(&self, postback: &Postback, began: Instant) -> Underway<'_> {
        Underway {
            traces: self,
            parent: parent_of(postback),
            source: postback.dialect.label(),
            began: SystemTime::now() - began.elapsed(),
            outcome: None,
        }
    }

    /// Sends what waits, until `deadline` and for [`FLUSH_TIME`] at most. No span is made afterwards.
    pub async fn close(self, deadline: Instant) {
        let time = flush_time(Instant::now(), deadline);
        if !time.is_zero() {
            self.close_within(time).await;
        }
    }

    async fn close_within(self, time: Duration) {
        // It blocks; the export itself needs the runtime meanwhile.
        let closed =
            tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(time)).await;
        if let Ok(Err(error)) = closed {
            tracing::warn!(%error, "the last traces did not reach the collector");
        }
    }
}

impl Underway<'_> {
    /// The postback was answered.
    pub(crate) fn end(mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        let tracer = &self.traces.tracer;
        let label = self.outcome.map_or("abandoned", |outcome| outcome.label);
        let mut attributes = vec![
            KeyValue::new("http.request.method", "POST"),
            KeyValue::new("concur_bridge.source", self.source),
            KeyValue::new("concur_bridge.outcome", label),
        ];
        let status = self.outcome.map(|outcome| outcome.status);
        attributes.extend(
            status.map(|status| {
                KeyValue::new("http.response.status_code", i64::from(status.as_u16()))
            }),
        );
        let parent = match self.parent.take() {
            Some(parent) => Context::new().with_remote_span_context(parent),
            None => Context::new(),
        };
        let mut span = tracer
            .span_builder("postback")
            .with_kind(SpanKind::Server)
            .with_start_time(self.began)
            .with_attributes(attributes)
            .start_with_context(tracer, &parent);
        if status.is_some_and(|status| status.is_server_error()) {
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

/// How long the last spans may take when the process must have ended at `deadline`.
fn flush_time(now: Instant, deadline: Instant) -> Duration {
    FLUSH_TIME.min(deadline.saturating_duration_since(now))
}

/// The span that the request says it belongs to. One that holds the request's token is none, as it is for the event.
fn parent_of(postback: &Postback) -> Option<SpanContext> {
    let header = traceparent::of(&postback.headers)?;
    if masked(postback, header.as_bytes()) != header {
        return None;
    }
    let mut parts = header.split('-').skip(1);
    let context = SpanContext::new(
        TraceId::from_hex(parts.next()?).ok()?,
        SpanId::from_hex(parts.next()?).ok()?,
        TraceFlags::new(u8::from_str_radix(parts.next()?, 16).ok()?),
        true,
        TraceState::NONE,
    );
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests;
