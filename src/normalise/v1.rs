//! v1 postbacks, company and user level: query parameters, and an XML body for itineraries.
//!
//! **Read from the query**: `type` decides what it is about, `oauth_token_key` wins over the token of an
//! `Authorization: OAuth` header, `userid_*` is a user only when both halves are there. From the body: a Notification.
//!
//! **Chosen where the contract is silent.**
//! - A fop or profile body that is a Notification fills `eventType`, `eventDateTime`, `objectUri` and `context`; its
//!   `TripId` and every other element go to `extra`. One that is not, for whatever reason (no XML, two roots, a
//!   DOCTYPE), is kept sealed as `rawBody`: the news, in the query, is good without it. Blanks are no body.
//! - `ObjectType` says again what `type` said, so it is dropped; when it says something else it is kept in `extra`.
//! - A `charset` of the Content-Type other than UTF-8 counts only for a body with bytes beyond ASCII, in which case
//!   the two contradict each other and the body is not readable.
//! - A token header that is not UTF-8 is malformed when it is the token, and ignored beside a token in the query.

use serde_json::Value;

use super::notification::{Notification, is_utf8};
use super::query::Query;
use super::redact::{self, Secrets};
use super::{Malformed, Reason, Rules, blank, object_uri, traceparent};
use crate::event::data::{Fop, Itinerary, Profile, User};
use crate::event::{Data, Event, EventType, Key, Source};
use crate::postback::Postback;
use crate::secret::Token;

/// The event that a v1 postback announces.
///
/// # Errors
/// What the query or an itinerary's body has wrong, `missing_identity`, or `too_complex` for too many tokens.
pub(super) fn normalise(postback: &Postback, rules: &Rules) -> Result<Event, Malformed> {
    let query = Query::parse(&postback.query)?;
    let kind = query
        .kind
        .as_deref()
        .ok_or_else(|| Malformed::new(Reason::MissingType, "the query has no `type`"))?;
    let subject = [Subject::Itinerary, Subject::Fop, Subject::Profile]
        .into_iter()
        .find(|subject| kind.eq_ignore_ascii_case(subject.name()))
        .ok_or_else(|| {
            Malformed::new(
                Reason::UnknownType,
                "`type` is none of itinerary, fop, profile",
            )
        })?;
    let credentials = postback.oauth_credentials();
    let header_token = credentials.map(std::str::from_utf8).transpose();
    let token = match (query.token.as_deref(), header_token) {
        (Some(token), _) => Some(token),
        (None, Ok(token)) => token.filter(|token| !token.is_empty()),
        (None, Err(_)) => {
            return Err(Malformed::new(
                Reason::BadUtf8,
                "the token of the `Authorization` header is not UTF-8",
            ));
        }
    };
    // What is a token only to a more tolerant reader is none to this event, and stays out of it all the same.
    let others = redact::tokens_of(postback)?;
    let secrets = Secrets::new(token.into_iter().chain(others.iter().map(String::as_str)));
    let names_nobody = query.user_id_type.is_none() && query.user_id_value.is_none();
    let by_user = credentials.is_some() || (names_nobody && subject != Subject::Fop);
    let user = match (query.user_id_type, query.user_id_value) {
        (Some(id_type), Some(id_value)) => Some(User {
            id_type: id_type.into_owned(),
            id_value: id_value.into_owned(),
        }),
        _ => None,
    };
    let said = Said {
        has_token: token.is_some(),
        user,
        rules,
    };
    let news = match subject {
        Subject::Itinerary => said.itinerary(notification(postback)?)?,
        Subject::Fop => said.fop(postback)?,
        Subject::Profile => said.profile(postback)?,
    };
    let mut event = Event {
        kind: news.kind,
        source: if by_user {
            Source::User
        } else {
            Source::Company
        },
        subject: news.subject,
        key: news.key,
        received_at: postback.received_at,
        token: token.map(|token| Token::new(token.to_owned())),
        delivery: None,
        correlation_id: None,
        traceparent: traceparent::of(&postback.headers).map(str::to_owned),
        raw_body: news.has_raw_body.then(|| postback.body.clone()),
        unknown_parameters: query.unknown,
        data: news.data,
    };
    secrets.clean_event(&mut event, rules);
    Ok(event)
}

/// What a postback is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Itinerary,
    Fop,
    Profile,
}

impl Subject {
    /// The value of `type` and of `ObjectType`, in any case.
    fn name(self) -> &'static str {
        match self {
            Self::Itinerary => "itinerary",
            Self::Fop => "fop",
            Self::Profile => "profile",
        }
    }
}

/// What query and headers said.
struct Said<'a> {
    has_token: bool,
    user: Option<User>,
    rules: &'a Rules,
}

/// The parts of an event that depend on its subject.
struct News {
    kind: EventType,
    subject: Option<String>,
    key: Key,
    data: Data,
    has_raw_body: bool,
}

