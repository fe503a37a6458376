//! The answers of a batch, held back until its fsync has returned.

use tokio::runtime::{Handle, RuntimeFlavor};
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
    /// One for the runtime of the calling thread, if it has one whose tasks run beside that thread.
    pub(super) fn of_this_thread() -> Self {
        let Ok(runtime) = Handle::try_current() else {
            return Self::Direct;
        };
        if runtime.runtime_flavor() == RuntimeFlavor::CurrentThread {
            return Self::Direct;
        }
        let (sender, mut batches) = mpsc::channel::<Vec<Answer>>(BATCHES);
        runtime.spawn(async move {
            while let Some(batch) = batches.recv().await {
                batch.into_iter().for_each(Answer::send);
            }
        });
        Self::Task(sender)
    }

    /// Tells every waiter of a batch. Threads that block for an answer hear it at once: they may keep a runtime waiting.
    /// All are told even when the runtime has ended meanwhile.
    pub(super) fn tell(&self, answers: &mut Vec<Answer>) {
        let (appends, others): (Vec<_>, Vec<_>) = answers
            .drain(..)
            .partition(|answer| matches!(answer, Answer::Append(..)));
        others.into_iter().for_each(Answer::send);
        let left = match self {
            Self::Task(task) if !appends.is_empty() => {
                task.blocking_send(appends).err().map(|refused| refused.0)
            }
            Self::Task(_) | Self::Direct => Some(appends),
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
