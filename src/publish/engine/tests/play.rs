//! Journal and brokers in the tests of the engine: played on one thread, in which only their calls take time.

use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use uuid::Uuid;

use super::super::*;
use crate::clock::ManualClock;
use crate::event::EventType;
use crate::publish::backlog::Lineage;
use crate::publish::cluster::{CallError, Limits, SendError};
use crate::publish::failure::FailureKind;
use crate::publish::message::Message;
use crate::publish::model::settings;
use crate::publish::positions::Found;
use crate::publish::topics::{Facts, NewTopic, Seen};
use crate::record::{Placed, Record};

/// What happens. Clones share it; it is journal, brokers and producer at once.
#[derive(Clone)]
pub(super) struct Play {
    clock: Arc<ManualClock>,
    stop: Stop,
    pub(super) status: Status,
    shared: Arc<Mutex<State>>,
}

pub(super) struct State {
    script: Script,
    durable: u64,
    in_flight: usize,
    /// How long the engine paused between its sessions.
    pub(super) pauses: Vec<Duration>,
    /// When a survey was asked for, a commit, and whether a broker answers.
    pub(super) surveys: Vec<Instant>,
    pub(super) commits: Vec<Instant>,
    pub(super) probes: Vec<Instant>,
    /// When a position was noted as published, and what was degraded then.
    pub(super) published: Vec<(Instant, u64, Vec<Degraded>)>,
}

/// What the brokers do.
#[derive(Clone, Copy)]
pub(super) struct Script {
    /// What is wrong at the survey of this number.
    pub(super) survey: fn(usize) -> Option<FailureKind>,
    pub(super) delivers: bool,
    /// `None`: a commit never comes to an end.
    pub(super) commit_takes: Option<Duration>,
    pub(super) lost_all_brokers: bool,
    /// How many records come, each once those before it are published.
    pub(super) records: u64,
    /// What ends the play.
    pub(super) pauses: usize,
    pub(super) idles: usize,
}

pub(super) const GOOD_DAY: Script = Script {
    survey: |_| None,
    delivers: true,
    commit_takes: Some(Duration::ZERO),
    lost_all_brokers: false,
    records: 0,
    pauses: usize::MAX,
    idles: usize::MAX,
};

/// Plays until the script is over.
pub(super) fn play(script: Script) -> Play {
    let clock: Arc<ManualClock> = Arc::default();
    let play = Play {
        stop: Stop::new(clock.clone()),
        status: Status::new(clock.clone()),
        clock: clock.clone(),
        shared: Arc::new(Mutex::new(State {
            script,
            durable: script.records.min(1),
            in_flight: 0,
            pauses: Vec::new(),
            surveys: Vec::new(),
            commits: Vec::new(),
            probes: Vec::new(),
            published: Vec::new(),
        })),
    };
    let engine = Engine::new(
        &settings(Delivery::ExactlyOnce),
        Pacing::default(),
        play.clone(),
        play.clone(),
        play.status.clone(),
        play.stop.clone(),
        clock,
    );
    assert!(matches!(engine.run(), End::Stopped { .. }));
    play
}

impl Play {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap()
    }

    /// Takes one off; at the last the play is over.
    fn count_down(&self, left: &mut usize) {
        *left -= 1;
        if *left == 0 {
            self.stop.request(Duration::ZERO);
        }
    }

    pub(super) fn is_degraded(&self, code: Degraded) -> bool {
        self.status
            .degraded()
            .iter()
            .any(|(degraded, _)| *degraded == code)
    }
}

