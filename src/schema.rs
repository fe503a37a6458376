//! The public description of what is published: JSON Schemas and an AsyncAPI 3 document, generated from the types that
//! are serialised, so they cannot say anything else than the code does.

use std::collections::BTreeSet;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

use crate::config::{EventsMode, Topics};
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

/// An AsyncAPI 3.0 document of every topic the bridge publishes to, with the names and the mode of this configuration.
pub fn asyncapi(topics: &Topics, mode: EventsMode) -> Value {
    let mut channels = json!({});
    let mut operations = json!({});
    let mut messages = json!({});
    let mut channel = |id: &str, topic: &str, message: &str| {
        channels[id] = json!({
            "address": topic,
            "messages": { message: { "$ref": format!("#/components/messages/{message}") } },
            "bindings": { "kafka": { "topic": topic } },
        });
        operations[format!("receive-{id}")] = json!({
            "action": "send",
            "channel": { "$ref": format!("#/channels/{id}") },
            "description": "Read with isolation.level=read_committed.",
        });
    };
    for stream in Stream::ALL {
        let name = stream.name();
        channel(name, topics.of(stream), name);
        messages[name] = message(stream, mode);
    }
    let routed: BTreeSet<&String> = topics.routes.values().collect();
    for topic in routed {
        let other = Stream::Other.name();
        channel(&format!("{other}.{topic}"), topic, other);
    }
    let word = match mode {
        EventsMode::Structured => "structured",
        EventsMode::Binary => "binary",
    };
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "concur-bridge",
            "version": env!("CARGO_PKG_VERSION"),
            "description": format!("SAP Concur's notifications, normalised, one CloudEvent a message, in {word} mode."),
            "license": { "name": env!("CARGO_PKG_LICENSE") },
        },
        "defaultContentType": content_type(mode),
        "channels": channels,
        "operations": operations,
        "components": { "messages": messages },
    })
}

fn message(stream: Stream, mode: EventsMode) -> Value {
    let key = match stream {
        Stream::Itinerary => {
            "the trip id, else the ObjectURI's text; ESS: else the user id or the event id"
        }
        Stream::Fop => "the token's fingerprint",
        Stream::Profile => "the user id, else the token's fingerprint; ESS: else the event id",
        Stream::Other => "the user id or the event id",
        Stream::Quarantine => "none",
    };
    let payload = match mode {
        EventsMode::Structured => event_schema(stream),
        EventsMode::Binary => Value::Object(data_schema(stream)),
    };
    json!({
        "name": stream.name(),
        "contentType": content_type(mode),
        "headers": headers_schema(mode),
        "payload": { "schemaFormat": "application/schema+json;version=draft-2020-12", "schema": payload },
        "bindings": { "kafka": { "key": { "type": "string", "description": key } } },
    })
}

fn headers_schema(mode: EventsMode) -> Value {
    let mut required = vec!["content-type", "ce_id", "ce_type"];
    let mut properties = json!({
        "content-type": { "const": content_type(mode) },
        "ce_id": { "type": "string" },
        "ce_type": { "type": "string" },
        "traceparent": { "type": "string", "description": "W3C trace context of the postback, when it had one." },
        "concur-correlation-id": { "type": "string", "description": "ESS only." },
        "concur-bridge-position": { "type": "string", "description": "<instance>/<journal uuid>/<sequence>: contiguous per journal across all topics. Absent with acknowledge_after = \"kafka\"." },
        "concur-bridge-replay": { "type": "string", "description": "Set by `journal replay`." },
    });
    if mode == EventsMode::Binary {
        let others = ["ce_specversion", "ce_source", "ce_time", "ce_dataschema"];
        for name in others.into_iter().chain(["ce_subject"]) {
            properties[name] = json!({ "type": "string" });
        }
        required.extend(others);
    }
    json!({ "type": "object", "required": required, "properties": properties })
}

fn content_type(mode: EventsMode) -> &'static str {
    match mode {
        EventsMode::Structured => "application/cloudevents+json",
        EventsMode::Binary => "application/json",
    }
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
    fn every_stream_has_a_valid_schema() {
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
    }

    #[test]
    fn asyncapi_names_every_topic_and_follows_the_mode() {
        let parse = |text| crate::config::Config::parse(text, std::iter::empty()).unwrap();
        let config = parse(
            "[topics]\nfop = 'my.fop'\n[topics.routes]\na = 'my.requests'\nb = 'my.requests'\n[events]\nmode = 'binary'\n",
        );
        let document = asyncapi(&config.topics, config.events.mode);
        let addresses: Vec<&str> = document["channels"]
            .as_object()
            .unwrap()
            .values()
            .map(|channel| channel["address"].as_str().unwrap())
            .collect();
        assert_eq!(
            addresses,
            [
                "concur.itinerary",
                "my.fop",
                "concur.profile",
                "concur.other",
                "concur.quarantine",
                "my.requests",
            ]
        );
        let fop = &document["components"]["messages"]["fop"];
        assert_eq!(fop["contentType"], "application/json");
        assert_eq!(fop["headers"]["properties"]["ce_source"]["type"], "string");
        assert_eq!(
            fop["payload"]["schema"]["properties"].get("specversion"),
            None
        );
        jsonschema::meta::validate(&fop["payload"]["schema"]).unwrap();

        let config = parse("");
        let document = asyncapi(&config.topics, config.events.mode);
        let fop = &document["components"]["messages"]["fop"];
        assert_eq!(fop["contentType"], "application/cloudevents+json");
        assert_eq!(
            fop["payload"]["schema"]["properties"]["specversion"]["const"],
            "1.0"
        );
    }
}
