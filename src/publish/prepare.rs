//! Preparing a cluster: is it the right one, are the topics there, make the missing ones, say what is wrong with the rest.

use std::collections::BTreeSet;
use std::time::Duration;

use super::cluster::Cluster;
use super::failure::Failure;
use super::stop::Stop;
use super::topics::{self, NewTopic, Seen, Wanted};
use crate::config::Kafka;

/// How often, and how long apart, brokers are asked whether they know a topic that was just made.
const LOOKS: u32 = 25;
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// What a cluster must have, and what was already said about it.
#[derive(Debug)]
pub(super) struct Preparation {
    wanted: Vec<Wanted>,
    kafka: Kafka,
    warned: BTreeSet<String>,
}

impl Preparation {
    pub(super) fn new(wanted: Vec<Wanted>, kafka: Kafka) -> Self {
        Self {
            wanted,
            kafka,
            warned: BTreeSet::new(),
        }
    }

    /// On `Ok` every topic is there and usable. `recognise` is given the id of the cluster before anything is made on it.
    ///
    /// # Errors
    /// What `recognise` says, or one failure that names every fault.
    pub(super) fn prepare<C: Cluster, E: From<Failure>>(
        &mut self,
        cluster: &mut C,
        stop: &Stop,
        recognise: impl FnOnce(&str) -> Result<(), E>,
    ) -> Result<Vec<Seen>, E> {
        let names = self.names();
        let (cluster_id, mut seen) = cluster.survey(&names)?;
        if let Some(cluster_id) = cluster_id {
            recognise(&cluster_id)?;
        }
        let missing = self.missing(&seen);
        if self.kafka.create_topics && !missing.is_empty() {
            cluster.create(&missing)?;
            for topic in &missing {
                tracing::info!(topic = topic.name, "created a topic");
            }
            for _ in 0..LOOKS {
                seen = cluster.survey(&names)?.1;
                if topics::are_settled(&self.wanted, &seen) || stop.requested() {
                    break;
                }
                cluster.pause(BETWEEN_LOOKS, stop);
            }
        }
        let (faults, warnings) = topics::judge(&self.wanted, &seen);
        for warning in warnings {
            if !self.warned.contains(&warning) {
                tracing::warn!("{warning}");
                self.warned.insert(warning);
            }
        }
        match topics::combine(faults) {
            Some(failure) => Err(failure.into()),
            None => Ok(seen),
        }
    }

    /// What forbids publishing now, asked anew.
    pub(super) fn fault<C: Cluster>(&self, cluster: &mut C) -> Option<Failure> {
        let names = self.names();
        match cluster.survey(&names) {
            Ok((_, seen)) => topics::combine(topics::judge(&self.wanted, &seen).0),
            Err(failure) => Some(failure),
        }
    }

    fn names(&self) -> Vec<&str> {
        self.wanted
            .iter()
            .map(|topic| topic.name.as_str())
            .collect()
    }

    fn missing(&self, seen: &[Seen]) -> Vec<NewTopic> {
        self.wanted
            .iter()
            .filter(|wanted| topics::is_missing(wanted, seen))
            .map(|wanted| wanted.to_new(&self.kafka))
            .collect()
    }
}
