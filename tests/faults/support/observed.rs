//! One message as a consumer reads it, judged alone: is it a valid event of its schema, do its fields, key, headers and
//! sealed token say what was sent?

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::failure::{Doing, Failure, Outcome};
use super::sender::{Id, parse_id};
use super::traffic::{self, Tag};

/// A message, as any client hands it out.
pub struct Message<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The headers.
    pub headers: HashMap<&'a str, &'a [u8]>,
    /// The value.
    pub payload: &'a [u8],
}

/// What the oracle keeps of a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// Topic, partition and offset.
    pub place: (String, i32, i64),
    /// The event's id; none when it is no UUID.
    pub id: Option<Id>,
    /// The postback it stems from; none when it names none.
    pub tag: Option<Tag>,
    /// `concur-bridge-position`: the journal and the sequence number. None in stateless mode.
    pub position: Option<(u128, u64)>,
    /// Why the request was quarantined, when this is a quarantined request.
    pub quarantined: Option<String>,
    /// All that is wrong with it.
    pub faults: Vec<String>,
}

/// What is needed to judge a message.
#[derive(Default)]
pub struct Inspector {
    /// JSON Schemas by `dataschema`; a schema that is missing is a fault of the message.
    pub schemas: HashMap<String, jsonschema::Validator>,
    /// The keys that open `token.jwe`, by `kid`.
    pub token_keys: HashMap<String, Vec<u8>>,
    /// The first fingerprint key.
    pub fingerprint_key: Vec<u8>,
    /// What was opened before: the bridge seals a token once for many events.
    opened: Mutex<HashMap<String, Vec<u8>>>,
}

impl Inspector {
    /// Reads the bridge's own key files, as a consumer would.
    pub fn with_keys(token_key_file: &str, fingerprint_key_file: &str) -> Outcome<Self> {
        let keys = key_set(token_key_file).doing("reading the token keys")?;
        let fingerprint = key_set(fingerprint_key_file).doing("reading the fingerprint key")?;
        Ok(Self {
            schemas: HashMap::new(),
            token_keys: keys.into_iter().collect(),
            fingerprint_key: fingerprint
                .into_iter()
                .next()
                .doing("there is no fingerprint key")?
                .1,
            opened: Mutex::default(),
        })
    }

    /// Judges one message.
    pub fn inspect(&self, message: &Message<'_>) -> Observed {
        let event = serde_json::from_slice(message.payload).unwrap_or(Value::Null);
        let mut observed = observe(message, &event);
        let faults = &mut observed.faults;
        self.check_schema(&event, faults);
        check_envelope(&event, message, faults);
        match observed.tag {
            Some(tag) => self.check_against(tag, &event, message, faults),
            None if observed.quarantined.is_none() => faults.push("names no postback".into()),
            None => {}
        }
        if observed.position.is_none()
            && let Some(header) = message.headers.get("concur-bridge-position")
        {
            let header = String::from_utf8_lossy(header);
            faults.push(format!("bad position header {header:?}"));
        }
        observed
    }

    /// Only what number and order are judged by: cheap enough to keep up with a bridge that drains a backlog.
    pub fn glance(&self, message: &Message<'_>) -> Observed {
        let event = serde_json::from_slice(message.payload).unwrap_or(Value::Null);
        observe(message, &event)
    }

    fn check_schema(&self, event: &Value, faults: &mut Vec<String>) {
        let name = event
            .get("dataschema")
            .and_then(Value::as_str)
            .unwrap_or_default();
        match self.schemas.get(name) {
            None => faults.push(format!("no schema {name:?}")),
            Some(schema) => {
                faults.extend(
                    schema
                        .iter_errors(event)
                        .map(|error| format!("schema: {error} at {}", error.instance_path())),
                );
            }
        }
    }

    fn check_against(
        &self,
        tag: Tag,
        event: &Value,
        message: &Message<'_>,
        faults: &mut Vec<String>,
    ) {
        let expected = traffic::expected(tag);
        let mut compare = |what: &str, found: Option<&Value>, wanted: &Value| {
            if found.unwrap_or(&Value::Null) != wanted {
                faults.push(format!(
                    "{what} is {} instead of {wanted}",
                    found.unwrap_or(&Value::Null)
                ));
            }
        };
        compare("type", event.get("type"), &expected.kind.into());
        compare("source", event.get("source"), &expected.source.into());
        compare(
            "subject",
            event.get("subject"),
            &expected.subject.clone().into(),
        );
        if let Some(id) = expected.id {
            compare("id", event.get("id"), &id.into());
        }
        let data = event.get("data").unwrap_or(&Value::Null);
        for (name, value) in expected.data.as_object().into_iter().flatten() {
            compare(&format!("data.{name}"), data.get(name), value);
        }
        let key = match expected.subject {
            Some(subject) => subject,
            None => self.fingerprint(tag),
        };
        if message.key != Some(key.as_bytes()) {
            faults.push(format!(
                "key is {:?} instead of {key:?}",
                message.key.map(String::from_utf8_lossy)
            ));
        }
        if tag.key.form != traffic::Form::Ess
            && let Err(Failure { text: fault, .. }) = self.check_token(tag, data)
        {
            faults.push(fault);
        }
    }

