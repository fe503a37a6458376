//! Event Subscription Service v4 webhooks: a JSON envelope around `facts`.
//!
//! The published samples break their own schema (ids that are no UUIDs, a topic by another name, month 13), and the
//! service calls any 4xx final. So the reader carries what came and fails only when there is no JSON object.
//!
//! **Chosen where design and contract are silent.**
//! - Texts are carried as sent, not trimmed. A known member that is no string is carried as its JSON text; `null` and
//!   the empty text are as good as absent. Ids in `facts` are taken when they are texts or numbers.
//! - A number as the envelope's `id` serves as an id, in its digits. An id that cannot serve (absent, empty, over
//!   [`LONGEST_ID`] bytes, with control characters, or holding a token) is in `senderId` as sent; `null` when absent.
//!   Repeats are recognised by it all the same.
//! - `objectUri` of a trip is `facts.hrefs.v4` only: `facts.userHref` leads to a user, not to a trip. For the other
//!   streams it is `facts.hrefs.v4`, else `facts.userHref`.
//! - The last word of the eventType is what follows the last change to an upper-case letter or the last character that
//!   is no letter: `ItineraryCreated`, `DELETE`, `itinerary.updated`. The verb itself counts like its participle.
//! - A topic that was not sent is the empty topic, of the `other` stream.
//! - Members of the envelope that the format does not define are kept in `extra`.
//! - There is no token. If a request carries one all the same (`oauth_token_key`, `Authorization`), it is taken out of
//!   the event like that of a v1 postback, and not kept. The query is not judged: whatever it calls a token is one.

mod envelope;
mod json;

use super::redact::{Secrets, tokens_of};
use super::{Malformed, Rules, object_uri, traceparent};
use crate::event::data::{EssFields, Itinerary, Other, Profile, User};
use crate::event::{Data, Delivery, Event, EventType, Key, Source, Stream};
use crate::postback::Postback;
use envelope::Envelope;

/// Longest sender's id that becomes the event's, in bytes.
const LONGEST_ID: usize = 128;

/// The topics that join the v1 streams. The Identity Change page heads its topic one way and samples it another.
const TOPICS: [(&str, Stream); 4] = [
    ("public.concur.travel.itinerary", Stream::Itinerary),
    ("public.concur.user.travel.profile", Stream::Profile),
    ("public.concur.user.profile.identity", Stream::Profile),
    ("public.concur.profile.identity", Stream::Profile),
];

/// The event that an ESS delivery announces.
///
/// # Errors
/// `bad_utf8`, `bad_json` when the body is not one JSON object, `too_complex` when it is nested too deep or the request
/// names too many tokens.
pub(super) fn normalise(postback: &Postback, rules: &Rules) -> Result<Event, Malformed> {
    let mut envelope = Envelope::read(json::object(&postback.body)?);
    let topic = envelope.topic.take().unwrap_or_default();
    let stream = TOPICS
        .iter()
        .find(|(known, _)| *known == topic)
        .map_or(Stream::Other, |(_, stream)| *stream);
    let kind = kind(stream, envelope.event_type.as_deref());
    let correlation_id = envelope
        .correlation_id
        .take()
        .or_else(|| correlation_header(postback));
    let delivered_id = envelope.text_id();
    let serves = delivered_id.as_deref().is_some_and(can_serve);
    let sender_id = (!serves).then(|| envelope.id.take().unwrap_or_default());
    let trip_id = match stream {
        Stream::Itinerary => envelope.fact("id"),
        _ => None,
    };
    let user_id = envelope.fact("userId");
    let (subject, key) = match (&trip_id, &user_id) {
        (Some(trip_id), _) => (Some(trip_id.clone()), Key::Trip(trip_id.clone())),
        (None, Some(user_id)) => (Some(user_id.clone()), Key::User(user_id.clone())),
        (None, None) => (None, Key::EventId),
    };
    let sha256 = ring::digest::digest(&ring::digest::SHA256, &postback.body);
    let mut digest = [0; 32];
    digest.copy_from_slice(sha256.as_ref());
    let parts = Parts {
        trip_id,
        user: user_id.map(|id_value| User {
            id_type: "uuid".to_owned(),
            id_value,
        }),
        correlation_id: correlation_id.clone(),
        sender_id,
    };
    let mut event = Event {
        kind,
        source: Source::Ess(topic.clone()),
        subject,
        key,
        received_at: postback.received_at,
        token: None,
        delivery: Some(Delivery {
            topic,
            sender_id: delivered_id,
            serves,
            sha256: digest,
        }),
        correlation_id,
        traceparent: traceparent::of(&postback.headers).map(str::to_owned),
        raw_body: None,
        unknown_parameters: 0,
        data: parts.data(stream, envelope, rules),
    };
    // A delivery has no token; a request that carries one all the same must not give it away.
    let tokens = tokens_of(postback)?;
    Secrets::new(tokens.iter().map(String::as_str)).clean_event(&mut event, rules);
    Ok(event)
}

