//! The model's producer: what librdkafka would do with that broker.

use std::collections::VecDeque;
use std::sync::MutexGuard;
use std::time::Duration;

use rand::RngExt;

use super::{Event, NO_TRANSACTION, Shared, Slot, State, TOPIC_LIMIT, World, passing, unfinished};
use crate::publish::cluster::{CallError, Producer, SendError};
use crate::publish::failure::{Failure, FailureKind};
use crate::publish::message::{Message, POSITION_HEADER, Subject};
use crate::publish::positions::PositionRecord;
use crate::record::Position;

/// Bytes of a value that the client itself takes.
const LARGEST_MESSAGE: usize = 2 * TOPIC_LIMIT;

pub(in super::super) struct ModelProducer {
    shared: Shared,
    epoch: Option<u32>,
    transaction: Option<usize>,
    in_flight: VecDeque<Sent>,
    failed: Option<(Option<Position>, Failure)>,
    position_offset: Option<i64>,
}

/// A message on its way.
struct Sent {
    subject: Subject,
    id: String,
    place: String,
    value: Vec<u8>,
}

impl ModelProducer {
    pub(super) fn new(shared: Shared) -> Self {
        Self {
            shared,
            epoch: None,
            transaction: None,
            in_flight: VecDeque::new(),
            failed: None,
            position_offset: None,
        }
    }

    fn now(&self) -> MutexGuard<'_, World> {
        self.shared.step();
        self.shared.world()
    }

    /// Writes what is on its way into the log, as far as it gets.
    fn deliver(&mut self) {
        let shared = self.shared.clone();
        let mut world = shared.world();
        let count = if world.is_calm() {
            self.in_flight.len()
        } else {
            world.random.random_range(0..=self.in_flight.len())
        };
        let too_large = |sent: &Sent| sent.value.len() > TOPIC_LIMIT;
        if count > 0 && self.in_flight.iter().any(too_large) {
            // The batch is refused whole; whose report comes first is chance. Positions have a topic of their own.
            let of_records = |subject: &Subject| matches!(subject, Subject::Record(_));
            let batch: Vec<Subject> = self
                .in_flight
                .iter()
                .map(|sent| sent.subject)
                .filter(of_records)
                .collect();
            let subject = batch[world.random.random_range(0..batch.len())];
            self.in_flight.clear();
            return self.fail(subject, Failure::new(FailureKind::TooLarge, "too large"));
        }
        for sent in self.in_flight.drain(..count).collect::<Vec<_>>() {
            let subject = sent.subject;
            let reply_lost = world.fault(0.02);
            let failure = match self.refusal(&mut world) {
                Some(failure) => Some(failure),
                None => {
                    self.write(&mut world, sent);
                    reply_lost.then(|| Failure::new(FailureKind::Unreachable, "no reply"))
                }
            };
            if let Some(failure) = failure {
                self.fail(subject, failure);
            }
        }
    }

    fn refusal(&self, world: &mut World) -> Option<Failure> {
        let fenced = || Some(Failure::new(FailureKind::Fenced, "an old epoch"));
        match self.epoch {
            Some(epoch) if epoch != world.epoch => fenced(),
            Some(_) if self.transaction != world.current => fenced(),
            _ => passing(world),
        }
    }

    fn write(&mut self, world: &mut World, sent: Sent) {
        let transaction = self.transaction.unwrap_or(NO_TRANSACTION);
        match sent.subject {
            Subject::Record(_) => world.events.push(Event {
                transaction,
                id: sent.id,
                place: sent.place,
                value: sent.value,
            }),
            Subject::PositionRecord => {
                let record = PositionRecord::decode(&sent.value);
                world.last_position.clone_from(&record);
                self.position_offset = Some(world.positions.len() as i64);
                world.positions.push(Slot {
                    transaction,
                    record,
                });
            }
        }
    }

    fn fail(&mut self, subject: Subject, failure: Failure) {
        let position = match subject {
            Subject::Record(position) => Some(position),
            Subject::PositionRecord => None,
        };
        self.failed.get_or_insert((position, failure));
    }
}

