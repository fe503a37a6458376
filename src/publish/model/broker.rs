//! The broker of the model: transactions, epochs and offsets as Kafka has them, replies as a bad network has them.
//!
//! What it models of Kafka: a transactional id has one live epoch, taking it aborts what the last one left open and waits
//! for what it left half committed; records of old epochs are refused; a reader of `read_committed` sees nothing behind
//! the first open transaction, whoever's it is; a commit can sit in the network and arrive late, as long as its epoch
//! lives; a broker gives a transaction up by itself and moves the epoch on.

use std::collections::{BTreeSet, HashMap};
use std::ops::RangeInclusive;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

use crate::config::Delivery;
use crate::publish::cluster::{CallError, Cluster, Limits};
use crate::publish::failure::{Failure, FailureKind};
use crate::publish::positions::{Found, PositionRecord};
use crate::publish::stop::Stop;
use crate::publish::topics::{Facts, NewTopic, Seen};

#[path = "oracle.rs"]
mod oracle;
#[path = "producer.rs"]
mod producer;
#[path = "stage.rs"]
mod stage;
pub(super) use oracle::Promise;
pub(super) use producer::ModelProducer;
use stage::Stage;

/// Bytes of a value that the topic takes.
pub(super) const TOPIC_LIMIT: usize = 2_000;
/// Steps of a run during which faults happen.
const FAULTY_STEPS: u32 = 300;
/// Steps after which a run that does not come to an end never will.
const ENDLESS_STEPS: u32 = 100_000;

/// The payload of a kill.
pub(super) struct Killed;

/// The world that a run happens in, as one site sees it. Clones are the same world.
#[derive(Clone)]
pub(super) struct Shared {
    site: usize,
    inner: Arc<(Mutex<World>, Condvar)>,
}

struct World {
    random: StdRng,
    steps: u32,
    transactions: Vec<State>,
    /// Events in the order of the log.
    events: Vec<Event>,
    positions: Vec<Slot>,
    epoch: u32,
    /// The site that took the live epoch.
    holder: usize,
    /// The transaction of the live epoch that is not over.
    current: Option<usize>,
    /// Decided ones that readers do not see yet.
    ending: Vec<usize>,
    /// A neighbour's that is open.
    neighbours: Option<usize>,
    /// A commit on its way, of this transaction.
    late_commit: Option<usize>,
    last_position: Option<PositionRecord>,
    promise: Promise,
    topics_made: bool,
    numbers: u64,
    /// What was kept whole in a quarantine, anybody's.
    kept: BTreeSet<String>,
    stage: Stage,
    /// Whose sites' position records follow each other, repetitions left out.
    order: Vec<usize>,
}

/// Of a transaction. `Ending` is decided, but readers do not see it yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Ending,
    Committed,
    Aborted,
}

struct Event {
    transaction: usize,
    id: String,
    /// The header that says which record of which journal it is.
    place: String,
    value: Vec<u8>,
}

struct Slot {
    transaction: usize,
    /// `None` is a neighbour's.
    record: Option<PositionRecord>,
}

/// Transaction 0 stands for no transaction: it is committed from the beginning.
const NO_TRANSACTION: usize = 0;

impl Shared {
    pub(super) fn new(seed: u64, promise: Promise) -> Self {
        let world = World {
            random: StdRng::seed_from_u64(seed),
            steps: 0,
            transactions: vec![State::Committed],
            events: Vec::new(),
            positions: Vec::new(),
            epoch: 0,
            holder: 0,
            current: None,
            ending: Vec::new(),
            neighbours: None,
            late_commit: None,
            last_position: None,
            promise,
            topics_made: false,
            numbers: 0,
            kept: BTreeSet::new(),
            stage: Stage::empty(),
            order: Vec::new(),
        };
        Self {
            site: 0,
            inner: Arc::new((Mutex::new(world), Condvar::new())),
        }
    }

    pub(super) fn chance(&self, probability: f64) -> bool {
        self.world().random.random_bool(probability)
    }

    pub(super) fn fault(&self, probability: f64) -> bool {
        self.world().fault(probability)
    }

    pub(super) fn pick(&self, range: RangeInclusive<usize>) -> usize {
        self.world().random.random_range(range)
    }

    pub(super) fn is_calm(&self) -> bool {
        self.world().is_calm()
    }

    pub(super) fn delivery(&self) -> Delivery {
        match self.world().promise {
            Promise::AtLeastOnce => Delivery::AtLeastOnce,
            Promise::ExactlyOnce | Promise::NothingSkipped => Delivery::ExactlyOnce,
        }
    }

    /// A number for a record, never given twice.
    pub(super) fn number(&self) -> u64 {
        let mut world = self.world();
        world.numbers += 1;
        world.numbers
    }

    pub(super) fn keep(&self, id: &str) {
        self.world().kept.insert(id.to_owned());
    }

