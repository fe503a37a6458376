//! Topics: which must exist, how missing ones are made, and what is wrong with those that are there.
//!
//! Existing topics are never altered. What costs durability or can stall publishing is a warning; what is missing and may
//! not be made stops publishing (not the process) with one message that names all of it.

use std::collections::BTreeSet;

use super::cluster::Limits;
use super::failure::{Failure, FailureKind};
use crate::config::{Delivery, Kafka, Topics};

/// A topic that the bridge needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wanted {
    /// Its name.
    pub(crate) name: String,
    /// What it is for.
    pub(crate) purpose: Purpose,
}

/// What a topic is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    /// Events, for consumers.
    Events,
    /// Position records, for the bridge.
    Positions,
}

/// A topic to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewTopic {
    /// Its name.
    pub(crate) name: String,
    /// Partitions.
    pub(crate) partitions: i32,
    /// Replicas; -1 leaves it to the broker.
    pub(crate) replication_factor: i32,
    /// Topic configuration.
    pub(crate) settings: Vec<(&'static str, &'static str)>,
}

/// What the brokers say about a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Its name.
    pub(crate) name: String,
    /// What it is like, or why it cannot be used.
    pub(crate) state: Result<Facts, Failure>,
}

/// What a topic is like. Configuration that may not be read is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Partitions.
    pub(crate) partitions: usize,
    /// Replicas of its first partition.
    pub(crate) replicas: usize,
    /// A partition that has no leader now.
    pub(crate) leaderless: Option<i32>,
    /// `max.message.bytes`.
    pub(crate) max_message_bytes: Option<usize>,
    /// `min.insync.replicas`.
    pub(crate) min_insync_replicas: Option<usize>,
    /// `message.timestamp.type` is `CreateTime`.
    pub(crate) create_time: Option<bool>,
    /// `cleanup.policy` contains `compact`.
    pub(crate) compacted: Option<bool>,
}

/// Everything that the configuration can make the bridge publish to, each once.
pub(crate) fn wanted(topics: &Topics, delivery: Option<Delivery>) -> Vec<Wanted> {
    let events: BTreeSet<&String> = topics.of_events().collect();
    let mut wanted: Vec<Wanted> = events
        .into_iter()
        .map(|name| Wanted {
            name: name.clone(),
            purpose: Purpose::Events,
        })
        .collect();
    if delivery == Some(Delivery::ExactlyOnce) {
        wanted.push(Wanted {
            name: topics.positions.clone(),
            purpose: Purpose::Positions,
        });
    }
    wanted
}

impl Wanted {
    /// How it is made.
    ///
    /// Event topics take the broker's time: with CreateTime a clock of ours that is an hour ahead makes the broker refuse
    /// every record. The positions topic has one partition, so that there is one newest record, and small segments, so
    /// that compaction keeps the reading at start short.
    pub(crate) fn to_new(&self, kafka: &Kafka) -> NewTopic {
        let (partitions, settings) = match self.purpose {
            Purpose::Events => (
                kafka.partitions,
                vec![("message.timestamp.type", "LogAppendTime")],
            ),
            Purpose::Positions => (
                1,
                vec![
                    ("message.timestamp.type", "LogAppendTime"),
                    ("cleanup.policy", "compact"),
                    ("segment.bytes", "4194304"),
                    ("segment.ms", "3600000"),
                    ("min.cleanable.dirty.ratio", "0.1"),
                ],
            ),
        };
        NewTopic {
            name: self.name.clone(),
            partitions,
            replication_factor: kafka.replication_factor,
            settings,
        }
    }

    /// What an operator ought to know about it although it can be used.
    pub(crate) fn warnings(&self, facts: &Facts) -> Vec<String> {
        let name = &self.name;
        let mut warnings = Vec::new();
        if facts.replicas < 2 {
            warnings.push(format!(
                "topic {name} has {} replica: what the bridge published is lost with that broker",
                facts.replicas
            ));
        }
        if facts.min_insync_replicas.is_some_and(|min| min < 2) {
            warnings.push(format!(
                "topic {name} has min.insync.replicas < 2: one broker's failure can lose what was acknowledged"
            ));
        }
        if facts.create_time == Some(true) {
            warnings.push(format!(
                "topic {name} has message.timestamp.type CreateTime: a clock that is an hour ahead stops publishing; LogAppendTime does not"
            ));
        }
        if self.purpose == Purpose::Positions && facts.compacted == Some(false) {
            warnings.push(format!(
                "topic {name} is not compacted: when its retention deletes the newest position, events are repeated"
            ));
        }
        warnings
    }

