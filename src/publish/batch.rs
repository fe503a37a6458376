//! One batch: a transaction of records and the position they reach.
//!
//! The next batch is read from the journal while this one is on its way to the brokers. Everything is drained before the
//! commit: rdkafka's own commit waits in steps of 100 ms for what is not.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::backlog::{Backlog, BacklogError};
use super::cluster::{CallError, Cluster, Producer, SendError};
use super::engine::{Engine, Interruption};
use super::failure::{Failure, FailureKind};
use super::message::{ComposeError, Message};
use super::positions::PositionRecord;
use super::status::Degraded;
use super::stub;
use crate::failpoint;
use crate::record::{Placed, Position};

/// How often an idle publisher asks whether brokers that were down are back.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// Why a message was not sent.
enum Unsent {
    /// It was refused itself, before it was on its way.
    Refused(Failure),
    /// Something came in between, perhaps the failure of a message before it.
    Interrupted(Interruption),
}

impl<C: Cluster, B: Backlog> Engine<C, B> {
    /// Waits a little for records; empty when none came.
    pub(super) fn next_batch(
        &mut self,
        producer: &mut C::Producer,
    ) -> Result<Vec<Placed>, Interruption> {
        let durable = self.backlog.wait_beyond(self.confirmed, self.pacing.idle);
        if durable <= self.confirmed {
            self.look_after_idle(producer);
            return Ok(Vec::new());
        }
        let waiting = durable.0 - self.confirmed.0;
        if let Some(until) = self.rests_until
            && waiting < self.pacing.max_records as u64
        {
            producer.poll(until.saturating_duration_since(self.clock.now()));
        }
        self.read_after(self.confirmed)
    }

    /// Publishes a batch and returns what was read ahead of it meanwhile.
    ///
    /// On `Ok` the batch is in Kafka for good; on `Err` it may or may not be, and the start sequence finds out.
    pub(super) fn publish_batch(
        &mut self,
        producer: &mut C::Producer,
        batch: &[Placed],
    ) -> Result<Vec<Placed>, Interruption> {
        let (Some(first), Some(last)) = (batch.first(), batch.last()) else {
            return Ok(Vec::new());
        };
        let begun = self.clock.now();
        self.in_hand = Some((first.position, last.position));
        failpoint!("publish.before_begin");
        producer.begin()?;
        for placed in batch {
            self.send_record(producer, placed)?;
        }
        if self.transactional() {
            self.send_position(producer, last.position, last.crc)?;
        }
        failpoint!("publish.after_send");
        let ahead = self.read_ahead(last.position)?;
        self.drain(producer)?;
        if self.transactional() {
            failpoint!("publish.before_commit");
            self.commit(producer)?;
            failpoint!("publish.after_commit");
        }
        // Before the position: a reader of the new position must not see an alarm that has ended.
        self.status.publishing_works();
        self.note_position(producer, last.position);
        failpoint!("publish.after_mark");
        self.settle(batch, begun);
        Ok(ahead)
    }

    fn look_after_idle(&mut self, producer: &mut C::Producer) {
        producer.poll(self.pacing.poll);
        // Brokers close idle connections: that nobody is connected does not say that nobody can be.
        let lost = producer.lost_all_brokers();
        let due = !self.status.kafka_up() && self.is_over(self.last_probe, PROBE_EVERY);
        if lost.is_none() && !due {
            return;
        }
        self.last_probe = self.clock.now();
        if producer.probe(self.pacing.slice) {
            self.status.publishing_works();
        } else {
            self.status.kafka_is_down(lost);
        }
    }

    /// With messages on their way librdkafka is connecting all the time: losing all brokers is an outage.
    fn look_after_busy(&self, producer: &mut C::Producer) {
        if let Some(reason) = producer.lost_all_brokers() {
            self.status.degrade(Degraded::KafkaDown, &reason);
        }
    }

