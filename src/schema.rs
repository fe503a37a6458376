//! The public description of what is published: JSON Schemas and an AsyncAPI 3 document, generated from the types that
//! are serialised, so they cannot say anything else than the code does.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

use crate::config::Topics;
use crate::event::{EventType, Stream, data};

/// The JSON Schema (2020-12) of a whole event of this stream, in CloudEvents structured mode.
pub fn event_schema(stream: Stream) -> Value {
    let mut data = data_schema(stream);
    let definitions = data.remove("$defs");
    data.remove("$schema");
    let types: Vec<_> = EventType::ALL
        .into_iter()
        .filter(|kind| kind.stream() == stream)
        .map(EventType::as_str)
        .collect();
    // A record that Kafka refused for its size leaves a stub of the quarantine's type in its own topic.
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": stream.dataschema(),
        "title": format!("concur-bridge {} event", stream.name()),
        "description": "CloudEvents 1.0, structured JSON mode.",
        "type": "object",
        "required": ["specversion", "id", "source", "type", "time", "datacontenttype", "dataschema", "data"],
        "properties": {
            "specversion": { "const": "1.0" },
            "id": { "type": "string", "minLength": 1, "description": "A UUIDv7 for v1, the sender's own id for ESS. Unique together with source." },
            "source": { "type": "string", "format": "uri-reference", "pattern": "^/concur/" },
            "type": { "enum": types },
            "subject": { "type": "string", "description": "The trip id or the user id." },
            "time": { "type": "string", "format": "date-time", "pattern": "^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z$", "description": "When the bridge received it." },
            "datacontenttype": { "const": "application/json" },
            "dataschema": { "const": stream.dataschema() },
            "data": data,
        },
    });
    if let Some(definitions) = definitions {
        schema["$defs"] = definitions;
    }
    schema
}

/// An AsyncAPI 3.0 document of every topic the bridge publishes to, with the names of this configuration.
pub fn asyncapi(topics: &Topics) -> Value {
    let named = [
        (Stream::Itinerary, &topics.itinerary, "the trip id"),
        (Stream::Fop, &topics.fop, "the token's fingerprint"),
        (
            Stream::Profile,
            &topics.profile,
            "the user id, else the token's fingerprint",
        ),
        (
            Stream::Other,
            &topics.other,
            "the trip id, the user id or the event id",
        ),
        (Stream::Quarantine, &topics.quarantine, "none"),
    ];
    let mut channels = json!({});
    let mut operations = json!({});
    let mut messages = json!({});
    for (stream, topic, key) in named {
        let name = stream.name();
        channels[name] = json!({
            "address": topic,
            "messages": { name: { "$ref": format!("#/components/messages/{name}") } },
            "bindings": { "kafka": { "topic": topic } },
        });
        operations[format!("receive-{name}")] = json!({
            "action": "send",
            "channel": { "$ref": format!("#/channels/{name}") },
            "description": "Read with isolation.level=read_committed.",
        });
        messages[name] = json!({
            "name": name,
            "contentType": "application/cloudevents+json",
            "headers": headers_schema(),
            "payload": { "schemaFormat": "application/schema+json;version=draft-2020-12", "schema": event_schema(stream) },
            "bindings": { "kafka": { "key": { "type": "string", "description": key } } },
        });
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "concur-bridge",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "SAP Concur's notifications, normalised, one CloudEvents document a message.",
            "license": { "name": env!("CARGO_PKG_LICENSE") },
        },
        "defaultContentType": "application/cloudevents+json",
        "channels": channels,
        "operations": operations,
        "components": { "messages": messages },
    })
}

fn headers_schema() -> Value {
    json!({
        "type": "object",
        "required": ["content-type", "ce_id", "ce_type"],
        "properties": {
            "content-type": { "const": "application/cloudevents+json" },
            "ce_id": { "type": "string" },
            "ce_type": { "type": "string" },
            "traceparent": { "type": "string", "description": "W3C trace context of the postback, when it had one." },
            "concur-correlation-id": { "type": "string", "description": "ESS only." },
            "concur-bridge-position": { "type": "string", "description": "<instance>/<journal uuid>/<sequence>: contiguous per journal across all topics. Absent with acknowledge_after = \"kafka\"." },
            "concur-bridge-replay": { "type": "string", "description": "Set by `journal replay`." },
        },
    })
}

fn data_schema(stream: Stream) -> serde_json::Map<String, Value> {
    let schema = match stream {
        Stream::Itinerary => schema_of::<data::Itinerary>(),
        Stream::Fop => schema_of::<data::Fop>(),
        Stream::Profile => schema_of::<data::Profile>(),
        Stream::Other => schema_of::<data::Other>(),
        Stream::Quarantine => schema_of::<data::Quarantined>(),
    };
    match schema.to_value() {
        Value::Object(object) => object,
        _ => serde_json::Map::new(),
    }
}

fn schema_of<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator()
        .into_root_schema_for::<T>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stream_has_a_valid_schema_and_asyncapi_names_every_topic() {
        for stream in Stream::ALL {
            jsonschema::meta::validate(&event_schema(stream)).unwrap();
        }
        let itinerary = event_schema(Stream::Itinerary);
        let required = itinerary["properties"]["data"]["required"]
            .as_array()
            .unwrap();
        assert!(
            required.contains(&json!("tripId")) && !required.contains(&json!("objectUri")),
            "{required:?}"
        );
        let config =
            crate::config::Config::parse("[topics]\nfop = 'my.fop'\n", std::iter::empty()).unwrap();
        assert_eq!(
            asyncapi(&config.topics)["channels"]["fop"]["address"],
            "my.fop"
        );
    }
}
