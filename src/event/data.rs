//! The public `data` of each stream's events. Field names, order and absence are interface: a change is a new schema
//! version and a CHANGELOG entry.
//!
//! A field that a format always has is present and `null` when it was not sent; a field that only some formats have is
//! absent. `objectUri` and `objectUriUntrusted` never appear together.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The `data` of an event, by stream.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Data {
    /// A trip.
    Itinerary(Box<Itinerary>),
    /// A form of payment.
    Fop(Box<Fop>),
    /// A travel profile.
    Profile(Box<Profile>),
    /// An ESS event of another topic.
    Other(Box<Other>),
}

impl Data {
    /// Where the sealed token goes. ESS events of other topics have no token; theirs is dropped.
    pub(crate) fn set_token(&mut self, token: SealedToken) {
        match self {
            Self::Itinerary(data) => data.token = Some(token),
            Self::Fop(data) => data.token = Some(token),
            Self::Profile(data) => data.token = Some(token),
            Self::Other(_) => {}
        }
    }

    /// Keeps a body that is no Notification. An itinerary without a Notification is malformed, so it has none.
    pub(crate) fn set_raw_body(&mut self, body: RawBody) {
        match self {
            Self::Fop(data) => data.raw_body = Some(body),
            Self::Profile(data) => data.raw_body = Some(body),
            Self::Itinerary(_) | Self::Other(_) => {}
        }
    }

    /// Whose data it is, if the sender said so.
    pub(crate) fn user_mut(&mut self) -> Option<&mut User> {
        match self {
            Self::Itinerary(data) => data.user.as_mut(),
            Self::Fop(data) => data.user.as_mut(),
            Self::Profile(data) => data.user.as_mut(),
            Self::Other(data) => data.user.as_mut(),
        }
    }

    /// What the format does not define.
    pub(crate) fn extra_mut(&mut self) -> &mut Map<String, Value> {
        match self {
            Self::Itinerary(data) => &mut data.extra,
            Self::Fop(data) => &mut data.extra,
            Self::Profile(data) => &mut data.extra,
            Self::Other(data) => &mut data.extra,
        }
    }

    /// What only ESS events have; a fop is never one.
    pub(crate) fn ess_mut(&mut self) -> Option<&mut EssFields> {
        match self {
            Self::Itinerary(data) => Some(&mut data.ess),
            Self::Profile(data) => Some(&mut data.ess),
            Self::Other(data) => Some(&mut data.ess),
            Self::Fop(_) => None,
        }
    }
}

/// The news that a trip changed. Consumers fetch the trip itself from `objectUri` with the token.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Itinerary {
    /// The kind of change as sent, e.g. `CREATE` or `ItineraryCreated`.
    pub event_type: Option<String>,
    /// When it happened, as sent: v1 has no time zone, ESS has one.
    pub event_date_time: Option<String>,
    /// The trip's id.
    pub trip_id: Option<String>,
    /// Where the trip can be fetched: https, an allowed Concur host, default port, no userinfo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_uri: Option<String>,
    /// What was sent as the trip's URI but must not be fetched with a credential: a bare id, or a URL elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_uri_untrusted: Option<String>,
    /// Reserved by Concur for the kind of change.
    pub context: Option<String>,
    /// Whose trip it is.
    pub user: Option<User>,
    /// The OAuth token to fetch the trip with; ESS events have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<SealedToken>,
    /// What only ESS events have.
    #[serde(flatten)]
    pub ess: EssFields,
    /// Elements that the format does not define.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

/// The news that a form of payment changed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fop {
    /// The kind of change as sent, if a body said one.
    pub event_type: Option<String>,
    /// When it happened, as sent, if a body said so.
    pub event_date_time: Option<String>,
    /// Where it can be fetched, if a body said so; see [`Itinerary::object_uri`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_uri: Option<String>,
    /// See [`Itinerary::object_uri_untrusted`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_uri_untrusted: Option<String>,
    /// Reserved by Concur for the kind of change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// Whose form of payment it is, if the request said so.
    pub user: Option<User>,
    /// The OAuth token to fetch it with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<SealedToken>,
    /// A body that is no Notification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_body: Option<RawBody>,
    /// Elements that the format does not define.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

/// The news that a travel profile changed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// The kind of change as sent, if a body said one.
    pub event_type: Option<String>,
    /// When it happened, as sent, if a body said so.
    pub event_date_time: Option<String>,
    /// Where it can be fetched, if the sender said so; see [`Itinerary::object_uri`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_uri: Option<String>,
    /// See [`Itinerary::object_uri_untrusted`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_uri_untrusted: Option<String>,
    /// Reserved by Concur for the kind of change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// Whose profile it is.
    pub user: Option<User>,
    /// The OAuth token to fetch it with; ESS events have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<SealedToken>,
    /// What only ESS events have.
    #[serde(flatten)]
    pub ess: EssFields,
    /// A body that is no Notification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_body: Option<RawBody>,
    /// Elements that the format does not define.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

/// An ESS event of a topic that is neither a trip's nor a profile's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Other {
    /// The kind of change as sent.
    pub event_type: Option<String>,
    /// When it happened, as sent.
    pub event_date_time: Option<String>,
    /// Where the object can be fetched; see [`Itinerary::object_uri`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_uri: Option<String>,
    /// See [`Itinerary::object_uri_untrusted`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_uri_untrusted: Option<String>,
    /// Whose data it is.
    pub user: Option<User>,
    /// What only ESS events have.
    #[serde(flatten)]
    pub ess: EssFields,
    /// Members of the envelope that the format does not define.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

/// What only ESS events have.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EssFields {
    /// `facts.companyId`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub company_id: Option<String>,
    /// `facts.attributes`: which parts changed, as sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_attributes: Option<Value>,
    /// The envelope's correlation id, else that of the header `Concur-Correlationid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The envelope's `subtopic`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subtopic: Option<String>,
    /// The sender's id, where it could not serve as the event's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender_id: Option<Value>,
    /// The envelope's `facts`, whole. Numbers that would come back from JSON as others are strings of what was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Value>,
}

/// How Concur identifies a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// `login` (v1) or `uuid` (ESS).
    pub id_type: String,
    /// The login, an e-mail address as a rule, or the UUID; hashed when `events.user = "hashed"`.
    pub id_value: String,
}

/// The OAuth token as consumers get it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SealedToken {
    /// base64url of HMAC-SHA-256 over the token: the same token has the same fingerprint.
    pub fingerprint: String,
    /// The token as compact JWE, `dir` + A256GCM (`tokens.publish = "encrypted"`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwe: Option<String>,
    /// The token in clear (`tokens.publish = "plain"` only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// A body that is no Notification, kept sealed: it may hold anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RawBody {
    /// Bytes of the body.
    pub size: u64,
    /// Hex SHA-256 of the body.
    pub sha256: String,
    /// The body as compact JWE.
    pub jwe: String,
}

/// The `data` of a quarantined request. Nothing of the request is in clear.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quarantined {
    /// Why, from a closed set.
    pub reason: String,
    /// Why, in words that quote nothing of the request.
    pub detail: String,
    /// When it was received, RFC 3339 UTC.
    pub received_at: String,
    /// `v1` or `ess`.
    pub source: String,
    /// Bytes of the whole request.
    pub size: u64,
    /// The whole request as compact JWE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_request: Option<String>,
}
