//! The publisher's part of `concur-bridge check`: what `serve` would meet, without changing anything.

use super::cluster::Cluster;
use super::topics;
use super::{Settings, kafka};

/// What was found, all at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// What keeps `serve` from publishing.
    pub faults: Vec<String>,
    /// What an operator ought to know.
    pub warnings: Vec<String>,
    /// What `serve` will do.
    pub notes: Vec<String>,
    /// The id of the cluster, when brokers answered.
    pub cluster_id: Option<String>,
}

/// Looks at brokers and topics. `stateless` is `acknowledge_after = "kafka"`. Blocks for some seconds.
pub fn check(settings: &Settings, stateless: bool) -> Findings {
    let mut findings = Findings::default();
    if let Err(fault) = kafka::verify(&settings.client()) {
        findings.faults.push(fault);
        return findings;
    }
    let delivery = (!stateless).then_some(settings.kafka.delivery);
    let wanted = topics::wanted(&settings.topics, delivery);
    let names: Vec<&str> = wanted.iter().map(|topic| topic.name.as_str()).collect();
    let (cluster_id, seen) = match settings.cluster().survey(&names) {
        Ok(answer) => answer,
        Err(failure) => {
            findings.faults.push(failure.text);
            return findings;
        }
    };
    findings.cluster_id = cluster_id;
    let (to_judge, missing): (Vec<_>, Vec<_>) = wanted
        .into_iter()
        .partition(|topic| !settings.kafka.create_topics || !topics::is_missing(topic, &seen));
    let (faults, warnings) = topics::judge(&to_judge, &seen);
    findings
        .faults
        .extend(faults.into_iter().map(|failure| failure.text));
    findings.warnings = warnings;
    findings.notes = missing
        .iter()
        .map(|topic| format!("topic {} will be created", topic.name))
        .collect();
    findings
}
