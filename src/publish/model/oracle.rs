//! What a run of the model is judged by.

use std::collections::{BTreeMap, BTreeSet};

use super::super::journal::ModelJournal;
use super::{Event, Shared, State, TOPIC_LIMIT};

/// What a run is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Promise {
    /// Every record once and in order, whatever twins there are.
    ExactlyOnce,
    /// None skipped, without transactions.
    AtLeastOnce,
    /// None skipped although backups are restored, and no position is two events.
    NothingSkipped,
}

impl Shared {
    /// What a reader of `read_committed` sees must be what is promised, for the journal that remains.
    pub(in super::super) fn judge(&self, journal: &ModelJournal) {
        let world = self.world();
        let visible: Vec<&Event> = world
            .events
            .iter()
            .filter(|event| world.transactions[event.transaction] == State::Committed)
            .collect();
        let seen: Vec<String> = visible.iter().map(|event| event.id.clone()).collect();
        let all = journal.ids();
        match world.promise {
            Promise::ExactlyOnce => {
                assert_eq!(seen, all, "lost, doubled or reordered");
                let order = &world.order;
                let owners: BTreeSet<&usize> = order.iter().collect();
                assert_eq!(
                    order.len(),
                    owners.len(),
                    "they published in turn: {order:?}"
                );
            }
            Promise::AtLeastOnce | Promise::NothingSkipped => {
                for id in &all {
                    assert!(seen.contains(id), "{id} is skipped");
                }
            }
        }
        let mut places: BTreeMap<&str, &str> = BTreeMap::new();
        for event in visible {
            let other = places.insert(&event.place, &event.id);
            assert!(
                other.is_none_or(|other| other == event.id),
                "{} is two events",
                event.place
            );
            let Some(content) = journal.content_of(&event.id) else {
                continue;
            };
            if content.len() <= TOPIC_LIMIT {
                assert_eq!(event.value, content, "altered");
            } else {
                assert!(world.kept.contains(&event.id), "not kept");
            }
        }
        if let (Promise::ExactlyOnce, Some(record)) = (world.promise, &world.last_position) {
            assert_eq!(record.journal, journal.uuid());
        }
    }
}