    /// A topic that is gone ends the session; brokers that are gone are left to librdkafka, with an alarm.
    fn look_into_stall(&mut self) -> Result<(), Interruption> {
        match self.preparation.fault(&mut self.cluster) {
            None => Ok(()),
            Some(failure) if failure.kind == FailureKind::Unreachable => {
                self.status.degrade(Degraded::KafkaDown, &failure.text);
                Ok(())
            }
            Some(failure) => Err(failure.into()),
        }
    }

    fn read_after(&mut self, after: Position) -> Result<Vec<Placed>, Interruption> {
        let max_records = if after < self.isolation.until {
            1
        } else {
            self.pacing.max_records
        };
        Ok(self
            .backlog
            .read(after, max_records, self.pacing.max_bytes)?)
    }

    /// Reads ahead only what makes a large transaction: a few records are better joined by those that come meanwhile.
    fn read_ahead(&mut self, after: Position) -> Result<Vec<Placed>, Interruption> {
        let durable = self.backlog.wait_beyond(after, Duration::ZERO);
        let waiting = durable.0.saturating_sub(after.0);
        if waiting < self.pacing.max_records as u64 / 2 {
            return Ok(Vec::new());
        }
        self.read_after(after)
    }

    fn send_record(
        &mut self,
        producer: &mut C::Producer,
        placed: &Placed,
    ) -> Result<(), Interruption> {
        let position = placed.position;
        let stand_in;
        let message = if placed.record.content.is_empty() {
            stand_in = stub::of_discarded(placed);
            self.composer.compose(&stand_in)
        } else {
            let message = self.composer.compose(placed);
            match message {
                Ok(message) if self.is_oversized(position, &message) => {
                    // Durably kept before the transaction that carries the stub can commit.
                    self.backlog.quarantine_oversized(placed)?;
                    let reason = format!(
                        "it needs at least {} bytes, more than topic {} takes",
                        message.least_batch_bytes(),
                        message.topic
                    );
                    if self.isolation.set_aside(position, &reason) {
                        self.status.failed(FailureKind::TooLarge, &reason);
                    }
                    stand_in = stub::of_oversized(placed);
                    self.composer
                        .compose_in(self.composer.topic_of(&placed.record), &stand_in)
                }
                other => other,
            }
        }
        .map_err(|error| unreadable(position, &error))?;
        match self.send(producer, &message) {
            Ok(()) => Ok(()),
            Err(Unsent::Interrupted(interruption)) => Err(interruption),
            Err(Unsent::Refused(failure)) => {
                self.in_hand = Some((position, position));
                Err(failure.into())
            }
        }
    }

    pub(super) fn send_position(
        &mut self,
        producer: &mut C::Producer,
        position: Position,
        crc: u32,
    ) -> Result<(), Interruption> {
        let lineage = self.succession.lineage();
        let record = PositionRecord {
            journal: self.backlog.journal(),
            generation: self.backlog.generation(),
            run: lineage.run,
            before: lineage.before.clone(),
            position: position.0,
            crc,
        };
        let message = Message::position_record(
            &self.positions_topic,
            &self.transactional_id,
            record.encode(),
        );
        match self.send(producer, &message) {
            Ok(()) => Ok(()),
            Err(Unsent::Interrupted(interruption)) => Err(interruption),
            Err(Unsent::Refused(failure)) => {
                self.in_hand = None;
                Err(failure.into())
            }
        }
    }

    fn send(&self, producer: &mut C::Producer, message: &Message<'_>) -> Result<(), Unsent> {
        loop {
            match producer.send(message) {
                Ok(()) => return Ok(()),
                Err(SendError::Full) => {
                    if let Some((_, failure)) = producer.failed_delivery() {
                        return Err(Unsent::Interrupted(failure.into()));
                    }
                    self.give_up_if_stopping(producer)
                        .map_err(Unsent::Interrupted)?;
                    producer.poll(self.pacing.poll);
                }
                Err(SendError::Failed(failure)) => return Err(Unsent::Refused(failure)),
            }
        }
    }

