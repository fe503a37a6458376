//! Stubs: what Kafka gets in place of a record whose own content cannot go there.
//!
//! Two cases. A record that the broker refuses for its size is replaced by a stub with the same id, key and topic, while
//! the whole record goes to the journal's quarantine. A quarantined request that an operator discarded before it was
//! published has no content left; its stub keeps the sequence of positions without a gap.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use crate::event::data::Quarantined;
use crate::event::{EventType, Source, Stream};
use crate::postback::Dialect;
use crate::record::{Placed, QuarantineFacts, Record};
use crate::seal::rfc3339_ms;

/// The one attribute that a stub takes over from the document.
#[derive(Deserialize)]
struct SourceOf {
    source: String,
}

/// The stand-in for a record that Kafka refuses for its size.
pub(super) fn of_oversized(placed: &Placed) -> Placed {
    let record = &placed.record;
    let facts = QuarantineFacts {
        reason: QuarantineFacts::TOO_LARGE.to_owned(),
        detail: format!(
            "the record is too large for its Kafka topic; the bridge keeps it in the quarantine under position {}",
            placed.position
        ),
        size: record.content.len() as u64,
    };
    let source = serde_json::from_slice(&record.content)
        .map_or_else(|_| source_of(record), |SourceOf { source }| source);
    stub(placed, source, facts)
}

/// The stand-in for a quarantined request whose content is gone.
pub(super) fn of_discarded(placed: &Placed) -> Placed {
    let facts = placed.record.quarantine.clone().unwrap_or(QuarantineFacts {
        reason: QuarantineFacts::DISCARDED.to_owned(),
        detail: "the content is gone".to_owned(),
        size: 0,
    });
    stub(placed, source_of(&placed.record), facts)
}

fn source_of(record: &Record) -> String {
    match &record.ess_topic {
        Some(ess_topic) => Source::Ess(ess_topic.clone()).to_uri(),
        None => Source::Company.to_uri(),
    }
}

fn stub(placed: &Placed, source: String, facts: QuarantineFacts) -> Placed {
    let record = &placed.record;
    let time = rfc3339_ms(record.received_at);
    let dialect = if source.starts_with("/concur/ess/") {
        Dialect::Ess
    } else {
        Dialect::V1
    };
    let data = Quarantined {
        reason: facts.reason.clone(),
        detail: facts.detail.clone(),
        received_at: time.clone(),
        source: dialect.label().to_owned(),
        size: facts.size,
        sealed_request: None,
    };
    let document = json!({
        "specversion": "1.0",
        "id": record.id,
        "source": source,
        "type": EventType::Quarantined.as_str(),
        "time": time,
        "datacontenttype": "application/json",
        "dataschema": Stream::Quarantine.dataschema(),
        "data": data,
    });
    Placed {
        record: Record {
            kind: EventType::Quarantined,
            quarantine: Some(facts),
            content: Bytes::from(document.to_string()),
            ..record.clone()
        },
        ..placed.clone()
    }
}
