//! A journal in memory, as the publisher sees one. Clones share it: a clone given to a second publisher is the journal
//! after a restart. [`MemoryBacklog::copy`] is what a copied journal directory is: the same journal, a life of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use concur_bridge::event::EventType;
use concur_bridge::publish::{Backlog, BacklogError, Lineage};
use concur_bridge::record::{Placed, Position, Record};
use uuid::Uuid;

#[derive(Clone)]
pub(crate) struct MemoryBacklog {
    shared: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Clone)]
struct State {
    journal: Uuid,
    generation: u64,
    records: Vec<Placed>,
    published: (Position, Option<i64>),
    cluster_id: Option<String>,
    quarantined: BTreeMap<Position, Record>,
    fail_reads: bool,
    runs: Vec<Uuid>,
}

impl MemoryBacklog {
    pub(crate) fn new() -> Self {
        Self::with(State {
            journal: Uuid::new_v4(),
            generation: 1,
            records: Vec::new(),
            published: (Position(0), None),
            cluster_id: None,
            quarantined: BTreeMap::new(),
            fail_reads: false,
            runs: Vec::new(),
        })
    }

    fn with(state: State) -> Self {
        Self {
            shared: Arc::new((Mutex::new(state), Condvar::new())),
        }
    }

    /// The same journal on another disk.
    pub(crate) fn copy(&self) -> Self {
        Self::with(self.state().clone())
    }

    /// A journal restored from a backup that knows nothing of what was published since.
    pub(crate) fn forget_published(&self) {
        self.state().published = (Position(0), None);
    }

    pub(crate) fn append(&self, record: Record) -> Position {
        let mut state = self.state();
        let position = Position(state.records.len() as u64 + 1);
        let crc = crc32c::crc32c(&record.content) ^ crc32c::crc32c(record.id.as_bytes());
        let journal = state.journal;
        state.records.push(Placed {
            journal,
            position,
            crc,
            record,
        });
        self.shared.1.notify_all();
        position
    }

    pub(crate) fn append_events(&self, from: usize, count: usize) -> Vec<String> {
        (from..from + count)
            .map(|n| {
                let record = itinerary(n);
                let id = record.id.clone();
                self.append(record);
                id
            })
            .collect()
    }

    pub(crate) fn published_position(&self) -> Position {
        self.state().published.0
    }

    pub(crate) fn last(&self) -> Position {
        Position(self.state().records.len() as u64)
    }

    pub(crate) fn uuid(&self) -> Uuid {
        self.state().journal
    }

    pub(crate) fn quarantined(&self) -> Vec<Position> {
        self.state().quarantined.keys().copied().collect()
    }

    pub(crate) fn fail_reads(&self) {
        self.state().fail_reads = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap()
    }
}

impl Backlog for MemoryBacklog {
    fn journal(&self) -> Uuid {
        self.state().journal
    }

    fn generation(&self) -> u64 {
        self.state().generation
    }

    /// A publisher asks once, as it begins: each is a run of its own.
    fn lineage(&self) -> Lineage {
        let mut state = self.state();
        let before = state.runs.clone();
        let run = Uuid::new_v4();
        state.runs.insert(0, run);
        Lineage { run, before }
    }

    fn published(&self) -> (Position, Option<i64>) {
        self.state().published
    }

    fn wait_beyond(&self, position: Position, timeout: Duration) -> Position {
        let (state, _) = self
            .shared
            .1
            .wait_timeout_while(self.state(), timeout, |state| {
                state.records.len() as u64 <= position.0
            })
            .unwrap();
        Position(state.records.len() as u64)
    }

    fn read(
        &mut self,
        after: Position,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Placed>, BacklogError> {
        let state = self.state();
        if state.fail_reads {
            return Err(BacklogError::Failed("asked to".to_owned()));
        }
        let mut bytes = 0;
        Ok(state.records[after.0 as usize..]
            .iter()
            .take(max_records)
            .take_while(|placed| {
                let first = bytes == 0;
                bytes += placed.record.content.len();
                first || bytes <= max_bytes
            })
            .cloned()
            .collect())
    }

    fn mark_published(&mut self, position: Position, offset_hint: Option<i64>) {
        self.state().published = (position, offset_hint);
    }

    fn crc_at(&mut self, position: Position) -> Result<Option<u32>, BacklogError> {
        let state = self.state();
        Ok((position.0 as usize)
            .checked_sub(1)
            .and_then(|index| state.records.get(index))
            .map(|placed| placed.crc))
    }

    fn renew_uuid(&mut self, after: Position) -> Result<Uuid, BacklogError> {
        let mut state = self.state();
        let journal = Uuid::new_v4();
        state.journal = journal;
        for placed in &mut state.records[after.0 as usize..] {
            placed.journal = journal;
        }
        Ok(journal)
    }

    fn quarantine_oversized(&mut self, record: &Placed) -> Result<(), BacklogError> {
        self.state()
            .quarantined
            .insert(record.position, record.record.clone());
        Ok(())
    }

    fn cluster_id(&self) -> Option<String> {
        self.state().cluster_id.clone()
    }

    fn bind_cluster(&mut self, cluster_id: &str) -> Result<(), BacklogError> {
        self.state().cluster_id = Some(cluster_id.to_owned());
        Ok(())
    }
}

/// A trip's record, of about 550 bytes; `n` makes it unlike others, one of 50 trips.
pub(crate) fn itinerary(n: usize) -> Record {
    itinerary_of(n, 300)
}

/// A trip's record with so much padding.
pub(crate) fn itinerary_of(n: usize, padding: usize) -> Record {
    let id = Uuid::now_v7().to_string();
    let trip = format!("trip-{}", n % 50);
    let content = serde_json::json!({
        "specversion": "1.0",
        "id": id,
        "source": "/concur/v1/company",
        "type": EventType::ItineraryCreated.as_str(),
        "subject": trip,
        "time": "2026-11-24T00:42:39.123Z",
        "datacontenttype": "application/json",
        "dataschema": "urn:concur-bridge:schema:itinerary:1",
        "data": { "eventType": "CREATE", "tripId": trip, "n": n, "extra": { "padding": "x".repeat(padding) } },
    });
    Record {
        id,
        kind: EventType::ItineraryCreated,
        key: Some(trip),
        received_at: "2026-11-24T00:42:39.123Z".parse().unwrap(),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        correlation_id: None,
        ess_topic: None,
        quarantine: None,
        content: Bytes::from(content.to_string()),
    }
}
