//! Time as an argument: threads read and await it through a [`Clock`], so that a test needs no real second.
//!
//! Async code uses tokio's clock instead, which a test stops with `tokio::time::pause`. A deadline that only bounds a wait
//! for another process, and is an error when it passes, reads [`Instant`] directly.

use std::fmt::Debug;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// Where a thread gets the time from.
pub trait Clock: Debug + Send + Sync {
    /// Monotonic time: how long something took, and when something is due.
    fn now(&self) -> Instant;

    /// Wall-clock time: what times on disk are compared with.
    fn timestamp(&self) -> Timestamp;

    /// How long a thread that has `left` to wait may block before it reads the clock again.
    fn longest_block(&self, left: Duration) -> Duration {
        left
    }
}

impl dyn Clock {
    /// Waits on `changed` while `condition` holds, for `timeout` of this clock at most.
    pub fn wait_while<'a, T>(
        &self,
        changed: &Condvar,
        mut guard: MutexGuard<'a, T>,
        timeout: Duration,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T> {
        let began = self.now();
        while condition(&mut guard) {
            let left = timeout.saturating_sub(self.now().duration_since(began));
            if left.is_zero() {
                break;
            }
            (guard, _) = changed
                .wait_timeout(guard, self.longest_block(left))
                .unwrap_or_else(PoisonError::into_inner);
        }
        guard
    }
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn timestamp(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// The clock of a test: it stands still until the test advances it, which also ends the waits that are over by then.
#[derive(Debug)]
pub struct ManualClock {
    began: Instant,
    began_at: Timestamp,
    advanced: Mutex<Duration>,
}

/// How often a waiting thread looks whether the test has advanced its clock.
const LOOK_EVERY: Duration = Duration::from_millis(1);

impl ManualClock {
    /// A clock that stands at the present.
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
            began_at: Timestamp::now(),
            advanced: Mutex::new(Duration::ZERO),
        }
    }

    /// Moves the time on.
    pub fn advance(&self, by: Duration) {
        *self.advanced() += by;
    }

    fn advanced(&self) -> MutexGuard<'_, Duration> {
        self.advanced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        self.began + *self.advanced()
    }

    fn timestamp(&self) -> Timestamp {
        self.began_at + *self.advanced()
    }

    fn longest_block(&self, left: Duration) -> Duration {
        left.min(LOOK_EVERY)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn a_manual_clock_stands_still_until_it_is_advanced() {
        let clock = ManualClock::new();
        let (now, timestamp) = (clock.now(), clock.timestamp());
        assert_eq!((clock.now(), clock.timestamp()), (now, timestamp));
        clock.advance(HOUR);
        assert_eq!(clock.now() - now, HOUR);
        assert_eq!(clock.timestamp(), timestamp + HOUR);
    }

    #[test]
    fn advancing_a_manual_clock_ends_a_wait_that_is_over_by_then() {
        let clock: Arc<ManualClock> = Arc::default();
        let began = clock.now();
        let waiting = {
            let clock: Arc<dyn Clock> = clock.clone();
            thread::spawn(move || {
                let (value, changed) = (Mutex::new(()), Condvar::new());
                let guard = value.lock().unwrap();
                drop(clock.wait_while(&changed, guard, HOUR, |()| true));
                clock.now()
            })
        };
        while !waiting.is_finished() {
            clock.advance(HOUR / 4);
            thread::yield_now();
        }
        assert!(waiting.join().unwrap() - began >= HOUR);
    }

    #[test]
    fn a_wait_ends_without_its_timeout_when_the_condition_does() {
        let shared = Arc::new((Mutex::new(false), Condvar::new()));
        let waits = Arc::new(AtomicBool::new(false));
        let waiting = {
            let (shared, waits) = (shared.clone(), waits.clone());
            thread::spawn(move || {
                let clock: &dyn Clock = &SystemClock;
                let guard = shared.0.lock().unwrap();
                *clock.wait_while(&shared.1, guard, HOUR, |done| {
                    waits.store(true, Ordering::SeqCst);
                    !*done
                })
            })
        };
        while !waits.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        *shared.0.lock().unwrap() = true;
        shared.1.notify_all();
        assert!(waiting.join().unwrap());
    }
}
