//! The envelope of an ESS delivery, taken apart.

use serde_json::{Map, Value};

/// The members of the envelope. Nothing is required, nothing is lost.
pub(super) struct Envelope {
    pub(super) id: Option<Value>,
    pub(super) correlation_id: Option<String>,
    pub(super) event_type: Option<String>,
    pub(super) topic: Option<String>,
    pub(super) time_stamp: Option<String>,
    pub(super) subtopic: Option<String>,
    pub(super) facts: Option<Value>,
    /// Members that the format does not define.
    pub(super) extra: Map<String, Value>,
}

impl Envelope {
    /// Takes an object apart.
    pub(super) fn read(mut members: Map<String, Value>) -> Self {
        // `shift_remove` keeps the order of the members that stay.
        let mut take = |name: &str| members.shift_remove(name);
        Self {
            id: take("id"),
            correlation_id: take("correlationId").and_then(text),
            event_type: take("eventType").and_then(text),
            topic: take("topic").and_then(text),
            time_stamp: take("timeStamp").and_then(text),
            subtopic: take("subtopic").and_then(text),
            facts: take("facts"),
            extra: members,
        }
    }

    /// The sender's id, when it is a text or a number.
    pub(super) fn text_id(&self) -> Option<String> {
        self.id.as_ref().and_then(scalar)
    }

    /// An id in `facts`, when it is a text or a number.
    pub(super) fn fact(&self, name: &str) -> Option<String> {
        self.facts.as_ref()?.get(name).and_then(scalar)
    }

    /// `facts.attributes`, as sent.
    pub(super) fn changed_attributes(&self) -> Option<Value> {
        self.facts.as_ref()?.get("attributes").cloned()
    }

    /// `facts.hrefs.v4`: the trip in the Itinerary v4 API.
    pub(super) fn trip_uri(&self) -> Option<&str> {
        uri(self.facts.as_ref()?.get("hrefs")?.get("v4")?)
    }

    /// `facts.userHref`: the user in the Identity v4 API.
    pub(super) fn user_uri(&self) -> Option<&str> {
        uri(self.facts.as_ref()?.get("userHref")?)
    }
}

/// A member that should be a text: as it is, or as its JSON text.
fn text(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text).filter(|text| !text.is_empty()),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Some(value.to_string())
        }
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn uri(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}
