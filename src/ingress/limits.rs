//! What one client may cost, as numbers, and the cap on what is in progress.
//!
//! Times and the caps an operator may want to move are configuration; these are not, since nothing that Concur sends
//! comes near them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::failpoint;

/// Longest request target. Concur's are under 1 KiB, a token that is a JWT makes them 4 KiB; beyond it is 414.
pub const MAX_TARGET_BYTES: usize = 16 * 1024;

/// Longest request head, request line included; beyond it is 431. Larger than the target by what headers may need.
pub const MAX_HEAD_BYTES: usize = 32 * 1024;

/// Most headers of one request; one more is 431. This is hyper's own default, which keeps its table on the stack.
pub const MAX_HEADERS: usize = 100;

/// Most bytes that wait unparsed per connection. Twice a head, so that a head that is too large is seen as such.
pub(super) const READ_BUFFER_BYTES: usize = 2 * MAX_HEAD_BYTES;

/// A refused request's body up to this size is read and dropped so that its connection can be used again; a larger
/// one, one of unknown length, or one that waits for `100 Continue` closes the connection.
pub(super) const DISCARD_BYTES: u64 = 64 * 1024;

/// How long a refusal waits for such a body. Bodies that small come in the packets of the head.
pub(super) const DISCARD_TIME: Duration = Duration::from_millis(250);

/// How long a closing connection swallows what its client still sends. Without it the kernel answers those bytes with
/// a reset, and the reset can overtake the answer.
pub(super) const LINGER_TIME: Duration = Duration::from_secs(1);

/// Bytes swallowed at most in that time.
pub(super) const LINGER_BYTES: usize = 1024 * 1024;

/// How long a connection may wait for its client once the process stops. Nothing was promised to it yet, and whoever
/// is slow must not hold the exit until the drain deadline.
pub(super) fn stopping_grace() -> Duration {
    Duration::from_millis(failpoint::limit("CONCUR_BRIDGE_STOPPING_GRACE_MS", 500))
}

/// How long after an answer a proven connection keeps what a request needs, 15 KiB of buffers and state, in case that the next
/// one comes. Making it again takes some microseconds, so that is soon; looking at the clock 10 times a second costs
/// a busy connection less.
pub(super) const REST_AFTER: Duration = Duration::from_millis(100);

/// Answers on one connection; the last one closes it. So no connection, and no TLS session with the certificate it
/// began with, goes on for ever: at 300 requests a second this is an hour.
pub const MAX_ANSWERS: u32 = 1_000_000;

/// TLS handshakes in progress at a time; the slowest connection goes for one more.
pub(super) const MAX_HANDSHAKES: usize = 512;

/// Value of `Retry-After` on every 503, in seconds.
pub(super) const RETRY_AFTER_SECONDS: &str = "5";

/// Counts what is in progress and caps it: requests between head and answer, TLS handshakes.
#[derive(Debug, Clone)]
pub(super) struct InFlight {
    count: Arc<AtomicUsize>,
    max: usize,
}

/// One place; given back on drop.
#[derive(Debug)]
pub(super) struct Ticket(Arc<AtomicUsize>);

impl InFlight {
    pub(super) fn new(max: usize) -> Self {
        Self {
            count: Arc::default(),
            max,
        }
    }

    /// A place, unless all are taken.
    pub(super) fn enter(&self) -> Option<Ticket> {
        if self.count.fetch_add(1, Ordering::Relaxed) < self.max {
            Some(Ticket(Arc::clone(&self.count)))
        } else {
            self.count.fetch_sub(1, Ordering::Relaxed);
            None
        }
    }

    /// Whether all places are taken.
    pub(super) fn is_full(&self) -> bool {
        self.now() >= self.max
    }

    /// How many hold a place now.
    pub(super) fn now(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