impl Said<'_> {
    fn itinerary(self, mut body: Notification) -> Result<News, Malformed> {
        let key = body.trip_id.as_ref().or(body.object_uri.as_ref()).cloned();
        let key = Key::Trip(key.ok_or_else(|| {
            Malformed::new(
                Reason::MissingIdentity,
                "the Notification has neither `TripId` nor `ObjectURI`",
            )
        })?);
        keep_object_type(&mut body, Subject::Itinerary);
        let kind = match body.event_type.as_deref() {
            Some(word) if word.eq_ignore_ascii_case("CREATE") => EventType::ItineraryCreated,
            Some(word) if word.eq_ignore_ascii_case("UPDATE") => EventType::ItineraryUpdated,
            Some(word) if word.eq_ignore_ascii_case("CANCEL") => EventType::ItineraryCancelled,
            Some(_) | None => EventType::ItineraryChanged,
        };
        let placed = object_uri::place(body.object_uri, &self.rules.object_uri_hosts);
        Ok(News {
            kind,
            subject: body.trip_id.clone(),
            key,
            data: Data::Itinerary(Box::new(Itinerary {
                event_type: body.event_type,
                event_date_time: body.event_date_time,
                trip_id: body.trip_id,
                object_uri: placed.object_uri,
                object_uri_untrusted: placed.object_uri_untrusted,
                context: body.context,
                user: self.user,
                extra: body.extra,
                ..Itinerary::default()
            })),
            has_raw_body: false,
        })
    }

    fn fop(self, postback: &Postback) -> Result<News, Malformed> {
        if !self.has_token {
            return Err(Malformed::new(
                Reason::MissingIdentity,
                "a fop postback without `oauth_token_key` says nothing",
            ));
        }
        let (body, has_raw_body) = optional_notification(postback, Subject::Fop);
        let placed = object_uri::place(body.object_uri, &self.rules.object_uri_hosts);
        Ok(News {
            kind: if means_update(body.event_type.as_deref()) {
                EventType::FopUpdated
            } else {
                EventType::FopChanged
            },
            subject: None,
            key: Key::TokenFingerprint,
            data: Data::Fop(Box::new(Fop {
                event_type: body.event_type,
                event_date_time: body.event_date_time,
                object_uri: placed.object_uri,
                object_uri_untrusted: placed.object_uri_untrusted,
                context: body.context,
                user: self.user,
                extra: body.extra,
                ..Fop::default()
            })),
            has_raw_body,
        })
    }

    fn profile(self, postback: &Postback) -> Result<News, Malformed> {
        let subject = self.user.as_ref().map(|user| user.id_value.clone());
        if subject.is_none() && !self.has_token {
            return Err(Malformed::new(
                Reason::MissingIdentity,
                "a profile postback with neither a user id nor `oauth_token_key` says nothing",
            ));
        }
        let (body, has_raw_body) = optional_notification(postback, Subject::Profile);
        let placed = object_uri::place(body.object_uri, &self.rules.object_uri_hosts);
        Ok(News {
            kind: if means_update(body.event_type.as_deref()) {
                EventType::ProfileUpdated
            } else {
                EventType::ProfileChanged
            },
            key: subject.clone().map_or(Key::TokenFingerprint, Key::User),
            subject,
            data: Data::Profile(Box::new(Profile {
                event_type: body.event_type,
                event_date_time: body.event_date_time,
                object_uri: placed.object_uri,
                object_uri_untrusted: placed.object_uri_untrusted,
                context: body.context,
                user: self.user,
                extra: body.extra,
                ..Profile::default()
            })),
            has_raw_body,
        })
    }
}

/// A postback without a body, or whose body says no EventType, is the documented form: something was updated.
fn means_update(event_type: Option<&str>) -> bool {
    event_type.is_none_or(|word| word.eq_ignore_ascii_case("UPDATE"))
}

/// The Notification of a fop or profile postback, empty when there is none, and whether there is another body.
fn optional_notification(postback: &Postback, subject: Subject) -> (Notification, bool) {
    let text = postback.body.strip_prefix(b"\xef\xbb\xbf");
    if text.unwrap_or(&postback.body).trim_ascii().is_empty() {
        return (Notification::default(), false);
    }
    let Ok(mut body) = notification(postback) else {
        return (Notification::default(), true);
    };
    keep_object_type(&mut body, subject);
    if let Some(trip_id) = body.trip_id.take() {
        body.extra
            .insert("TripId".to_owned(), Value::String(trip_id));
    }
    (body, false)
}

/// Moves an `ObjectType` that contradicts `type` to the elements that the format does not define.
fn keep_object_type(body: &mut Notification, subject: Subject) {
    if let Some(word) = body.object_type.take()
        && !word.eq_ignore_ascii_case(subject.name())
    {
        body.extra
            .insert("ObjectType".to_owned(), Value::String(word));
    }
}

/// The Notification in the body.
fn notification(postback: &Postback) -> Result<Notification, Malformed> {
    if !postback.body.is_ascii() && declares_other_charset(postback) {
        return Err(Malformed::new(
            Reason::BadUtf8,
            "the Content-Type names another charset than UTF-8",
        ));
    }
    Notification::read(&postback.body)
}

fn declares_other_charset(postback: &Postback) -> bool {
    let Some(value) = postback.headers.get(http::header::CONTENT_TYPE) else {
        return false;
    };
    let value = String::from_utf8_lossy(value.as_bytes());
    value.split(';').skip(1).any(|parameter| {
        parameter.split_once('=').is_some_and(|(name, charset)| {
            name.trim_matches(blank::is_blank)
                .eq_ignore_ascii_case("charset")
                && !is_utf8(charset.trim_matches(|char| blank::is_blank(char) || char == '"'))
        })
    })
}

#[cfg(test)]
mod tests;
