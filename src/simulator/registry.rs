//! Who is subscribed to what: what the subscription APIs change and the sender asks.

use std::sync::Arc;

use tokio::sync::watch;

use crate::concur::notifications::{Change, Feature, Level};

/// One thing that somebody is subscribed to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Channel {
    /// v1 postbacks of a level and type, to the registered postback URL.
    V1(Level, Feature),
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

    /// Sees every change from now on.
    pub(super) fn watch(&self) -> watch::Receiver<Vec<Channel>> {
        self.0.subscribe()
    }
}