    fn fingerprint(&self, tag: Tag) -> String {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &self.fingerprint_key);
        URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, traffic::token(tag.key).as_bytes()))
    }

    fn check_token(&self, tag: Tag, data: &Value) -> Outcome {
        let token = data.get("token").doing("data.token is absent")?;
        let text = |name: &str| token.get(name).and_then(Value::as_str);
        if text("fingerprint") != Some(self.fingerprint(tag).as_str()) {
            return Err(Failure::broken(
                "the token's fingerprint is not that of the token sent",
            ));
        }
        let jwe = text("jwe").doing("data.token.jwe is absent")?;
        let clear = self.open(jwe).doing("opening data.token.jwe")?;
        if clear != traffic::token(tag.key).as_bytes() {
            return Err(Failure::broken("the sealed token is not the one sent"));
        }
        Ok(())
    }

    fn open(&self, jwe: &str) -> Outcome<Vec<u8>> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(clear) = opened.get(jwe) {
            return Ok(clear.clone());
        }
        let header = jwe.split('.').next().unwrap_or_default();
        let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header)?)?;
        let kid = header.get("kid").and_then(Value::as_str).doing("no kid")?;
        let key = self.token_keys.get(kid).doing(format!("no key {kid:?}"))?;
        let decrypter = josekit::jwe::Dir.decrypter_from_bytes(key)?;
        let clear = josekit::jwe::deserialize_compact(jwe, &decrypter)?.0;
        opened.insert(jwe.to_owned(), clear.clone());
        Ok(clear)
    }
}

fn observe(message: &Message<'_>, event: &Value) -> Observed {
    let text = |name: &str| event.get(name).and_then(Value::as_str);
    let data = event.get("data").unwrap_or(&Value::Null);
    let reason = || {
        data.get("reason")
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    Observed {
        place: (message.topic.to_owned(), message.partition, message.offset),
        id: text("id").and_then(parse_id),
        tag: tag_of(data),
        position: message
            .headers
            .get("concur-bridge-position")
            .and_then(|header| parse_position(header)),
        quarantined: (text("type") == Some("com.concur.quarantined")).then(|| reason().to_owned()),
        faults: Vec::new(),
    }
}

/// `kid` and bytes of each key of a JWK Set.
fn key_set(file: &str) -> Outcome<Vec<(String, Vec<u8>)>> {
    let set: Value = serde_json::from_str(file)?;
    let keys = set
        .get("keys")
        .and_then(Value::as_array)
        .doing("no JWK Set")?;
    keys.iter()
        .map(|key| {
            let text = |name: &str| key.get(name).and_then(Value::as_str).unwrap_or_default();
            Ok((text("kid").to_owned(), URL_SAFE_NO_PAD.decode(text("k"))?))
        })
        .collect()
}

fn check_envelope(event: &Value, message: &Message<'_>, faults: &mut Vec<String>) {
    for (header, name) in [("ce_id", "id"), ("ce_type", "type")] {
        let found = message.headers.get(header).copied();
        let wanted = event.get(name).and_then(Value::as_str);
        if found != wanted.map(str::as_bytes) {
            faults.push(format!("header {header} is not the event's {name}"));
        }
    }
    let content_type = message
        .headers
        .get("content-type")
        .copied()
        .unwrap_or_default();
    if !content_type.starts_with(b"application/cloudevents+json") {
        faults.push("header content-type is not application/cloudevents+json".into());
    }
    if event.get("specversion").and_then(Value::as_str) != Some("1.0") {
        faults.push("specversion is not 1.0".into());
    }
}

/// The tag of a v1 event is its context, that of an ESS event, whose context is null, is among its facts.
fn tag_of(data: &Value) -> Option<Tag> {
    let context = data.get("context").and_then(Value::as_str);
    let fact = || data.get("facts")?.get("tag")?.as_str();
    context.or_else(fact)?.parse().ok()
}

/// `<instance>/<journal uuid>/<sequence>`
fn parse_position(header: &[u8]) -> Option<(u128, u64)> {
    let mut parts = std::str::from_utf8(header).ok()?.rsplitn(3, '/');
    let sequence = parts.next()?.parse().ok()?;
    Some((parse_id(parts.next()?)?, sequence))
}
