//! The bounded queue between the handlers and the writer.
//!
//! Bounded by items and by bytes; bytes count until their batch is committed, so what is in flight is always reserved. A
//! handler never waits here: it is refused at once. The writer takes all that waits in one swap.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use uuid::Uuid;

use super::{AppendError, Appended, Claim, record_codec};
use crate::clock::Clock;
use crate::record::{Position, Record};

/// Twice the default of `ingress.max_in_flight`, so that this bound is met only when that one was raised.
const MAX_JOBS: usize = 16_384;
/// Bytes waiting or being committed: 64 records of the largest default body, with room to spare.
const MAX_BYTES: u64 = 32 << 20;

/// A record as the writer stores it: encoded and summed by its handler.
#[derive(Debug)]
pub(super) struct Encoded {
    /// For the table of deliveries.
    pub(super) id: String,
    pub(super) received_ms: i64,
    /// The row of `records`.
    pub(super) payload: Vec<u8>,
    /// CRC of `payload` without its place.
    pub(super) crc: u32,
    /// The row of `quarantine`, for a quarantined request.
    pub(super) quarantined: Option<Quarantined>,
}

/// The part of a quarantined request that its own limit counts.
#[derive(Debug, Clone)]
pub(super) struct Quarantined {
    pub(super) id: String,
    pub(super) reason: String,
    pub(super) received_ms: i64,
    /// The whole record, encoded.
    pub(super) payload: Vec<u8>,
}

impl Quarantined {
    /// The whole of `record`, to lie in the quarantine under `reason`.
    pub(super) fn new(record: &Record, reason: &str) -> Self {
        Self {
            id: record.id.clone(),
            reason: reason.to_owned(),
            received_ms: record.received_at.as_millisecond(),
            payload: record_codec::encode(record),
        }
    }
}

impl Encoded {
    /// Bytes it takes of the journal, rows and pages included: 24 for the row and its cell, and a sixteenth for the ends of
    /// pages.
    pub(super) fn reserved_bytes(&self) -> u64 {
        let body = self
            .quarantined
            .as_ref()
            .map_or(0, |quarantined| quarantined.payload.len());
        let bytes = (self.payload.len() + body) as u64;
        bytes + bytes / 16 + 24
    }
}

pub(super) type Reply<T> = oneshot::Sender<Result<T, AppendError>>;

/// What the writer is asked to do, in order.
#[derive(Debug)]
pub(super) enum Job {
    Append {
        record: Encoded,
        claim: Option<Claim>,
        reply: Reply<Appended>,
    },
    /// Appends the record made of a quarantined request and drops that request's body, both or neither. `None`: the
    /// request is not there any more.
    Requeue {
        record: Encoded,
        quarantined: Position,
        reply: Reply<Option<Position>>,
    },
    /// Drops the body of a quarantined request. False: it is not there any more.
    Discard {
        quarantined: Position,
        reply: Reply<bool>,
    },
    /// Keeps a record that Kafka refused in the quarantine, under its own position.
    KeepOversized {
        position: Position,
        body: Quarantined,
        reply: Reply<()>,
    },
    RenewUuid {
        /// Records beyond this one are numbered anew.
        after: Position,
        reply: Reply<Uuid>,
    },
    BindCluster {
        cluster_id: String,
        reply: Reply<()>,
    },
}

impl Job {
    fn reserved_bytes(&self) -> u64 {
        match self {
            Self::Append { record, .. } | Self::Requeue { record, .. } => record.reserved_bytes(),
            Self::KeepOversized { body, .. } => body.payload.len() as u64,
            Self::Discard { .. } | Self::RenewUuid { .. } | Self::BindCluster { .. } => 0,
        }
    }

    /// Answers a job that was not done.
    pub(super) fn refuse(self, error: AppendError) {
        // A waiter that went away needs no answer.
        match self {
            Self::Append { reply, .. } => drop(reply.send(Err(error))),
            Self::Requeue { reply, .. } => drop(reply.send(Err(error))),
            Self::Discard { reply, .. } => drop(reply.send(Err(error))),
            Self::KeepOversized { reply, .. } | Self::BindCluster { reply, .. } => {
                drop(reply.send(Err(error)));
            }
            Self::RenewUuid { reply, .. } => drop(reply.send(Err(error))),
        }
    }
}

