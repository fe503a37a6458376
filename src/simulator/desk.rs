//! Concur's HTTP side: the subscription API and the resources that postbacks point to.
//!
//! Any non-empty token may subscribe, since the simulator cannot know a developer's; but a trip or a profile is served
//! only to the token that its postback carried: the traveller's own, or their company's.

mod ess;

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};

use super::documents;
use super::registry::Registry;
use super::story::SoFar;
use super::world::World;
use crate::concur::notifications::{Change, Feature, Level};

#[derive(Clone)]
struct Desk {
    world: World,
    so_far: Arc<SoFar>,
    registry: Registry,
    grants: ess::Grants,
}

/// An answer that is not what was asked for.
enum Refusal {
    NoToken,
    WrongToken,
    Unknown(&'static str),
    Wrong(&'static str),
}

type Parameters = Query<HashMap<String, String>>;

/// All routes.
pub(super) fn router(world: World, so_far: Arc<SoFar>, registry: Registry) -> Router {
    Router::new()
        .route("/api/{level}/v1.0/{change}", post(change_notification))
        .route("/api/travel/trip/v1.1/{id}", get(trip))
        .route("/travel/trip/v1.1/{id}", get(trip))
        .route("/api/travelprofile/v1.0/profile", get(profile))
        .route("/api/travelprofile/v2.0/profile", get(profile))
        .merge(ess::router())
        .fallback(async || Refusal::Unknown("there is no such resource"))
        .with_state(Desk {
            world,
            so_far,
            registry,
            grants: ess::Grants::default(),
        })
}

async fn change_notification(
    State(desk): State<Desk>,
    Path((level, change)): Path<(String, String)>,
    Query(parameters): Parameters,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    token(&headers)?;
    let level = match level.as_str() {
        "company" => Level::Company,
        // The page of the user level shows both.
        "user" | "travelprofile" => Level::User,
        _ => return Err(Refusal::Unknown("there is no such level")),
    };
    let change = [Change::Subscribe, Change::Unsubscribe]
        .into_iter()
        .find(|other| other.name() == change);
    let change = change.ok_or(Refusal::Unknown("there is no such call"))?;
    let kind = parameters
        .get("type")
        .ok_or(Refusal::Wrong("the parameter type is missing"))?;
    let feature = Feature::ALL
        .into_iter()
        .find(|feature| feature.name().eq_ignore_ascii_case(kind));
    let feature = feature.ok_or(Refusal::Wrong("type must be itinerary, fop or profile"))?;
    desk.registry.change_v1(change, level, feature);
    Ok(StatusCode::OK.into_response())
}

async fn trip(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let token = token(&headers)?;
    let trip = desk
        .world
        .trip_number(&id)
        .map(|number| desk.world.trip(number))
        .ok_or(NO_TRIP)?;
    let state = desk.so_far.of(&trip).ok_or(NO_TRIP)?;
    let traveller = desk.world.traveller(trip.traveller);
    if !desk.world.may_read(token, &traveller) {
        return Err(Refusal::WrongToken);
    }
    Ok(xml(
        StatusCode::OK,
        documents::itinerary(&trip, &traveller, state, &own_base(&headers)),
    ))
}

async fn profile(
    State(desk): State<Desk>,
    Query(parameters): Parameters,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let token = token(&headers)?;
    let traveller = match (
        parameters.get("userid_type").map(String::as_str),
        parameters.get("userid_value"),
    ) {
        (None, None) => desk
            .world
            .traveller_by_token(token)
            .ok_or(Refusal::WrongToken)?,
        (Some("login"), Some(login)) => desk
            .world
            .traveller_by_login(login)
            .ok_or(Refusal::Unknown("there is no such user"))?,
        _ => {
            return Err(Refusal::Wrong(
                "userid_type must be login and come with userid_value",
            ));
        }
    };
    if !desk.world.may_read(token, &traveller) {
        return Err(Refusal::WrongToken);
    }
    let company = desk.world.company(traveller.company);
    Ok(xml(
        StatusCode::OK,
        documents::profile(&traveller, &company),
    ))
}

const NO_TRIP: Refusal = Refusal::Unknown("there is no such trip");

/// The token of `Authorization: OAuth …`.
fn token(headers: &HeaderMap) -> Result<&str, Refusal> {
    let (scheme, token) = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .ok_or(Refusal::NoToken)?;
    let token = token.trim();
    if scheme.eq_ignore_ascii_case("OAuth") && !token.is_empty() {
        Ok(token)
    } else {
        Err(Refusal::NoToken)
    }
}

/// Where the caller found the simulator.
fn own_base(headers: &HeaderMap) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    format!("http://{}", host.unwrap_or("localhost"))
}

fn xml(status: StatusCode, document: String) -> Response {
    (status, [(CONTENT_TYPE, "application/xml")], document).into_response()
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, message) = match self {
            Self::NoToken => (
                StatusCode::UNAUTHORIZED,
                "an Authorization header of scheme OAuth is required",
            ),
            Self::WrongToken => (
                StatusCode::UNAUTHORIZED,
                "the token is not valid for this resource",
            ),
            Self::Unknown(message) => (StatusCode::NOT_FOUND, message),
            Self::Wrong(message) => (StatusCode::BAD_REQUEST, message),
        };
        let mut response = xml(status, documents::error(message));
        if status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(WWW_AUTHENTICATE, http::HeaderValue::from_static("OAuth"));
        }
        response
    }
}
