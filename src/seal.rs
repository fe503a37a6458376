//! Seal: an [`Event`] and an id become a [`Record`], the CloudEvents document that the journal keeps and Kafka carries.
//!
//! **Promises.** Nothing of the token is left in clear, unless `tokens.publish = "plain"` asks for it; a body or request
//! that may hold the token anywhere is sealed whole, in every mode. With `events.user = "hashed"` no user id is left in
//! `idValue`, subject or key, nor as a value of its own in `facts` or `extra`.
//!
//! **When it fails.** Only when the system gives no randomness: the caller answers 503.
//!
//! **Left to others.** Who chooses the id, and what is done with a sender's id that was taken ([`accept`](crate::accept)).

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::config::UserIds;
use crate::event::data;
use crate::event::{Event, EventType, Key};
use crate::normalise::Malformed;
use crate::postback::{Dialect, Postback};
use crate::record::{QuarantineFacts, Record};
use crate::secret::{SealError, Vault};

/// Seals events with one vault and one way of showing user ids.
#[derive(Clone)]
pub struct Sealer {
    vault: Vault,
    user_ids: UserIds,
}

/// Names of ESS facts that identify a user.
const USER_FACTS: [&str; 2] = ["userId", "loginId"];

/// An event with nothing left in clear that must not be on disk; it lacks only its id.
pub struct SealedEvent {
    /// Without token and raw body, which `data` now has in sealed form.
    event: Event,
    /// `None`: the id that the event will get.
    key: Option<String>,
}

/// A CloudEvents 1.0 document in structured JSON mode. The order of fields is the order in the document.
#[derive(Serialize)]
struct CloudEvent<'a, D> {
    specversion: &'static str,
    id: &'a str,
    source: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    time: &'a str,
    datacontenttype: &'static str,
    dataschema: &'static str,
    data: D,
}

impl Sealer {
    /// A sealer that uses this vault.
    pub fn new(vault: Vault, user_ids: UserIds) -> Self {
        Self { vault, user_ids }
    }

    /// Hides what must not be seen: the token, a body that may hold anything, and user ids when they are to be hashed.
    ///
    /// # Errors
    /// See [`SealError`].
    pub fn seal(&self, mut event: Event) -> Result<SealedEvent, SealError> {
        let sealed_token = event
            .token
            .take()
            .map(|token| self.vault.seal_token(&token))
            .transpose()?;
        if let Some(body) = event.raw_body.take() {
            event.data.set_raw_body(data::RawBody {
                size: body.len() as u64,
                sha256: hex_sha256(&body),
                jwe: self.vault.seal(&body)?,
            });
        }
        if self.user_ids == UserIds::Hashed {
            self.hash_user(&mut event);
        }
        let key = match std::mem::replace(&mut event.key, Key::EventId) {
            Key::Trip(key) | Key::User(key) => Some(key),
            Key::TokenFingerprint => sealed_token.as_ref().map(|token| token.fingerprint.clone()),
            Key::EventId => None,
        };
        if let Some(token) = sealed_token {
            event.data.set_token(token);
        }
        Ok(SealedEvent { event, key })
    }

    /// Writes a malformed request down under `id`, sealed whole.
    ///
    /// # Errors
    /// See [`SealError`].
    pub fn quarantine(
        &self,
        postback: &Postback,
        malformed: &Malformed,
        id: &str,
    ) -> Result<Record, SealError> {
        let wire = postback.to_wire();
        let facts = QuarantineFacts {
            reason: malformed.reason.as_str().to_owned(),
            detail: malformed.detail.clone().into_owned(),
            size: wire.len() as u64,
        };
        let data = data::Quarantined {
            reason: facts.reason.clone(),
            detail: facts.detail.clone(),
            received_at: rfc3339_ms(postback.received_at),
            source: postback.dialect.label().to_owned(),
            size: facts.size,
            sealed_request: Some(self.vault.seal(&wire)?),
        };
        // What a malformed request says of itself is not believed: an ESS topic is not looked for.
        let source = match postback.dialect {
            Dialect::V1 if postback.oauth_credentials().is_some() => "/concur/v1/user",
            Dialect::V1 => "/concur/v1/company",
            Dialect::Ess => "/concur/ess/v4",
        };
        let kind = EventType::Quarantined;
        Ok(Record {
            id: id.to_owned(),
            kind,
            key: None,
            received_at: postback.received_at,
            traceparent: None,
            correlation_id: None,
            ess_topic: None,
            content: document(kind, id, source, None, postback.received_at, &data)?,
            quarantine: Some(facts),
        })
    }

