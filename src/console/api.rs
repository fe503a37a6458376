//! The console's JSON, under `/api/v1/`.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};

use super::Console;
use crate::health::{Readiness, oldest_seconds};

pub(super) fn router() -> Router<Console> {
    Router::new().route("/status", get(status))
}

/// A problem document (RFC 9457).
pub(super) fn problem(status: StatusCode, detail: Option<String>) -> Response {
    let mut body = json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or("Error"),
        "status": status.as_u16(),
    });
    if let Some(detail) = detail {
        body["detail"] = Value::String(detail);
    }
    let mut response = (status, Json(body)).into_response();
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    response
}

/// The state of the bridge at one moment.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    version: &'static str,
    readiness: Readiness,
    alarms: Vec<Alarm>,
    last_kafka_error: Option<String>,
    figures: Value,
}

#[derive(Serialize)]
struct Alarm {
    code: &'static str,
    text: String,
}

async fn status(State(console): State<Console>) -> Json<Status> {
    let health = &console.health;
    let figures = match &health.journal {
        Some(journal) => {
            let status = journal.status();
            json!({
                "instance": journal.instance(),
                "journal": journal.uuid(),
                "durable_position": status.durable.0,
                "published_position": status.published.0,
                "backlog_records": status.backlog_records,
                "backlog_bytes": status.backlog_bytes,
                "oldest_unpublished_seconds": oldest_seconds(&status).round(),
                "used_bytes": status.used_bytes,
                "free_bytes": status.free_bytes,
                "quarantine_bytes": status.quarantine_bytes,
                "kafka_up": health.publish.kafka_up(),
            })
        }
        None => json!({ "kafka_up": health.publish.kafka_up() }),
    };
    Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        readiness: health.readiness(),
        alarms: health
            .publish
            .degraded()
            .into_iter()
            .map(|(degraded, text)| Alarm {
                code: degraded.code(),
                text,
            })
            .collect(),
        last_kafka_error: health.publish.last_error(),
        figures,
    })
}