impl Producer for ModelProducer {
    fn init_transactions(&mut self, _timeout: Duration) -> Result<(), CallError> {
        let mut world = self.now();
        if let Some(failure) = passing(&mut world) {
            return Err(failure.into());
        }
        let lost_before = unfinished(&mut world);
        if let Some(error) = lost_before {
            return Err(error);
        }
        if !world.take_over() {
            return Err(CallError::Unfinished("half committed".to_owned()));
        }
        let epoch = world.epoch;
        world.holder = self.shared.site;
        let lost_after = unfinished(&mut world);
        drop(world);
        match lost_after {
            Some(error) => Err(error),
            None => {
                self.epoch = Some(epoch);
                Ok(())
            }
        }
    }

    fn begin(&mut self) -> Result<(), Failure> {
        self.failed = None;
        let Some(epoch) = self.epoch else {
            return Ok(());
        };
        let mut world = self.now();
        if let Some(failure) = passing(&mut world) {
            return Err(failure);
        }
        if epoch != world.epoch {
            return Err(Failure::new(FailureKind::Fenced, "an old epoch"));
        }
        assert_eq!(world.current, None, "two transactions at a time");
        world.transactions.push(State::Open);
        let transaction = world.transactions.len() - 1;
        world.current = Some(transaction);
        drop(world);
        self.transaction = Some(transaction);
        Ok(())
    }

    fn send(&mut self, message: &Message<'_>) -> Result<(), SendError> {
        let mut world = self.now();
        if world.fault(0.02) {
            return Err(SendError::Full);
        }
        if let Some(failure) = passing(&mut world) {
            return Err(failure.into());
        }
        if message.value.len() > LARGEST_MESSAGE {
            return Err(Failure::new(FailureKind::TooLarge, "larger than any").into());
        }
        drop(world);
        let header = |wanted: &str| {
            let mut headers = message.headers();
            let found = headers.find(|(name, _)| *name == wanted);
            found.map(|(_, value)| value.to_owned()).unwrap_or_default()
        };
        self.in_flight.push_back(Sent {
            subject: message.subject,
            id: header("ce_id"),
            place: header(POSITION_HEADER),
            value: message.value.to_vec(),
        });
        Ok(())
    }

    fn poll(&mut self, _timeout: Duration) {
        self.shared.step();
        self.deliver();
    }

    fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    fn failed_delivery(&self) -> Option<(Option<Position>, Failure)> {
        self.failed.clone()
    }

    fn position_offset(&self) -> Option<i64> {
        self.position_offset
    }

    fn commit(&mut self, _timeout: Duration) -> Result<(), CallError> {
        assert!(self.in_flight.is_empty(), "a commit before the drain");
        assert_eq!(self.failed, None, "a commit after a failed delivery");
        let transaction = self.transaction.unwrap_or(NO_TRANSACTION);
        let mut world = self.now();
        match world.transactions[transaction] {
            State::Committed | State::Ending => return Ok(()),
            State::Aborted => return Err(Failure::new(FailureKind::Fenced, "given up").into()),
            State::Open => {}
        }
        if self.epoch != Some(world.epoch) {
            return Err(Failure::new(FailureKind::Fenced, "an old epoch").into());
        }
        let arrives = !world.fault(0.1);
        if arrives {
            world.end_transaction(transaction);
        } else if world.random.random_bool(0.5) {
            world.late_commit = Some(transaction);
        }
        let reply_lost = world.fault(0.1);
        let slow = world.random.random_bool(0.5);
        drop(world);
        self.shared.step();
        match (arrives && !reply_lost, slow) {
            (true, _) => Ok(()),
            (false, true) => Err(CallError::Unfinished("no reply yet".to_owned())),
            (false, false) => Err(Failure::new(FailureKind::Unreachable, "no reply").into()),
        }
    }

    fn abort(&mut self, _timeout: Duration) {
        self.in_flight.clear();
        let mut world = self.now();
        let lost = world.fault(0.3);
        if !lost && world.current == self.transaction && self.epoch == Some(world.epoch) {
            if let Some(transaction) = world.current.take() {
                world.transactions[transaction] = State::Aborted;
            }
            world.late_commit = None;
        }
    }

    fn lost_all_brokers(&mut self) -> Option<String> {
        self.now()
            .fault(0.05)
            .then(|| "all brokers are down".to_owned())
    }

    fn probe(&mut self, _timeout: Duration) -> bool {
        !self.now().fault(0.5)
    }
}
