//! The request to stop, and waiting that it cuts short.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::Clock;

/// A request to stop that threads can wait on. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    clock: Arc<dyn Clock>,
    /// Until when what is open may be finished, once the request came.
    shared: Arc<(Mutex<Option<Instant>>, Condvar)>,
}

impl Stop {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            shared: Arc::default(),
        }
    }

    /// Asks to stop; what is open may be finished within `time`. A second request can only bring the deadline forward.
    pub(crate) fn request(&self, time: Duration) {
        let deadline = self.clock.now() + time;
        let mut state = self.state();
        *state = Some(state.map_or(deadline, |earlier| earlier.min(deadline)));
        self.shared.1.notify_all();
    }

    /// Whether to stop.
    pub(crate) fn requested(&self) -> bool {
        self.state().is_some()
    }

    /// Whether what is open must be given up.
    pub(crate) fn expired(&self) -> bool {
        self.state()
            .is_some_and(|deadline| self.clock.now() >= deadline)
    }

    /// Waits; returns early, and true, when the request comes.
    pub(crate) fn wait(&self, timeout: Duration) -> bool {
        self.clock
            .wait_while(&self.shared.1, self.state(), timeout, |state| {
                state.is_none()
            })
            .is_some()
    }

    fn state(&self) -> MutexGuard<'_, Option<Instant>> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
