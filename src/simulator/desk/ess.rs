//! The APIs that come with ESS: tokens by client_credentials, subscriptions, and the v4 resources that events point to.
//!
//! Any client id and secret get a token, since the simulator cannot know a developer's; every call needs a token that
//! was given.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Desk;
use crate::simulator::ess::Topic;
use crate::simulator::registry::{Filter, Webhook};
use crate::simulator::story::TripChange;
use crate::simulator::target::Target;

/// Tokens that are good at a time; the oldest ends first.
const GRANTS: usize = 1_000;

/// The tokens that were given. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Grants(Arc<Mutex<VecDeque<String>>>);

/// An answer that is not what was asked for.
struct Refusal(StatusCode, String);

/// The body of a PUT.
#[derive(Deserialize)]
struct Put {
    id: String,
    topic: String,
    #[serde(default)]
    filter: String,
    #[serde(rename = "webHookConfig")]
    web_hook: PutWebHook,
}

#[derive(Deserialize)]
struct PutWebHook {
    endpoint: String,
}

/// All routes.
pub(super) fn router() -> Router<Desk> {
    Router::new()
        .route("/oauth2/v0/token", post(token))
        .route("/events/v4/topics", get(topics))
        .route("/events/v4/subscriptions", get(list))
        .route("/events/v4/subscriptions/webhook", put(save))
        .route("/events/v4/subscriptions/{id}", get(read).delete(delete))
        .route("/travel/v4/trips/{id}", get(trip))
        .route("/profile/identity/v4/Users/{id}", get(user))
}

async fn token(State(desk): State<Desk>, form: String) -> Response {
    let refuse = |error: &str, words: &str| {
        let body = json!({ "error": error, "error_description": words, "code": 61 });
        (StatusCode::UNAUTHORIZED, Json(body)).into_response()
    };
    if field(&form, "grant_type") != "client_credentials" {
        return refuse(
            "unsupported_grant_type",
            "the simulator knows client_credentials",
        );
    }
    if field(&form, "client_id").is_empty() || field(&form, "client_secret").is_empty() {
        return refuse("invalid_client", "client not found");
    }
    let token = desk.grants.give();
    let body = json!({ "expires_in": "3600", "scope": "app-scopes", "token_type": "Bearer", "access_token": token });
    Json(body).into_response()
}

async fn topics(State(desk): State<Desk>, headers: HeaderMap) -> Result<Json<Value>, Refusal> {
    desk.grants.check(&headers)?;
    Ok(Json(Topic::ALL.iter().map(|topic| topic.name()).collect()))
}

async fn list(State(desk): State<Desk>, headers: HeaderMap) -> Result<Json<Value>, Refusal> {
    desk.grants.check(&headers)?;
    Ok(Json(
        desk.registry
            .webhooks()
            .iter()
            .map(|webhook| as_json(webhook))
            .collect(),
    ))
}

async fn read(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    desk.grants.check(&headers)?;
    let found = desk
        .registry
        .webhooks()
        .into_iter()
        .find(|webhook| webhook.id == id);
    let webhook = found.ok_or_else(|| unknown(&format!("Subscription '{id}' not found")))?;
    // The page shows a list of one.
    Ok(Json(json!([as_json(&webhook)])))
}