/// What the envelope's parts became, besides those that are taken as they are.
struct Parts {
    trip_id: Option<String>,
    user: Option<User>,
    correlation_id: Option<String>,
    sender_id: Option<serde_json::Value>,
}

impl Parts {
    fn data(self, stream: Stream, envelope: Envelope, rules: &Rules) -> Data {
        let uri = match stream {
            Stream::Itinerary => envelope.trip_uri(),
            _ => envelope.trip_uri().or_else(|| envelope.user_uri()),
        };
        let placed = object_uri::place(uri.map(str::to_owned), &rules.object_uri_hosts);
        let ess = EssFields {
            company_id: envelope.fact("companyId"),
            changed_attributes: envelope.changed_attributes(),
            correlation_id: self.correlation_id,
            subtopic: envelope.subtopic,
            sender_id: self.sender_id,
            facts: envelope.facts,
        };
        match stream {
            Stream::Itinerary => Data::Itinerary(Box::new(Itinerary {
                event_type: envelope.event_type,
                event_date_time: envelope.time_stamp,
                trip_id: self.trip_id,
                object_uri: placed.object_uri,
                object_uri_untrusted: placed.object_uri_untrusted,
                user: self.user,
                ess,
                extra: envelope.extra,
                ..Itinerary::default()
            })),
            Stream::Profile => Data::Profile(Box::new(Profile {
                event_type: envelope.event_type,
                event_date_time: envelope.time_stamp,
                object_uri: placed.object_uri,
                object_uri_untrusted: placed.object_uri_untrusted,
                user: self.user,
                ess,
                extra: envelope.extra,
                ..Profile::default()
            })),
            Stream::Fop | Stream::Other | Stream::Quarantine => Data::Other(Box::new(Other {
                event_type: envelope.event_type,
                event_date_time: envelope.time_stamp,
                object_uri: placed.object_uri,
                object_uri_untrusted: placed.object_uri_untrusted,
                user: self.user,
                ess,
                extra: envelope.extra,
            })),
        }
    }
}

fn kind(stream: Stream, event_type: Option<&str>) -> EventType {
    let word = event_type.map(last_word).unwrap_or_default();
    let is = |words: &[&str]| words.iter().any(|known| word.eq_ignore_ascii_case(known));
    let created = is(&["Created", "Create"]);
    let updated = is(&["Updated", "Update"]);
    let deleted = is(&["Deleted", "Delete"]);
    match stream {
        Stream::Itinerary if created => EventType::ItineraryCreated,
        Stream::Itinerary if updated => EventType::ItineraryUpdated,
        Stream::Itinerary if deleted => EventType::ItineraryDeleted,
        Stream::Itinerary if is(&["Cancelled", "Canceled", "Cancel"]) => {
            EventType::ItineraryCancelled
        }
        // `Aonymized` is how the Concur Itinerary Event page spells it in its table.
        Stream::Itinerary if is(&["Anonymized", "Anonymised", "Aonymized", "Anonymize"]) => {
            EventType::ItineraryAnonymized
        }
        Stream::Itinerary => EventType::ItineraryChanged,
        Stream::Profile if created => EventType::ProfileCreated,
        Stream::Profile if updated => EventType::ProfileUpdated,
        Stream::Profile if deleted => EventType::ProfileDeleted,
        Stream::Profile => EventType::ProfileChanged,
        Stream::Fop | Stream::Other | Stream::Quarantine => EventType::Other,
    }
}

/// The last word of a name in camel case, capitals, or with separators.
fn last_word(name: &str) -> &str {
    let name = name.trim_matches(|char: char| !char.is_ascii_alphabetic());
    let bytes = name.as_bytes();
    let starts_word = |at: usize| {
        let before = bytes[at - 1];
        let begins = bytes[at].is_ascii_uppercase()
            && (!before.is_ascii_uppercase()
                || bytes.get(at + 1).is_some_and(u8::is_ascii_lowercase));
        begins || !before.is_ascii_alphabetic()
    };
    let start = (1..bytes.len())
        .rev()
        .find(|&at| name.is_char_boundary(at) && starts_word(at));
    &name[start.unwrap_or(0)..]
}

/// Whether a sender's id can be the event's.
fn can_serve(id: &str) -> bool {
    !id.is_empty() && id.len() <= LONGEST_ID && !id.chars().any(char::is_control)
}

fn correlation_header(postback: &Postback) -> Option<String> {
    let value = postback.headers.get("concur-correlationid")?;
    let text = std::str::from_utf8(value.as_bytes()).ok()?.trim_ascii();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests;