/// Why the queue takes nothing any more.
#[derive(Debug, Clone)]
enum Gate {
    Open,
    Closing,
    Poisoned(AppendError),
}

#[derive(Debug)]
struct State {
    jobs: Vec<Job>,
    /// Bytes of `jobs` and of the batch being committed.
    reserved_bytes: u64,
    gate: Gate,
    writer_waits: bool,
}

/// The queue.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
    ended: Condvar,
    clock: Arc<dyn Clock>,
}

/// What the writer finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// Jobs, and the bytes that they and nothing else have reserved.
    Jobs { reserved_bytes: u64 },
    /// Nothing arrived in time.
    Idle,
    /// Nothing is left and nothing can come.
    Closed,
}

impl Queue {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            state: Mutex::new(State {
                jobs: Vec::new(),
                reserved_bytes: 0,
                gate: Gate::Open,
                writer_waits: false,
            }),
            arrived: Condvar::new(),
            ended: Condvar::new(),
            clock,
        }
    }

    /// Hands a job to the writer. `admit` sees the bytes that would be reserved with it and may refuse.
    pub(super) fn push(
        &self,
        job: Job,
        admit: impl FnOnce(u64) -> Result<(), AppendError>,
    ) -> Result<(), AppendError> {
        let bytes = job.reserved_bytes();
        let mut state = self.lock();
        match &state.gate {
            Gate::Open => {}
            Gate::Closing => return Err(AppendError::Closing),
            Gate::Poisoned(cause) => return Err(cause.clone()),
        }
        let reserved = state.reserved_bytes + bytes;
        if state.jobs.len() >= MAX_JOBS || (reserved > MAX_BYTES && state.reserved_bytes > 0) {
            return Err(AppendError::QueueFull);
        }
        admit(reserved)?;
        state.reserved_bytes = reserved;
        state.jobs.push(job);
        let wake = std::mem::take(&mut state.writer_waits);
        drop(state);
        if wake {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Moves all that waits into the empty `jobs`, waiting up to `timeout` for something to come.
    pub(super) fn take(&self, jobs: &mut Vec<Job>, timeout: Duration) -> Taken {
        let mut state = self
            .clock
            .wait_while(&self.arrived, self.lock(), timeout, |state| {
                state.writer_waits = state.jobs.is_empty() && matches!(state.gate, Gate::Open);
                state.writer_waits
            });
        state.writer_waits = false;
        if !state.jobs.is_empty() {
            std::mem::swap(&mut state.jobs, jobs);
            // Only one batch is out at a time, so all that is reserved belongs to it.
            return Taken::Jobs {
                reserved_bytes: state.reserved_bytes,
            };
        }
        match state.gate {
            Gate::Open => Taken::Idle,
            Gate::Closing | Gate::Poisoned(_) => Taken::Closed,
        }
    }

    /// Gives back what a batch had reserved, once it is committed or refused.
    pub(super) fn release(&self, bytes: u64) {
        let mut state = self.lock();
        state.reserved_bytes = state.reserved_bytes.saturating_sub(bytes);
    }

    /// Takes no further job; those that wait are still done.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        if matches!(state.gate, Gate::Open) {
            state.gate = Gate::Closing;
        }
        drop(state);
        self.arrived.notify_all();
        self.ended.notify_all();
    }

    /// Takes no further job, and gives back those that wait for the caller to refuse.
    pub(super) fn poison(&self, cause: AppendError) -> Vec<Job> {
        let mut state = self.lock();
        state.gate = Gate::Poisoned(cause);
        let jobs = std::mem::take(&mut state.jobs);
        drop(state);
        self.arrived.notify_all();
        self.ended.notify_all();
        jobs
    }

    /// Waits for the end of the queue, at most `timeout`. True when it is still open.
    pub(super) fn stays_open(&self, timeout: Duration) -> bool {
        let state = self
            .clock
            .wait_while(&self.ended, self.lock(), timeout, |state| {
                matches!(state.gate, Gate::Open)
            });
        matches!(state.gate, Gate::Open)
    }

    /// Whether jobs are taken.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.lock().gate, Gate::Open)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
