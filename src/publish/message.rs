//! Record → Message: the last of the four shapes of one notification (Postback → Event → Record → *Message*).
//!
//! A [`Message`] borrows from the record: composing one copies nothing, so a backlog of a million costs no allocation
//! here. In structured mode the value is the CloudEvents document as the journal keeps it; in binary mode the value is
//! its `data`, and every attribute is a `ce_` header (CloudEvents Kafka binding 1.0.2, §3.2).
//!
//! The topic comes from configuration alone: the record's stream, or for ESS topics that are neither a trip's nor a
//! profile's the route that configuration gives that topic. Nothing of a request names a topic.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::config::{EventsMode, Topics};
use crate::event::Stream;
use crate::record::{Placed, Position, Record};

/// The header that says which record of which journal a message is.
pub(super) const POSITION_HEADER: &str = "concur-bridge-position";
/// The header that carries Concur's correlation id of an ESS delivery.
const CORRELATION_HEADER: &str = "concur-correlation-id";
/// The header of what `journal replay` sent again; its value names the run.
const REPLAY_HEADER: &str = "concur-bridge-replay";

/// Headers of a message: each at most once, in a fixed order, absent ones `None`.
type Headers<'a> = [(&'static str, Option<Cow<'a, str>>); 12];

/// Framing of a record batch of one record that no message is without: 61 bytes of batch header and at least 7 of the
/// record's own lengths and deltas. A lower bound, so that nothing is refused that the broker would take.
const FRAMING_BYTES: usize = 68;

/// What is sent to Kafka.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    /// The topic.
    pub(crate) topic: &'a str,
    /// The key; none for quarantined requests.
    pub(crate) key: Option<&'a str>,
    /// The value.
    pub(crate) value: Cow<'a, [u8]>,
    /// What the delivery report is about.
    pub(crate) subject: Subject,
    headers: Headers<'a>,
}

/// What a message carries, by which its delivery report is told from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The record at this position.
    Record(Position),
    /// The position record.
    PositionRecord,
}

/// The content of a record is no CloudEvents document; nothing but damage or a foreign writer makes one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the content of record {id} is not a CloudEvents document: {what}")]
pub(crate) struct ComposeError {
    id: String,
    what: String,
}

/// Composes messages for one instance. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Composer {
    topics: Topics,
    mode: EventsMode,
    instance: Option<String>,
}

/// The attributes that only binary mode needs apart from the document.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow, default)]
    subject: Option<Cow<'a, str>>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    dataschema: Cow<'a, str>,
    #[serde(borrow)]
    data: &'a RawValue,
}

impl Composer {
    /// With `instance` messages say where in the journal they come from; without a journal there is nothing to say.
    pub(crate) fn new(topics: Topics, mode: EventsMode, instance: Option<String>) -> Self {
        Self {
            topics,
            mode,
            instance,
        }
    }

    /// The topic that configuration gives this record.
    pub(crate) fn topic_of(&self, record: &Record) -> &str {
        let stream = record.stream();
        let route = match (stream, &record.ess_topic) {
            (Stream::Other, Some(ess_topic)) => self.topics.routes.get(ess_topic),
            _ => None,
        };
        route.unwrap_or_else(|| self.topics.of(stream))
    }

    /// The message of a record in the journal.
    pub(crate) fn compose<'a>(&'a self, placed: &'a Placed) -> Result<Message<'a>, ComposeError> {
        let position = self
            .instance
            .as_ref()
            .map(|instance| format!("{instance}/{}/{}", placed.journal, placed.position));
        let topic = self.topic_of(&placed.record);
        self.with_position(
            topic,
            &placed.record,
            position,
            Subject::Record(placed.position),
        )
    }

    /// The message of a record that stands in for another: `topic` is the other's.
    pub(crate) fn compose_in<'a>(
        &'a self,
        topic: &'a str,
        placed: &'a Placed,
    ) -> Result<Message<'a>, ComposeError> {
        let message = self.compose(placed)?;
        Ok(Message { topic, ..message })
    }

    /// The message of a record that is in no journal.
    pub(crate) fn compose_unplaced<'a>(
        &'a self,
        record: &'a Record,
    ) -> Result<Message<'a>, ComposeError> {
        self.with_position(
            self.topic_of(record),
            record,
            None,
            Subject::Record(Position(0)),
        )
    }

    fn with_position<'a>(
        &self,
        topic: &'a str,
        record: &'a Record,
        position: Option<String>,
        subject: Subject,
    ) -> Result<Message<'a>, ComposeError> {
        let mut headers: Headers<'a> = [
            ("content-type", None),
            ("ce_id", Some(Cow::Borrowed(&record.id))),
            ("ce_type", Some(Cow::Borrowed(record.kind.as_str()))),
            (
                "traceparent",
                record.traceparent.as_deref().map(Cow::Borrowed),
            ),
            (POSITION_HEADER, position.map(Cow::Owned)),
            (
                CORRELATION_HEADER,
                record.correlation_id.as_deref().map(Cow::Borrowed),
            ),
            ("ce_specversion", None),
            ("ce_source", None),
            ("ce_subject", None),
            ("ce_time", None),
            ("ce_dataschema", None),
            (REPLAY_HEADER, None),
        ];
        let value = match self.mode {
            EventsMode::Structured => {
                headers[0].1 = Some(Cow::Borrowed("application/cloudevents+json"));
                &record.content[..]
            }
            EventsMode::Binary => {
                let envelope: Envelope<'a> =
                    serde_json::from_slice(&record.content).map_err(|error| ComposeError {
                        id: record.id.clone(),
                        what: format!("line {} column {}", error.line(), error.column()),
                    })?;
                headers[0].1 = Some(Cow::Borrowed("application/json"));
                headers[6].1 = Some(Cow::Borrowed("1.0"));
                headers[7].1 = Some(envelope.source);
                headers[8].1 = envelope.subject;
                headers[9].1 = Some(envelope.time);
                headers[10].1 = Some(envelope.dataschema);
                envelope.data.get().as_bytes()
            }
        };
        Ok(Message {
            topic,
            key: record.key.as_deref(),
            value: Cow::Borrowed(value),
            subject,
            headers,
        })
    }
}

impl<'a> Message<'a> {
    /// A position record: it has a key and a value and nothing else.
    pub(crate) fn position_record(topic: &'a str, key: &'a str, value: Vec<u8>) -> Self {
        Self {
            topic,
            key: Some(key),
            value: Cow::Owned(value),
            subject: Subject::PositionRecord,
            headers: std::array::from_fn(|_| ("", None)),
        }
    }

    /// The same, said to be sent again by `run`.
    pub(crate) fn replayed_by(mut self, run: &'a str) -> Self {
        let replay = self.headers.last_mut();
        replay
            .into_iter()
            .for_each(|(_, value)| *value = Some(Cow::Borrowed(run)));
        self
    }

    /// The headers that it has.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.headers
            .iter()
            .filter_map(|(name, value)| Some((*name, value.as_deref()?)))
    }

    /// The least that it takes up, uncompressed, in a batch of its own.
    pub(crate) fn least_batch_bytes(&self) -> usize {
        let headers: usize = self
            .headers()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        self.value.len() + self.key.map_or(0, str::len) + headers + FRAMING_BYTES
    }
}

#[cfg(test)]
mod tests;
