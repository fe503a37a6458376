//! Telemetry: logs to stderr and metrics for Prometheus.
//!
//! **Promises.** With `log.format = "json"` every line is one JSON object whose fields are at its top level, whatever the
//! fields hold. Metric labels come from closed sets. Nothing here sees a token: those who log decide what to say, and the
//! types that hold secrets cannot be printed.

use std::io::IsTerminal;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Seconds, from a tenth of a millisecond to ten seconds: an fsync takes 0.2 to 20 ms, an outage of Kafka longer.
const SECONDS: [f64; 16] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

/// Records of one group commit, at most what the journal's queue holds.
const RECORDS: [f64; 15] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0,
    16384.0,
];

/// Sends logs to stderr from now on.
pub fn init_logs(log: &Log) {
    let filter = EnvFilter::try_new(&log.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second call, as in a test that starts two bridges, leaves the first subscriber in place.
    let _ = if logs_json(log.format) {
        builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .try_init()
    } else {
        builder
            .with_ansi(std::io::stderr().is_terminal())
            .try_init()
    };
}

/// Whether the log is one JSON object a line, among which a plain sentence would be a line that nobody can parse.
pub(crate) fn logs_json(format: LogFormat) -> bool {
    match format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    }
}

/// Collects metrics from now on, and gives the handle that renders them.
///
/// # Errors
/// A recorder is installed already.
pub fn init_metrics() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_batch_records".to_owned()), &RECORDS)?
        .install_recorder()?;
    describe();
    let info = [
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("librdkafka", crate::publish::librdkafka_version()),
        ("sqlite", crate::journal::sqlite_version().to_owned()),
    ];
    metrics::gauge!("concur_bridge_build_info", &info[..]).set(1.0);
    Ok(handle)
}

/// What each metric means.
fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_counter!(
        "concur_bridge_ingress_requests_total",
        "Requests answered, by dialect and status."
    );
    describe_histogram!(
        "concur_bridge_ingress_duration_seconds",
        Unit::Seconds,
        "From the end of the head to the answer."
    );
    describe_counter!(
        "concur_bridge_ingress_refusals_total",
        "Requests refused and not kept, by reason."
    );
    describe_gauge!(
        "concur_bridge_ingress_connections",
        Unit::Count,
        "Connections open."
    );
    describe_counter!(
        "concur_bridge_ingress_connections_ended_total",
        "Connections that ended early, by reason."
    );
    describe_counter!(
        "concur_bridge_ingress_tls_handshakes_total",
        "TLS handshakes that succeeded."
    );
    describe_gauge!(
        "concur_bridge_ingress_in_flight_requests",
        Unit::Count,
        "Requests admitted and not answered yet."
    );
    describe_counter!(
        "concur_bridge_ingress_signatures_total",
        "Concur-Signature headers looked at, by what came of it."
    );
    describe_counter!(
        "concur_bridge_ingress_unknown_parameters_total",
        "Query parameters that no contract names."
    );
    describe_counter!(
        "concur_bridge_events_accepted_total",
        "Events made durable, by CloudEvents type."
    );
    describe_counter!(
        "concur_bridge_events_quarantined_total",
        "Malformed requests made durable, by reason."
    );
    describe_counter!(
        "concur_bridge_ess_repeated_total",
        "ESS deliveries answered 200 again without a second event."
    );
    describe_counter!(
        "concur_bridge_ess_id_reused_total",
        "ESS deliveries whose id had come before with other bytes."
    );
    describe_histogram!(
        "concur_bridge_journal_commit_seconds",
        Unit::Seconds,
        "One group commit, fsync included."
    );
    describe_histogram!(
        "concur_bridge_journal_batch_records",
        Unit::Count,
        "Records of one group commit."
    );
    describe_gauge!(
        "concur_bridge_journal_backlog_records",
        Unit::Count,
        "Durable records that Kafka does not have yet."
    );
    describe_gauge!(
        "concur_bridge_journal_backlog_bytes",
        Unit::Bytes,
        "Their bytes."
    );
    describe_gauge!(
        "concur_bridge_journal_oldest_unpublished_seconds",
        Unit::Seconds,
        "Age of the oldest of them."
    );
    describe_gauge!(
        "concur_bridge_journal_used_bytes",
        Unit::Bytes,
        "Bytes the journal takes of its limit."
    );
    describe_gauge!(
        "concur_bridge_journal_quarantine_bytes",
        Unit::Bytes,
        "Bytes of quarantined requests."
    );
    describe_gauge!(
        "concur_bridge_journal_free_bytes",
        Unit::Bytes,
        "What the journal may still grow by."
    );
    describe_counter!(
        "concur_bridge_publish_events_total",
        "Events that Kafka has, by topic."
    );
    describe_histogram!(
        "concur_bridge_publish_duration_seconds",
        Unit::Seconds,
        "One transaction, from the first send to its commit."
    );
    describe_counter!(
        "concur_bridge_publish_errors_total",
        "Errors of publishing, by kind."
    );
    describe_gauge!(
        "concur_bridge_kafka_up",
        "1 while Kafka takes what is published."
    );
    describe_counter!(
        "concur_bridge_traces_export_errors_total",
        "Requests that the collector of traces did not take."
    );
    describe_gauge!(
        "concur_bridge_certificate_expiry_timestamp_seconds",
        Unit::Seconds,
        "When a certificate in use ends, by what it is for."
    );
    describe_counter!(
        "concur_bridge_reloads_total",
        "Files read again after a change, by what they are for."
    );
    describe_gauge!(
        "concur_bridge_reload_failed",
        "1 while a changed file makes no sense and the old one is in force."
    );
    describe_gauge!(
        "concur_bridge_build_info",
        "Always 1; the versions are its labels."
    );
}