/// The times between each and the next.
pub(super) fn gaps(times: &[Instant]) -> Vec<Duration> {
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

impl Cluster for Play {
    type Producer = Self;

    fn survey(&mut self, topics: &[&str]) -> Result<(Option<String>, Vec<Seen>), Failure> {
        let mut state = self.state();
        let number = state.surveys.len();
        state.surveys.push(self.clock.now());
        if let Some(kind) = (state.script.survey)(number) {
            return Err(Failure::new(kind, "as the script says"));
        }
        let seen = topics.iter().map(|topic| Seen {
            name: (*topic).to_owned(),
            state: Ok(Facts {
                partitions: 1,
                replicas: 3,
                ..Facts::default()
            }),
        });
        Ok((None, seen.collect()))
    }

    fn create(&mut self, _topics: &[NewTopic]) -> Result<(), Failure> {
        Ok(())
    }

    fn end_of_positions(&mut self) -> Result<i64, Failure> {
        Ok(0)
    }

    fn newest_position(
        &mut self,
        _key: &str,
        _from: Option<i64>,
        _end: i64,
    ) -> Result<Option<Found>, CallError> {
        Ok(None)
    }

    fn compresses(&self) -> bool {
        false
    }

    fn producer(&mut self, _limits: Limits) -> Result<Self, Failure> {
        self.state().in_flight = 0;
        Ok(self.clone())
    }

    fn pause(&mut self, duration: Duration, _stop: &Stop) {
        self.clock.advance(duration);
        let mut state = self.state();
        state.pauses.push(duration);
        self.count_down(&mut state.script.pauses);
    }
}

impl Producer for Play {
    fn init_transactions(&mut self, _timeout: Duration) -> Result<(), CallError> {
        Ok(())
    }

    fn begin(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    fn send(&mut self, _message: &Message<'_>) -> Result<(), SendError> {
        self.state().in_flight += 1;
        Ok(())
    }

    fn poll(&mut self, timeout: Duration) {
        self.clock.advance(timeout);
        let mut state = self.state();
        if state.script.delivers {
            state.in_flight = 0;
        }
    }

    fn in_flight(&self) -> usize {
        self.state().in_flight
    }

    fn failed_delivery(&self) -> Option<(Option<Position>, Failure)> {
        None
    }

    fn position_offset(&self) -> Option<i64> {
        Some(0)
    }

    fn commit(&mut self, timeout: Duration) -> Result<(), CallError> {
        let mut state = self.state();
        state.commits.push(self.clock.now());
        match state.script.commit_takes {
            Some(time) => {
                self.clock.advance(time);
                Ok(())
            }
            None => {
                self.clock.advance(timeout);
                Err(CallError::Unfinished("it is slow".to_owned()))
            }
        }
    }

    fn abort(&mut self, _timeout: Duration) {}

    fn lost_all_brokers(&mut self) -> Option<String> {
        let lost = self.state().script.lost_all_brokers;
        let first = self.state().probes.is_empty();
        (lost && first).then(|| "all brokers are down".to_owned())
    }

    fn probe(&mut self, _timeout: Duration) -> bool {
        let mut state = self.state();
        state.probes.push(self.clock.now());
        !state.script.lost_all_brokers
    }
}

impl Backlog for Play {
    fn journal(&self) -> Uuid {
        Uuid::nil()
    }

    fn generation(&self) -> u64 {
        1
    }

    fn lineage(&self) -> Lineage {
        Lineage {
            run: Uuid::nil(),
            before: Vec::new(),
        }
    }

    fn published(&self) -> (Position, Option<i64>) {
        (Position(0), None)
    }

    fn wait_beyond(&self, position: Position, timeout: Duration) -> Position {
        let mut state = self.state();
        if state.durable <= position.0 && !timeout.is_zero() {
            self.clock.advance(timeout);
            self.count_down(&mut state.script.idles);
        }
        Position(state.durable)
    }

    fn read(
        &mut self,
        after: Position,
        _max_records: usize,
        _max_bytes: usize,
    ) -> Result<Vec<Placed>, BacklogError> {
        let placed = |position| Placed {
            journal: Uuid::nil(),
            position: Position(position),
            crc: 0,
            record: Record {
                id: format!("id-{position}"),
                kind: EventType::ItineraryCreated,
                key: None,
                received_at: jiff::Timestamp::UNIX_EPOCH,
                traceparent: None,
                correlation_id: None,
                ess_topic: None,
                quarantine: None,
                content: Bytes::from_static(br#"{"source":"/concur/v1/company","data":1}"#),
            },
        };
        Ok((after.0 + 1..=self.state().durable).map(placed).collect())
    }

    fn mark_published(&mut self, position: Position, _offset_hint: Option<i64>) {
        let degraded = self.status.degraded().into_iter().map(|(code, _)| code);
        let noted = (self.clock.now(), position.0, degraded.collect());
        let mut state = self.state();
        state.published.push(noted);
        if position.0 == state.durable && state.durable < state.script.records {
            state.durable += 1;
        }
    }

    fn crc_at(&mut self, _position: Position) -> Result<Option<u32>, BacklogError> {
        Ok(None)
    }

    fn renew_uuid(&mut self, _after: Position) -> Result<Uuid, BacklogError> {
        Ok(Uuid::nil())
    }

    fn quarantine_oversized(&mut self, _record: &Placed) -> Result<(), BacklogError> {
        Ok(())
    }

    fn cluster_id(&self) -> Option<String> {
        None
    }

    fn bind_cluster(&mut self, _cluster_id: &str) -> Result<(), BacklogError> {
        Ok(())
    }
}
