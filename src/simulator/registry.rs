//! Who is subscribed to what: what the subscription APIs change and the sender asks.

use std::sync::Arc;

use tokio::sync::watch;

use super::ess::Topic;
use super::target::Target;
use crate::concur::notifications::{Change, Feature, Level};

/// One thing that somebody is subscribed to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Channel {
    /// v1 postbacks of a level and type, to the registered postback URL.
    V1(Level, Feature),
    /// ESS events of a topic, to a URL of their own.
    Ess(Arc<Webhook>),
}

/// A subscription of ESS.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Webhook {
    pub(super) id: String,
    pub(super) topic: Topic,
    pub(super) filter: Filter,
    /// The URL as it was given.
    pub(super) endpoint: String,
    pub(super) target: Arc<Target>,
}

/// Which event types of a topic are wanted: names and `.*`, joined by `|`. Concur takes any regular expression; a
/// simulator that took one and read it otherwise would mislead.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Filter(String);

impl Filter {
    /// Everything.
    pub(super) fn all() -> Self {
        Self(".*".to_owned())
    }

    /// Reads a filter; `None` when it holds more than is understood.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let is_understood = text.split('|').all(|name| {
            name == ".*"
                || (!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        });
        is_understood.then(|| Self(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn wants(&self, event_type: &str) -> bool {
        self.0
            .split('|')
            .any(|name| name == ".*" || name == event_type)
    }
}

/// The subscriptions. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Registry(Arc<watch::Sender<Vec<Channel>>>);

impl Registry {
    pub(super) fn new(channels: Vec<Channel>) -> Self {
        Self(Arc::new(watch::Sender::new(channels)))
    }

    /// Changes a v1 subscription; subscribing twice is the same as once.
    pub(super) fn change_v1(&self, change: Change, level: Level, feature: Feature) {
        let channel = Channel::V1(level, feature);
        self.0.send_modify(|channels| {
            channels.retain(|other| *other != channel);
            if change == Change::Subscribe {
                channels.push(channel);
            }
        });
    }

    /// Makes an ESS subscription, or changes the one with its id.
    pub(super) fn put(&self, webhook: Webhook) {
        self.0.send_modify(|channels| {
            channels.retain(|other| !other.is_webhook(&webhook.id));
            channels.push(Channel::Ess(Arc::new(webhook)));
        });
    }

    /// Removes an ESS subscription; whether there was one.
    pub(super) fn delete(&self, id: &str) -> bool {
        self.0.send_if_modified(|channels| {
            let before = channels.len();
            channels.retain(|channel| !channel.is_webhook(id));
            channels.len() < before
        })
    }

    /// All ESS subscriptions.
    pub(super) fn webhooks(&self) -> Vec<Arc<Webhook>> {
        let webhook = |channel: &Channel| match channel {
            Channel::Ess(webhook) => Some(Arc::clone(webhook)),
            Channel::V1(..) => None,
        };
        self.0.borrow().iter().filter_map(webhook).collect()
    }

    /// Sees every change from now on.
    pub(super) fn watch(&self) -> watch::Receiver<Vec<Channel>> {
        self.0.subscribe()
    }
}

impl Channel {
    fn is_webhook(&self, id: &str) -> bool {
        matches!(self, Self::Ess(webhook) if webhook.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_lets_through_what_it_names() {
        for (filter, wanted, unwanted) in [
            (".*", "ItineraryCreated", ""),
            ("ItineraryCreated", "ItineraryCreated", "ItineraryUpdated"),
            ("A|B", "B", "C"),
        ] {
            let filter = Filter::parse(filter).unwrap();
            assert!(filter.wants(wanted));
            assert!(unwanted.is_empty() || !filter.wants(unwanted));
        }
        for unknown in ["", "Itinerary(Created|Updated)", "^A$", "A|", "A.*"] {
            assert_eq!(Filter::parse(unknown), None, "{unknown}");
        }
    }
}
