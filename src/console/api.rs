//! The console's JSON, under `/api/v1/`.
//!
//! What reads the journal opens it for reading on a thread of its own, for one short transaction, as any command may.

use axum::extract::{FromRequestParts, Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Console;
use crate::health::{Readiness, oldest_seconds};
use crate::journal::{Fatal, Inspector, OpenError, QuarantineEntry};
use crate::quarantine::{self, Quarantine, QuarantineError};
use crate::record::Position;
use crate::seal::rfc3339_ms;

/// Entries of one answer at most.
const MOST: usize = 1000;

/// Bytes of records read for one answer.
const MOST_BYTES: usize = 16 << 20;

pub(super) fn router() -> Router<Console> {
    Router::new()
        .route("/status", get(status))
        .route("/records", get(records))
        .route("/quarantine", get(quarantined))
        .route("/quarantine/{id}", get(quarantined_one))
        .route("/quarantine/{id}/requeue", post(requeue))
        .route("/quarantine/{id}/discard", post(discard))
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

/// Why a call failed.
struct Failed(QuarantineError);

impl<E: Into<QuarantineError>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let status = match &self.0 {
            QuarantineError::Unknown => StatusCode::NOT_FOUND,
            QuarantineError::NotARequest
            | QuarantineError::StillMalformed(_)
            | QuarantineError::Sealed(_) => StatusCode::CONFLICT,
            QuarantineError::Append(_) | QuarantineError::Journal(_) | QuarantineError::Seal(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        problem(status, Some(self.0.to_string()))
    }
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
    let mut figures = json!({ "kafka_up": health.publish.kafka_up() });
    if let Some(journal) = &health.journal {
        let status = journal.status();
        figures = json!({
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
        });
    }
    let alarm = |(degraded, text): (crate::publish::Degraded, String)| Alarm {
        code: degraded.code(),
        text,
    };
    Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        readiness: health.readiness(),
        alarms: health.publish.degraded().into_iter().map(alarm).collect(),
        last_kafka_error: health.publish.last_error(),
        figures,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    #[serde(default)]
    after: u64,
    #[serde(default = "Page::usual")]
    limit: usize,
    /// The newest so many instead of those beyond `after`.
    newest: Option<u64>,
}

impl Page {
    fn usual() -> usize {
        100
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Page {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(page)) => Ok(page),
            Err(refused) => Err(problem(StatusCode::BAD_REQUEST, Some(refused.body_text()))),
        }
    }
}

async fn records(State(console): State<Console>, page: Page) -> Result<Json<Value>, Failed> {
    let last = console
        .health
        .journal
        .as_ref()
        .map_or(0, |journal| journal.status().durable.0);
    let after = page
        .newest
        .map_or(page.after, |newest| last.saturating_sub(newest));
    let limit = page
        .newest
        .map_or(page.limit, |newest| usize::try_from(newest).unwrap_or(MOST))
        .min(MOST);
    let placed = inspect(&console, move |inspector| {
        Ok(inspector.read(Position(after), limit, MOST_BYTES)?)
    })
    .await?;
    let mut records: Vec<_> = placed
        .iter()
        .map(|placed| {
            json!({
                "position": placed.position.0,
                "receivedAt": rfc3339_ms(placed.record.received_at),
                "type": placed.record.kind.as_str(),
                "key": placed.record.key,
                "id": placed.record.id,
            })
        })
        .collect();
    if page.newest.is_some() {
        records.reverse();
    }
    Ok(Json(json!({ "records": records })))
}

async fn quarantined(State(console): State<Console>, page: Page) -> Result<Json<Value>, Failed> {
    let (after, limit) = (Position(page.after), page.limit.min(MOST));
    let entries = inspect(&console, move |inspector| {
        Ok(quarantine::list(&inspector, after, limit)?)
    })
    .await?;
    Ok(Json(json!({ "entries": entries })))
}

async fn quarantined_one(
    State(console): State<Console>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Failed> {
    let entry = find(&console, id).await?;
    let mut shown = json!(quarantine::Listed::of(&entry));
    if let Ok(postback) = quarantine::open(&entry, console.sealer.vault()) {
        shown["request"] = Value::String(quarantine::shown(&postback, false));
    }
    Ok(Json(shown))
}

async fn requeue(
    State(console): State<Console>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Failed> {
    let entry = find(&console, id).await?;
    let event_id = actions(&console)?.requeue(&entry).await?;
    Ok(Json(json!({ "id": entry.record.id, "eventId": event_id })))
}

async fn discard(
    State(console): State<Console>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Failed> {
    let entry = find(&console, id).await?;
    actions(&console)?.discard(&entry).await?;
    Ok(Json(json!({ "id": entry.record.id })))
}

async fn find(console: &Console, id: String) -> Result<QuarantineEntry, Failed> {
    inspect(console, move |inspector| quarantine::find(&inspector, &id)).await
}

fn actions(console: &Console) -> Result<&Quarantine, Failed> {
    console
        .quarantine
        .as_ref()
        .ok_or(Failed(QuarantineError::Unknown))
}

/// Looks into the journal on a thread that may wait for the disk. Without a journal nothing is found.
async fn inspect<T: Send + 'static>(
    console: &Console,
    look: impl FnOnce(Inspector) -> Result<T, QuarantineError> + Send + 'static,
) -> Result<T, Failed> {
    if console.health.journal.is_none() {
        return Err(Failed(QuarantineError::Unknown));
    }
    let directory = console.journal_dir.clone();
    let looked = tokio::task::spawn_blocking(move || {
        let inspector = Inspector::open(&directory).map_err(|error| {
            QuarantineError::Journal(match error {
                OpenError::Fatal(fatal) => fatal,
                other => Fatal::Failed(other.to_string().into()),
            })
        })?;
        look(inspector)
    });
    match looked.await {
        Ok(result) => result.map_err(Failed),
        Err(error) => Err(Failed(QuarantineError::Journal(Fatal::Failed(
            error.to_string().into(),
        )))),
    }
}
