//! The answers of a batch, held back until its fsync has returned.

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::queue::Reply;
use super::{AppendError, Appended};
use crate::record::Position;

/// One waiter and what it will hear.
#[derive(Debug)]
pub(super) enum Answer {
    Append(Reply<Appended>, Result<Appended, AppendError>),
    Requeue(
        Reply<Option<Position>>,
        Result<Option<Position>, AppendError>,
    ),
    Discard(Reply<bool>, Result<bool, AppendError>),
    Done(Reply<()>, Result<(), AppendError>),
    Uuid(Reply<Uuid>, Result<Uuid, AppendError>),
}

/// The way of a batch's answers to those who wait.
///
/// A thread that wakes tasks of a runtime from outside pays for each one: a lock, and often a system call. So the writer
/// hands the whole batch to a task inside, and begins its next commit.
pub(super) enum Messenger {
    /// To a task of the runtime that the waiters run on.
    Task(mpsc::Sender<Vec<Answer>>),
    /// Nobody runs a runtime here: one by one.
    Direct,
}

/// Batches that may wait for the task; beyond that the writer waits.
const BATCHES: usize = 16;

impl Messenger {
    /// One for the runtime of the calling thread, if it has one.
    pub(super) fn of_this_thread() -> Self {
        let Ok(runtime) = Handle::try_current() else {
            return Self::Direct;
        };
        let (sender, mut batches) = mpsc::channel::<Vec<Answer>>(BATCHES);
        runtime.spawn(async move {
            while let Some(batch) = batches.recv().await {
                batch.into_iter().for_each(Answer::send);
            }
        });
        Self::Task(sender)
    }

    /// Tells every waiter of a batch. They are told even when the runtime has ended meanwhile.
    pub(super) fn tell(&self, answers: &mut Vec<Answer>) {
        let batch = std::mem::take(answers);
        let left = match self {
            Self::Task(task) => task.blocking_send(batch).err().map(|refused| refused.0),
            Self::Direct => Some(batch),
        };
        left.into_iter().flatten().for_each(Answer::send);
    }
}

impl Answer {
    /// Tells the waiter. One that went away needs no answer.
    pub(super) fn send(self) {
        match self {
            Self::Append(reply, result) => drop(reply.send(result)),
            Self::Requeue(reply, result) => drop(reply.send(result)),
            Self::Discard(reply, result) => drop(reply.send(result)),
            Self::Done(reply, result) => drop(reply.send(result)),
            Self::Uuid(reply, result) => drop(reply.send(result)),
        }
    }

    /// Tells the waiter that nothing came of it.
    pub(super) fn refuse(self, error: AppendError) {
        match self {
            Self::Append(reply, _) => drop(reply.send(Err(error))),
            Self::Requeue(reply, _) => drop(reply.send(Err(error))),
            Self::Discard(reply, _) => drop(reply.send(Err(error))),
            Self::Done(reply, _) => drop(reply.send(Err(error))),
            Self::Uuid(reply, _) => drop(reply.send(Err(error))),
        }
    }
}