    pub(super) fn restores_backups(&self) -> bool {
        self.world().promise == Promise::NothingSkipped
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.inner.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World {
    fn is_calm(&self) -> bool {
        self.steps > FAULTY_STEPS
    }

    fn fault(&mut self, probability: f64) -> bool {
        !self.is_calm() && self.random.random_bool(probability)
    }

    fn time_passes(&mut self) {
        let calm = self.is_calm();
        if !self.ending.is_empty() && (calm || self.random.random_bool(0.3)) {
            let transaction = self.ending.remove(0);
            self.transactions[transaction] = State::Committed;
        }
        if self.late_commit.is_some() && (calm || self.random.random_bool(0.2)) {
            self.late_commit_lands();
        }
        self.neighbour();
        if self.fault(0.01) || (calm && self.current.is_some() && !self.stage.lives(self.holder)) {
            // The broker gives the transaction up.
            self.take_over();
        }
    }

    /// A commit whose sender heard nothing of it is carried out after all.
    fn late_commit_lands(&mut self) {
        if let Some(transaction) = self.late_commit.take() {
            self.end_transaction(transaction);
        }
    }

    /// Commits a transaction that is still the live epoch's.
    fn end_transaction(&mut self, transaction: usize) {
        if self.current == Some(transaction) {
            self.transactions[transaction] = State::Ending;
            self.ending.push(transaction);
            self.current = None;
        }
    }

    /// Moves the epoch on and aborts what is open; false while something is half committed.
    fn take_over(&mut self) -> bool {
        if let Some(transaction) = self.current.take() {
            self.transactions[transaction] = State::Aborted;
        }
        self.epoch += 1;
        self.late_commit = None;
        self.ending.is_empty()
    }

    /// Another bridge's transactions on the same topic.
    fn neighbour(&mut self) {
        if let Some(transaction) = self.neighbours {
            if self.is_calm() || self.random.random_bool(0.1) {
                self.transactions[transaction] = State::Committed;
                self.neighbours = None;
            }
        } else if self.fault(0.03) {
            self.transactions.push(State::Open);
            let transaction = self.transactions.len() - 1;
            self.neighbours = Some(transaction);
            self.positions.push(Slot {
                transaction,
                record: None,
            });
        }
    }

    fn stable_end(&self) -> usize {
        self.positions
            .iter()
            .position(|slot| {
                matches!(
                    self.transactions[slot.transaction],
                    State::Open | State::Ending
                )
            })
            .unwrap_or(self.positions.len())
    }

    /// Position records that are, or are about to be, committed.
    fn decided(&self) -> impl DoubleEndedIterator<Item = &Slot> {
        let decided = |state| matches!(state, State::Committed | State::Ending);
        let slots = self.positions.iter();
        slots.filter(move |slot| decided(self.transactions[slot.transaction]))
    }

    /// The sites of these runs in the order in which they published, without repetitions in a row.
    fn committed_by(&self, runs: &HashMap<Uuid, usize>) -> Vec<usize> {
        let mut sites: Vec<usize> = self
            .decided()
            .filter_map(|slot| runs.get(&slot.record.as_ref()?.run).copied())
            .collect();
        sites.dedup();
        sites
    }

    fn newest(&self, from: usize) -> Option<Found> {
        let stable = self.stable_end();
        let slots = self.positions.iter().enumerate().take(stable).skip(from);
        slots
            .filter(|(_, slot)| self.transactions[slot.transaction] == State::Committed)
            .filter_map(|(offset, slot)| Some((offset, slot.record.clone()?)))
            .next_back()
            .map(|(offset, record)| Found {
                offset: offset as i64,
                record: Some(record),
            })
    }
}

/// A failure of a kind that calls have now and then.
fn passing(world: &mut World) -> Option<Failure> {
    let kinds = [
        FailureKind::Unreachable,
        FailureKind::Abortable,
        FailureKind::Topic,
        FailureKind::Authorization,
        FailureKind::Timestamp,
    ];
    world.fault(0.02).then(|| {
        let kind = kinds[world.random.random_range(0..kinds.len())];
        Failure::new(kind, "a bad day")
    })
}

fn unfinished(world: &mut World) -> Option<CallError> {
    world
        .fault(0.1)
        .then(|| CallError::Unfinished("a slow day".to_owned()))
}

/// The brokers, as one process sees them.
pub(super) struct ModelCluster {
    shared: Shared,
}

impl ModelCluster {
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared }
    }

    fn now(&self) -> MutexGuard<'_, World> {
        self.shared.step();
        self.shared.world()
    }
}

impl Cluster for ModelCluster {
    type Producer = ModelProducer;

    fn survey(&mut self, topics: &[&str]) -> Result<(Option<String>, Vec<Seen>), Failure> {
        let mut world = self.now();
        if let Some(failure) = passing(&mut world) {
            return Err(failure);
        }
        let facts = Facts {
            partitions: 1,
            replicas: 3,
            ..Facts::default()
        };
        let made = world.topics_made;
        let seen = topics.iter().map(|topic| Seen {
            name: (*topic).to_owned(),
            state: if made {
                Ok(facts.clone())
            } else {
                Err(Failure::new(FailureKind::Topic, "unknown"))
            },
        });
        Ok((Some("cluster".to_owned()), seen.collect()))
    }

    fn create(&mut self, _topics: &[NewTopic]) -> Result<(), Failure> {
        let mut world = self.now();
        if world.fault(0.5) {
            return Err(Failure::new(FailureKind::Topic, "too few brokers"));
        }
        world.topics_made = true;
        Ok(())
    }

    fn end_of_positions(&mut self) -> Result<i64, Failure> {
        let mut world = self.now();
        match passing(&mut world) {
            Some(failure) => Err(failure),
            None => {
                self.shared.looked(&mut world);
                Ok(world.positions.len() as i64)
            }
        }
    }

    fn newest_position(
        &mut self,
        _key: &str,
        from: Option<i64>,
        end: i64,
    ) -> Result<Option<Found>, CallError> {
        let mut world = self.now();
        if let Some(failure) = passing(&mut world) {
            return Err(failure.into());
        }
        if (world.stable_end() as i64) < end {
            return Err(CallError::Unfinished("an open transaction".to_owned()));
        }
        Ok(world.newest(from.unwrap_or(0) as usize))
    }

    fn compresses(&self) -> bool {
        false
    }

    fn producer(&mut self, _limits: Limits) -> Result<ModelProducer, Failure> {
        self.shared.step();
        Ok(ModelProducer::new(self.shared.clone()))
    }

    fn pause(&mut self, _duration: Duration, _stop: &Stop) {
        self.shared.step();
    }
}
