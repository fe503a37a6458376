//! Health: whether a postback would be accepted now, and what an operator should look at.
//!
//! A code is stable and of a closed set. A *reason* means that postbacks are refused; *degraded* means that they are
//! accepted but something needs a person: Kafka is away, a topic is missing, an identity is held twice.
//!
//! Nothing here touches the disk or Kafka: a probe answers while both hang.

use jiff::Timestamp;
use metrics::gauge;
use serde::Serialize;

use crate::accept::Unavailable;
use crate::journal::{self, Journal, Refusal};
use crate::publish;
use crate::shutdown::Shutdown;

/// What readiness is made of. Cheap to clone.
#[derive(Clone)]
pub struct Health {
    /// `None` in the stateless mode.
    pub journal: Option<Journal>,
    /// What the publisher, or the stateless producer, says of Kafka.
    pub publish: publish::Status,
    /// Whether the process is stopping.
    pub shutdown: Shutdown,
    /// Whether there is an ingress: `--drain-only` has none.
    pub takes_in: bool,
}

/// The body of `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether a postback would be accepted.
    pub ready: bool,
    /// What needs a person although postbacks are accepted.
    pub degraded: Vec<&'static str>,
    /// Why postbacks are refused.
    pub reasons: Vec<&'static str>,
}

impl Health {
    /// The state at this moment.
    pub fn readiness(&self) -> Readiness {
        let closing = !self.takes_in || self.shutdown.requested().is_some();
        let closing = closing.then_some(Unavailable::Closing);
        let refusal = match &self.journal {
            Some(journal) => journal.status().refusal.map(unavailable),
            None => (!self.publish.kafka_up()).then_some(Unavailable::KafkaUnavailable),
        };
        let mut reasons: Vec<_> = closing
            .into_iter()
            .chain(refusal)
            .map(Unavailable::reason)
            .collect();
        reasons.dedup();
        let degraded = self
            .publish
            .degraded()
            .into_iter()
            .map(|(degraded, _)| degraded.code())
            .collect();
        Readiness {
            ready: reasons.is_empty(),
            degraded,
            reasons,
        }
    }

    /// Writes the journal's gauges: called before metrics are rendered, so that they are as new as the scrape.
    pub fn record(&self) {
        let Some(journal) = &self.journal else { return };
        let status = journal.status();
        let figure = |number: u64| number as f64;
        gauge!("concur_bridge_journal_backlog_records").set(figure(status.backlog_records));
        gauge!("concur_bridge_journal_backlog_bytes").set(figure(status.backlog_bytes));
        gauge!("concur_bridge_journal_oldest_unpublished_seconds").set(oldest_seconds(&status));
        gauge!("concur_bridge_journal_free_bytes").set(figure(status.free_bytes));
        gauge!("concur_bridge_journal_used_bytes").set(figure(status.used_bytes));
        gauge!("concur_bridge_journal_quarantine_bytes").set(figure(status.quarantine_bytes));
    }
}

/// Age of the oldest record that Kafka does not have; a clock that was set back makes it 0, never negative.
pub fn oldest_seconds(status: &journal::Status) -> f64 {
    status.oldest_unpublished.map_or(0.0, |received| {
        Timestamp::now()
            .duration_since(received)
            .as_secs_f64()
            .max(0.0)
    })
}

fn unavailable(refusal: Refusal) -> Unavailable {
    match refusal {
        Refusal::Full(_) => Unavailable::JournalFull,
        Refusal::Closing => Unavailable::Closing,
        Refusal::Failed => Unavailable::JournalFailed,
    }
}