    /// Why it cannot be used although it is there.
    pub(crate) fn fault(&self, facts: &Facts) -> Option<Failure> {
        (self.purpose == Purpose::Positions && facts.partitions != 1).then(|| {
            Failure::new(
                FailureKind::Topic,
                format!(
                    "topic {} has {} partitions, positions need exactly one; name another topic in topics.positions",
                    self.name, facts.partitions
                ),
            )
        })
    }

    /// Why transactions have to wait. None may be ended while a partition has no leader: Kafka 4.3.0 and 4.3.1 then leave
    /// out the partition's marker for good (KAFKA-20734), and consumers stop there until an operator aborts what hangs.
    /// Taking the transactional id ends one as well, that of a predecessor. Without transactions only what goes to that
    /// partition waits.
    fn without_leader(&self, facts: &Facts) -> Option<Failure> {
        let partition = facts.leaderless?;
        Some(Failure::new(
            FailureKind::Unreachable,
            format!("topic {} partition {partition}: no leader", self.name),
        ))
    }
}

/// One failure out of those of several topics: the kind of the first, the words of all.
pub(crate) fn combine(failures: Vec<Failure>) -> Option<Failure> {
    let kind = failures.first()?.kind;
    let texts: Vec<String> = failures.into_iter().map(|failure| failure.text).collect();
    Some(Failure::new(kind, texts.join("; ")))
}

/// What these topics take, by `max.message.bytes` where it is known.
pub(crate) fn limits(seen: &[Seen]) -> Limits {
    let known = || {
        seen.iter()
            .filter_map(|topic| topic.state.as_ref().ok()?.max_message_bytes)
    };
    Limits {
        batch_bytes: known().min(),
        message_bytes: known().max(),
    }
}

/// Whether the brokers do not know this topic.
pub(crate) fn is_missing(wanted: &Wanted, seen: &[Seen]) -> bool {
    let Some(seen) = seen.iter().find(|topic| topic.name == wanted.name) else {
        return true;
    };
    matches!(&seen.state, Err(failure) if failure.kind == FailureKind::Topic)
}

/// Whether waiting changes nothing: the brokers know each of these topics, and each partition has a leader or an error of
/// its own.
pub(crate) fn are_settled(wanted: &[Wanted], seen: &[Seen]) -> bool {
    wanted.iter().all(|wanted| {
        seen.iter()
            .find(|topic| topic.name == wanted.name)
            .is_some_and(|topic| match &topic.state {
                Ok(facts) => facts.leaderless.is_none(),
                Err(failure) => {
                    !matches!(failure.kind, FailureKind::Topic | FailureKind::Unreachable)
                }
            })
    })
}

/// What forbids using these topics, and what an operator ought to know about them.
pub(crate) fn judge(wanted: &[Wanted], seen: &[Seen]) -> (Vec<Failure>, Vec<String>) {
    let mut faults = Vec::new();
    let mut warnings = Vec::new();
    let mut missing = Vec::new();
    let transactions = wanted
        .iter()
        .any(|topic| topic.purpose == Purpose::Positions);
    for topic in wanted {
        if is_missing(topic, seen) {
            missing.push(topic.name.as_str());
            continue;
        }
        match seen
            .iter()
            .find(|seen| seen.name == topic.name)
            .map(|seen| &seen.state)
        {
            Some(Ok(facts)) => {
                faults.extend(topic.fault(facts));
                warnings.extend(topic.warnings(facts));
                match topic.without_leader(facts) {
                    Some(failure) if transactions => faults.push(failure),
                    Some(failure) => warnings.push(failure.text),
                    None => {}
                }
            }
            Some(Err(failure)) => faults.push(failure.clone()),
            None => {}
        }
    }
    if !missing.is_empty() {
        let text = format!(
            "missing topics: {}; with kafka.create_topics = true the bridge makes them, else they have to be made by hand",
            missing.join(", ")
        );
        faults.insert(0, Failure::new(FailureKind::Topic, text));
    }
    (faults, warnings)
}

#[cfg(test)]
mod tests;