    fn is_oversized(&self, position: Position, message: &Message<'_>) -> bool {
        self.isolation.oversized.contains(&position)
            || self
                .topic_limits
                .get(message.topic)
                .is_some_and(|limit| message.least_batch_bytes() > *limit)
    }

    /// Waits for the delivery reports of all that was sent.
    pub(super) fn drain(&mut self, producer: &mut C::Producer) -> Result<(), Interruption> {
        let mut moved = (producer.in_flight(), self.clock.now());
        loop {
            if let Some((position, failure)) = producer.failed_delivery() {
                if position.is_none() {
                    // The position record: isolating records would not help.
                    self.in_hand = None;
                }
                return Err(failure.into());
            }
            let in_flight = producer.in_flight();
            if in_flight == 0 {
                return Ok(());
            }
            if in_flight != moved.0 {
                moved = (in_flight, self.clock.now());
            } else if self.is_over(moved.1, self.pacing.stall) {
                self.look_into_stall()?;
                moved.1 = self.clock.now();
            }
            self.look_after_busy(producer);
            self.give_up_if_stopping(producer)?;
            producer.poll(self.pacing.poll);
        }
    }

    pub(super) fn commit(&mut self, producer: &mut C::Producer) -> Result<(), Interruption> {
        let began = self.clock.now();
        loop {
            match producer.commit(self.pacing.slice) {
                Ok(()) => return Ok(()),
                Err(CallError::Failed(failure)) => return Err(failure.into()),
                Err(CallError::Unfinished(reason)) => {
                    self.look_after_busy(producer);
                    self.give_up_if_stopping(producer)?;
                    if self.is_over(began, self.pacing.commit_timeout) {
                        let timeout = self.pacing.commit_timeout;
                        return Err(Failure::gave_up("a commit", timeout, &reason).into());
                    }
                }
            }
        }
    }

    /// Kafka has everything up to `position`.
    pub(super) fn note_position(&mut self, producer: &mut C::Producer, position: Position) {
        self.confirmed = position;
        if self.transactional() {
            self.hint = producer.position_offset();
        }
        self.status.set_published(position);
        failpoint!("publish.before_mark");
        self.backlog.mark_published(position, self.hint);
    }

    fn settle(&mut self, batch: &[Placed], begun: Instant) {
        self.in_hand = None;
        self.isolation.oversized = self
            .isolation
            .oversized
            .split_off(&Position(self.confirmed.0 + 1));
        self.reset_backoff();
        let now = self.clock.now();
        let took = now.duration_since(begun);
        let rest = (took * self.pacing.rest_ratio).min(self.pacing.max_rest);
        // One by one, nothing is collected by resting.
        let collects = self.confirmed >= self.isolation.until;
        self.rests_until = collects.then(|| now + rest);
        self.meters.took(took);
        let mut by_topic: BTreeMap<&str, u64> = BTreeMap::new();
        for placed in batch {
            *by_topic
                .entry(self.composer.topic_of(&placed.record))
                .or_default() += 1;
        }
        for (topic, events) in by_topic {
            self.meters.published(topic, events);
        }
    }

    /// Gives an open transaction up when its time is over, or when nothing but its time could end it.
    fn give_up_if_stopping(&self, producer: &mut C::Producer) -> Result<(), Interruption> {
        let kafka_up = self.status.kafka_up();
        if self.stop.expired() || (self.stop.requested() && !kafka_up) {
            if self.transactional() && kafka_up {
                producer.abort(self.pacing.abort_timeout);
            }
            return Err(Interruption::Stopped {
                transaction_open: kafka_up,
            });
        }
        Ok(())
    }
}

fn unreadable(position: Position, error: &ComposeError) -> BacklogError {
    BacklogError::Damaged {
        position,
        what: error.to_string(),
    }
}
