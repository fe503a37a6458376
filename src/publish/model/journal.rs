//! A journal in memory whose mark is as lazy as the real one's: a kill may lose the newest.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::broker::{Shared, TOPIC_LIMIT};
use crate::clock::ManualClock;
use crate::event::EventType;
use crate::publish::backlog::{Backlog, BacklogError, Lineage};
use crate::publish::stop::Stop;
use crate::record::{Placed, Position, Record};

/// Records of a run.
const RECORDS: u64 = 40;

/// Clones are the same journal.
#[derive(Clone)]
pub(super) struct ModelJournal {
    world: Shared,
    stop: Stop,
    state: Arc<Mutex<State>>,
}

#[derive(Clone)]
struct State {
    uuid: Uuid,
    generation: u64,
    runs: Vec<Uuid>,
    backup: Option<Box<State>>,
    records: Vec<Placed>,
    /// What the open journal knows, and what it would know after a kill.
    mark: (Position, Option<i64>),
    durable_mark: (Position, Option<i64>),
    /// Positions up to here were deleted by retention.
    deleted: Position,
    cluster: Option<String>,
}

impl ModelJournal {
    pub(super) fn new(world: Shared) -> Self {
        Self {
            world,
            stop: Stop::new(Arc::new(ManualClock::new())),
            state: Arc::new(Mutex::new(State {
                uuid: Uuid::new_v4(),
                generation: 0,
                runs: Vec::new(),
                backup: None,
                records: Vec::new(),
                mark: (Position(0), None),
                durable_mark: (Position(0), None),
                deleted: Position(0),
                cluster: None,
            })),
        }
    }

    /// The journal as the next process opens it; it asks for `stop` when it wants the process to end.
    pub(super) fn opened(&self, stop: Stop) -> Self {
        self.state().generation += 1;
        Self {
            stop,
            ..self.clone()
        }
    }

    /// The same journal, of a process on this site.
    pub(super) fn at(self, world: Shared) -> Self {
        Self { world, ..self }
    }

    /// What a copy of its directory is: the same so far, a life of its own.
    pub(super) fn copy(&self) -> Self {
        let mut state = self.state().clone();
        state.mark = state.durable_mark;
        Self {
            state: Arc::new(Mutex::new(state)),
            ..self.clone()
        }
    }

    pub(super) fn killed(&self) {
        let restores = self.world.restores_backups() && self.world.fault(0.5);
        let mut state = self.state();
        state.mark = state.durable_mark;
        if restores && let Some(backup) = state.backup.take() {
            *state = *backup;
        }
    }

    pub(super) fn all_published(&self) -> bool {
        let state = self.state();
        state.mark.0 == Position(RECORDS)
    }

    pub(super) fn uuid(&self) -> Uuid {
        self.state().uuid
    }

    pub(super) fn ids(&self) -> Vec<String> {
        let state = self.state();
        let records = state.records.iter();
        records.map(|placed| placed.record.id.clone()).collect()
    }

    fn last(&self) -> Position {
        Position(self.state().records.len() as u64)
    }

    pub(super) fn content_of(&self, id: &str) -> Option<Bytes> {
        let state = self.state();
        let mut records = state.records.iter().map(|placed| &placed.record);
        records
            .find(|record| record.id == id)
            .map(|record| record.content.clone())
    }

