//! The answers of a batch, held back until its fsync has returned.

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
