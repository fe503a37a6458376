//! What handles, writer and readers share.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use uuid::Uuid;

use super::AppendError;
use super::fatal::{Broken, Fatal, Poison};
use super::limits::Limits;
use super::queue::Queue;
use super::reader::Epochs;
use super::schema::Epoch;
use super::status::ProgressCell;
use crate::clock::Clock;

/// Shared by all parts of an open journal.
pub(super) struct Shared {
    pub(super) directory: PathBuf,
    pub(super) instance: String,
    pub(super) generation: u64,
    pub(super) queue: Queue,
    pub(super) limits: Limits,
    pub(super) progress: ProgressCell,
    pub(super) poison: Poison,
    pub(super) epochs: RwLock<Epochs>,
    pub(super) cluster_id: RwLock<Option<String>>,
    pub(super) clock: Arc<dyn Clock>,
    /// Makes the next commit fail, once.
    #[cfg(test)]
    pub(super) sabotage: std::sync::atomic::AtomicBool,
}

impl Shared {
    pub(super) fn epochs(&self) -> Epochs {
        self.epochs
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The UUID for new records.
    pub(super) fn uuid(&self) -> Uuid {
        self.epochs().last().map_or(Uuid::nil(), |epoch| epoch.uuid)
    }

    pub(super) fn cluster_id(&self) -> Option<String> {
        self.cluster_id
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Numbers records under a new UUID, in place of those that began there or later.
    pub(super) fn begin_epoch(&self, epoch: Epoch) {
        let mut epochs = self.epochs.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed: Vec<Epoch> = epochs
            .iter()
            .copied()
            .filter(|old| old.first_position < epoch.first_position)
            .collect();
        changed.push(epoch);
        *epochs = changed.into();
    }

    pub(super) fn set_cluster_id(&self, cluster_id: Option<&str>) {
        if self.cluster_id().as_deref() != cluster_id {
            *self
                .cluster_id
                .write()
                .unwrap_or_else(PoisonError::into_inner) = cluster_id.map(str::to_owned);
        }
    }

    #[cfg(test)]
    pub(super) fn fail_when_sabotaged(&self) -> Result<(), Broken> {
        let wanted = self
            .sabotage
            .swap(false, std::sync::atomic::Ordering::SeqCst);
        if wanted {
            return Err(Broken::File {
                what: "committing",
                cause: std::io::Error::from_raw_os_error(5),
            });
        }
        Ok(())
    }

    /// Ends the journal: refuses what waits and all that comes. The caller answers whom it holds, then announces.
    pub(super) fn poison(&self, broken: Broken) -> AppendError {
        let cause = self.poison.set(broken.into_fatal(&self.directory));
        let error = poisoned(cause);
        for job in self.queue.poison(error.clone()) {
            job.refuse(error.clone());
        }
        error
    }

    /// Ends the journal and tells the process, for those who hold no waiters.
    pub(super) fn fail(&self, broken: Broken) {
        self.poison(broken);
        self.poison.announce();
    }
}

/// A panic of a thread ends the journal like any other failure: nobody waits for a thread that is gone.
pub(super) struct EndsLoudly<'a>(pub(super) &'a Shared);

impl Drop for EndsLoudly<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(Broken::File {
                what: "a thread of the journal",
                cause: std::io::Error::other("it panicked"),
            });
        }
    }
}

/// What waiters hear of the journal's end.
pub(super) fn poisoned(cause: &Fatal) -> AppendError {
    AppendError::Poisoned(cause.to_string().into())
}
