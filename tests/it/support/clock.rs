//! A clock that goes as the machine's does, and that a test can set ahead of it.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use concur_bridge::clock::{Clock, SystemClock};
use jiff::Timestamp;

/// For what waits for another process, which has a clock of its own: a test skips the pauses and nothing else.
#[derive(Debug, Default)]
pub(crate) struct SkippingClock {
    skipped: Mutex<Duration>,
}

impl SkippingClock {
    /// Ends every pause of this length or less.
    pub(crate) fn skip(&self, pause: Duration) {
        *self.skipped.lock().unwrap() += pause;
    }
}

impl Clock for SkippingClock {
    fn now(&self) -> Instant {
        SystemClock.now() + *self.skipped.lock().unwrap()
    }

    fn timestamp(&self) -> Timestamp {
        SystemClock.timestamp() + *self.skipped.lock().unwrap()
    }

    fn longest_block(&self, left: Duration) -> Duration {
        left.min(Duration::from_millis(10))
    }
}