async fn save(
    State(desk): State<Desk>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    desk.grants.check(&headers)?;
    let wrong = |words: &str| Refusal(StatusCode::BAD_REQUEST, words.to_owned());
    let put: Put = serde_json::from_slice(&body).map_err(|error| wrong(&error.to_string()))?;
    let is_id = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-')
    };
    if put.id.is_empty() || !put.id.bytes().all(is_id) {
        return Err(wrong("id: lower-case letters, digits, \".\" and \"-\""));
    }
    let topic = Topic::ALL
        .into_iter()
        .find(|topic| topic.name() == put.topic);
    let webhook = Webhook {
        topic: topic.ok_or_else(|| wrong("topic: not one of GET /events/v4/topics"))?,
        filter: Filter::parse(&put.filter)
            .ok_or_else(|| wrong("filter: the simulator reads names and .* joined by |"))?,
        target: Arc::new(
            Target::parse(&put.web_hook.endpoint)
                .map_err(|error| wrong(&format!("endpoint: {error}")))?,
        ),
        endpoint: put.web_hook.endpoint,
        id: put.id,
    };
    if !webhook
        .topic
        .event_types()
        .iter()
        .any(|event_type| webhook.filter.wants(event_type))
    {
        return Err(wrong("filter: no event type of the topic passes it"));
    }
    let words = format!("Subscription '{}' saved successfully", webhook.id);
    desk.registry.put(webhook);
    Ok(Json(json!({ "message": words })))
}

async fn delete(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    desk.grants.check(&headers)?;
    if !desk.registry.delete(&id) {
        return Err(unknown(&format!("Subscription '{id}' not found")));
    }
    Ok(Json(
        json!({ "message": format!("Subscription '{id}' marked for deletion") }),
    ))
}

async fn trip(
    State(desk): State<Desk>,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    desk.grants.check(&headers)?;
    let no_trip = || unknown("there is no such trip");
    let trip = desk
        .world
        .trip_number_of_uuid(id)
        .map(|number| desk.world.trip(number))
        .ok_or_else(no_trip)?;
    let state = desk.so_far.of(&trip).ok_or_else(no_trip)?;
    Ok(Json(json!({
        "id": trip.uuid,
        "name": format!("Trip from {} to {}", trip.from.1, trip.to.1),
        "status": if state == TripChange::Cancelled { "CANCELLED" } else { "CONFIRMED" },
        "startDateTime": trip.starts.to_string(),
        "endDateTime": trip.ends().to_string(),
        "userId": desk.world.traveller(trip.traveller).uuid,
    })))
}

async fn user(
    State(desk): State<Desk>,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    desk.grants.check(&headers)?;
    let user = desk
        .world
        .traveller_by_uuid(id)
        .ok_or_else(|| unknown("there is no such user"))?;
    Ok(Json(json!({
        "id": user.uuid,
        "userName": user.login,
        "active": true,
        "name": { "givenName": user.first_name, "familyName": user.last_name },
    })))
}

impl Grants {
    fn give(&self) -> String {
        let token = format!("simulated.{}", Uuid::new_v4().simple());
        let mut grants = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if grants.len() >= GRANTS {
            grants.pop_front();
        }
        grants.push_back(token.clone());
        token
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let refusal = || {
            Refusal(
                StatusCode::UNAUTHORIZED,
                "a Bearer token of POST /oauth2/v0/token is required".to_owned(),
            )
        };
        let value = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .ok_or_else(refusal)?;
        let (scheme, token) = value.split_once(' ').ok_or_else(refusal)?;
        let grants = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_given = scheme.eq_ignore_ascii_case("Bearer")
            && grants.iter().any(|grant| grant == token.trim());
        if is_given { Ok(()) } else { Err(refusal()) }
    }
}

/// A field of a form, as it was sent; empty when it was not. Nothing that is compared here needs encoding.
fn field<'a>(form: &'a str, name: &str) -> &'a str {
    form.split('&')
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
        .unwrap_or_default()
}

/// A subscription as the page shows one.
fn as_json(webhook: &Webhook) -> Value {
    json!({
        "id": webhook.id,
        "topic": webhook.topic.name(),
        "filter": webhook.filter.as_str(),
        "webHookConfig": { "endpoint": webhook.endpoint },
        "applicationId": "dabd27f0-23e7-415d-b5e5-19a7dbe4fb4d",
        "scope": "",
        "groups": [],
        "companyIds": [],
    })
}

fn unknown(words: &str) -> Refusal {
    Refusal(StatusCode::NOT_FOUND, words.to_owned())
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "message": self.1 }))).into_response()
    }
}
