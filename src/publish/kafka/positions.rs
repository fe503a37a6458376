//! Reading the positions topic.
//!
//! Under `read_committed` librdkafka takes the last stable offset for the end of a partition. A record that a predecessor
//! committed in its last breath may lie behind an open transaction of somebody else, beyond that offset: who stopped there
//! would publish it again. So the true end is asked for with a client that reads uncommitted, and committed records are
//! read until the last stable offset is past it.

use std::ops::Range;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

use super::super::cluster::CallError;
use super::super::failure::{Failure, FailureKind};
use super::super::positions::{Found, PositionRecord};
use super::errors;
use super::listener::Listener;
use super::settings::ClientSettings;
use super::survey::connect;

/// The one partition of the topic.
const PARTITION: i32 = 0;
/// For one question about offsets.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one call waits for an open transaction.
const OPEN_TRANSACTION_WAIT: Duration = Duration::from_secs(1);
/// How often the last stable offset is asked for meanwhile.
const OPEN_TRANSACTION_POLL: Duration = Duration::from_millis(50);
/// How long reading may stand still.
const STANDSTILL: Duration = Duration::from_secs(10);

/// The offset behind the last record, committed or not.
pub(super) fn end(settings: &ClientSettings, topic: &str) -> Result<i64, Failure> {
    let consumer = connect(settings, &settings.asking())?;
    let (_, end) = watermarks(&consumer, topic)?;
    Ok(end)
}

/// The newest committed record of `key` before `end` or behind it.
///
/// A hint behind which nothing of ours is found came from a topic that was since made anew: then all of it is read.
pub(super) fn newest(
    settings: &ClientSettings,
    topic: &str,
    key: &str,
    hint: Option<i64>,
    end: i64,
) -> Result<Option<Found>, CallError> {
    let consumer = connect(settings, &settings.reading())?;
    let (low, high) = wait_until_stable(&consumer, topic, end)?;
    if let Some(hint) = hint.filter(|hint| (low..high).contains(hint)) {
        let found = scan(&consumer, topic, key, hint..high)?;
        if found.is_some() || hint == low {
            return Ok(found);
        }
    }
    if low == high {
        return Ok(None);
    }
    Ok(scan(&consumer, topic, key, low..high)?)
}

fn wait_until_stable(
    consumer: &BaseConsumer<Listener>,
    topic: &str,
    end: i64,
) -> Result<(i64, i64), CallError> {
    let began = Instant::now();
    loop {
        let (low, stable) = watermarks(consumer, topic)?;
        if stable >= end {
            return Ok((low, stable));
        }
        if began.elapsed() >= OPEN_TRANSACTION_WAIT {
            return Err(CallError::Unfinished(format!(
                "an open transaction at offset {stable} of topic {topic} hides what was published before; it ends with its own timeout at the latest, else it hangs and kafka-transactions.sh aborts it"
            )));
        }
        consumer.poll(OPEN_TRANSACTION_POLL);
    }
}

fn watermarks(consumer: &BaseConsumer<Listener>, topic: &str) -> Result<(i64, i64), Failure> {
    consumer
        .fetch_watermarks(topic, PARTITION, ASK_TIMEOUT)
        .map_err(|error| failure(consumer, topic, &error))
}

/// Reads these offsets.
///
/// The end of the partition alone does not end it: while others keep committing, the topic is theirs as well, librdkafka
/// never gets to one.
fn scan(
    consumer: &BaseConsumer<Listener>,
    topic: &str,
    key: &str,
    offsets: Range<i64>,
) -> Result<Option<Found>, Failure> {
    let mut assignment = TopicPartitionList::new();
    assignment
        .add_partition_offset(topic, PARTITION, Offset::Offset(offsets.start))
        .and_then(|()| consumer.assign(&assignment))
        .map_err(|error| failure(consumer, topic, &error))?;
    let mut newest = None;
    let mut moved = Instant::now();
    loop {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                moved = Instant::now();
                if message.key() == Some(key.as_bytes()) {
                    newest = Some(Found {
                        offset: message.offset(),
                        record: message.payload().and_then(PositionRecord::decode),
                    });
                }
                if message.offset() >= offsets.end - 1 {
                    return Ok(newest);
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(newest),
            Some(Err(error)) if is_final(&error) => return Err(failure(consumer, topic, &error)),
            Some(Err(_)) | None if moved.elapsed() >= STANDSTILL => {
                return Err(Failure::new(
                    FailureKind::Unreachable,
                    format!("reading topic {topic} stands still"),
                ));
            }
            Some(Err(_)) | None => {}
        }
    }
}

/// Errors that reading does not get over by itself. The group is a name only: whether we may use it does not matter.
fn is_final(error: &KafkaError) -> bool {
    use rdkafka::error::RDKafkaErrorCode as Code;
    match errors::code_of(error) {
        Some(Code::GroupAuthorizationFailed) | None => false,
        Some(code) => matches!(
            errors::kind_of_code(code),
            FailureKind::Topic | FailureKind::Authorization | FailureKind::Unsupported
        ),
    }
}

fn failure(consumer: &BaseConsumer<Listener>, topic: &str, error: &KafkaError) -> Failure {
    let what = format!("topic {topic} cannot be read");
    errors::failure(&what, error, consumer.context())
}