    /// The vault it seals with.
    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    fn hash_user(&self, event: &mut Event) {
        if let Key::User(key) = &mut event.key {
            if event.subject.as_ref() == Some(key) {
                event.subject = Some(self.vault.hash_user(key));
            }
            *key = self.vault.hash_user(key);
        }
        let clear = event.data.user_mut().map(|user| {
            let hashed = self.vault.hash_user(&user.id_value);
            std::mem::replace(&mut user.id_value, hashed)
        });
        if let Some(ess) = event.data.ess_mut() {
            if clear.is_some() && ess.subtopic == clear {
                ess.subtopic = clear.as_deref().map(|id| self.vault.hash_user(id));
            }
            if let Some(facts) = &mut ess.facts {
                self.hash_within(facts, clear.as_deref());
            }
        }
        self.hash_members(event.data.extra_mut(), clear.as_deref());
    }

    /// Hashes the user's id wherever it is a value of its own, and every value whose name says that it is one.
    fn hash_within(&self, value: &mut Value, clear: Option<&str>) {
        match value {
            Value::Object(members) => self.hash_members(members, clear),
            Value::Array(items) => items
                .iter_mut()
                .for_each(|item| self.hash_within(item, clear)),
            Value::String(text) if Some(text.as_str()) == clear => {
                *text = self.vault.hash_user(text)
            }
            Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn hash_members(&self, members: &mut Map<String, Value>, clear: Option<&str>) {
        for (name, value) in members {
            let is_id = USER_FACTS
                .iter()
                .any(|known| known.eq_ignore_ascii_case(name));
            match value {
                Value::String(text) if is_id => *text = self.vault.hash_user(text),
                // An element that was repeated.
                Value::Array(items) if is_id => {
                    for item in items {
                        match item {
                            Value::String(text) => *text = self.vault.hash_user(text),
                            nested => self.hash_within(nested, clear),
                        }
                    }
                }
                nested => self.hash_within(nested, clear),
            }
        }
    }
}

impl SealedEvent {
    /// Says which id the sender gave, because the event itself cannot bear it.
    pub fn set_sender_id(&mut self, sender_id: String) {
        if let Some(ess) = self.event.data.ess_mut() {
            ess.sender_id = Some(Value::String(sender_id));
        }
    }

    /// The event, written down under `id`.
    ///
    /// # Errors
    /// See [`SealError`]; cannot happen for data that came from a request.
    pub fn to_record(&self, id: &str) -> Result<Record, SealError> {
        let Event {
            kind,
            source,
            received_at,
            data,
            ..
        } = &self.event;
        // Where nothing else names the subject, the key is the event's id, and so is the subject.
        let subject =
            self.event
                .subject
                .as_deref()
                .or(if self.key.is_none() { Some(id) } else { None });
        Ok(Record {
            id: id.to_owned(),
            kind: *kind,
            key: Some(self.key.clone().unwrap_or_else(|| id.to_owned())),
            received_at: *received_at,
            traceparent: self.event.traceparent.clone(),
            correlation_id: self.event.correlation_id.clone(),
            ess_topic: source.ess_topic().map(str::to_owned),
            quarantine: None,
            content: document(*kind, id, &source.to_uri(), subject, *received_at, data)?,
        })
    }
}

/// A new event id: UUIDv7, so ids sort by receipt.
pub fn new_id() -> String {
    Uuid::now_v7().to_string()
}

/// RFC 3339 in UTC with milliseconds, as every time in an event is written.
pub fn rfc3339_ms(time: Timestamp) -> String {
    format!("{time:.3}")
}

fn document<D: Serialize>(
    kind: EventType,
    id: &str,
    source: &str,
    subject: Option<&str>,
    received_at: Timestamp,
    data: &D,
) -> Result<Bytes, SealError> {
    let event = CloudEvent {
        specversion: "1.0",
        id,
        source,
        kind: kind.as_str(),
        subject,
        time: &rfc3339_ms(received_at),
        datacontenttype: "application/json",
        dataschema: kind.stream().dataschema(),
        data,
    };
    let mut document = Vec::with_capacity(1024);
    serde_json::to_writer(&mut document, &event)
        .map_err(|error| SealError::new(error.to_string()))?;
    Ok(document.into())
}

fn hex_sha256(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest
        .as_ref()
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}
