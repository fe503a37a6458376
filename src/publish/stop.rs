//! The request to stop, and waiting that it cuts short.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A request to stop that threads can wait on. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    shared: Arc<(Mutex<Option<Instant>>, Condvar)>,
}

impl Stop {
    /// Asks to stop; what is open may be finished until `deadline`. A second request can only bring the deadline forward.
    pub(crate) fn request(&self, deadline: Instant) {
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
            .is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Waits; returns early, and true, when the request comes.
    pub(crate) fn wait(&self, timeout: Duration) -> bool {
        let (state, _) = self
            .shared
            .1
            .wait_timeout_while(self.state(), timeout, |state| state.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        state.is_some()
    }

    fn state(&self) -> MutexGuard<'_, Option<Instant>> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