    fn append(&self) {
        let padding = match self.world.pick(0..=99) {
            0 => TOPIC_LIMIT + 1,
            1 => 3 * TOPIC_LIMIT,
            _ => 10,
        };
        let number = self.world.number();
        let mut state = self.state();
        let position = Position(state.records.len() as u64 + 1);
        let content = format!(
            r#"{{"source":"/concur/v1/company","data":"{number} {}"}}"#,
            "x".repeat(padding)
        );
        let journal = state.uuid;
        state.records.push(Placed {
            journal,
            position,
            crc: crc32c::crc32c(content.as_bytes()),
            record: Record {
                id: format!("id-{number}"),
                kind: EventType::ItineraryCreated,
                key: Some("trip".to_owned()),
                received_at: jiff::Timestamp::UNIX_EPOCH,
                traceparent: None,
                correlation_id: None,
                ess_topic: None,
                quarantine: None,
                content: content.into(),
            },
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backlog for ModelJournal {
    fn journal(&self) -> Uuid {
        self.state().uuid
    }

    fn generation(&self) -> u64 {
        self.state().generation
    }

    fn lineage(&self) -> Lineage {
        let run = Uuid::new_v4();
        self.world.runs(run);
        let mut state = self.state();
        let before = state.runs.clone();
        state.runs.insert(0, run);
        Lineage { run, before }
    }

    fn published(&self) -> (Position, Option<i64>) {
        self.state().mark
    }

    fn wait_beyond(&self, position: Position, _timeout: Duration) -> Position {
        self.world.step();
        if self.last() <= position {
            if self.last() < Position(RECORDS) {
                for _ in 0..self.world.pick(1..=5) {
                    if self.last() < Position(RECORDS) {
                        self.append();
                    }
                }
            } else if self.all_published() && (self.world.is_calm() || self.world.chance(0.3)) {
                self.stop.request(Duration::from_secs(3_600));
            }
        } else if self.world.fault(0.01) {
            self.stop.request(Duration::ZERO);
        }
        self.last()
    }

    fn read(
        &mut self,
        after: Position,
        max_records: usize,
        _max_bytes: usize,
    ) -> Result<Vec<Placed>, BacklogError> {
        self.world.step();
        let state = self.state();
        assert!(after >= state.deleted, "published records are read again");
        Ok(state.records[after.0 as usize..]
            .iter()
            .take(max_records)
            .cloned()
            .collect())
    }

    fn mark_published(&mut self, position: Position, offset_hint: Option<i64>) {
        self.world.step();
        let becomes_durable = self.world.chance(0.5);
        let retention_runs = self.world.chance(0.2);
        let backed_up = self.world.restores_backups() && self.world.chance(0.2);
        let mut state = self.state();
        assert!(position >= state.mark.0, "the mark goes back");
        state.mark = (position, offset_hint);
        if becomes_durable {
            state.durable_mark = state.mark;
        }
        if retention_runs {
            state.deleted = state.durable_mark.0;
        }
        if backed_up {
            state.backup = None;
            let mut backup = state.clone();
            backup.mark = backup.durable_mark;
            state.backup = Some(Box::new(backup));
        }
        drop(state);
        self.world.step();
    }

    fn crc_at(&mut self, position: Position) -> Result<Option<u32>, BacklogError> {
        let state = self.state();
        Ok((position.0 as usize)
            .checked_sub(1)
            .filter(|_| position > state.deleted)
            .and_then(|index| state.records.get(index))
            .map(|placed| placed.crc))
    }

    fn renew_uuid(&mut self, after: Position) -> Result<Uuid, BacklogError> {
        assert!(
            self.world.restores_backups(),
            "a position that is this journal's was taken for another's"
        );
        self.world.step();
        let mut state = self.state();
        let uuid = Uuid::new_v4();
        state.uuid = uuid;
        for placed in &mut state.records[after.0 as usize..] {
            placed.journal = uuid;
        }
        drop(state);
        self.world.step();
        Ok(uuid)
    }

    fn quarantine_oversized(&mut self, record: &Placed) -> Result<(), BacklogError> {
        self.world.step();
        self.world.keep(&record.record.id);
        Ok(())
    }

    fn cluster_id(&self) -> Option<String> {
        self.state().cluster.clone()
    }

    fn bind_cluster(&mut self, cluster_id: &str) -> Result<(), BacklogError> {
        self.state().cluster = Some(cluster_id.to_owned());
        Ok(())
    }
}
