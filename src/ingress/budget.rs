//! The memory that clients hold by being slow: one budget, in bytes, for all connections together.
//!
//! Counted is what a connection has only because its client is not done: the beginning of a head, a body that has not come
//! to its end with what HTTP needs to wait for it, a TLS session. Whoever takes the last of it is let in; the accept loop
//! lets the slowest go instead, in the order in which it does so when there are too many connections. So slow strangers
//! make the process grow by less than 32 MiB: 15 here with what fragments of it cost, and 2 KiB for each of 4,096 connections that do nothing at all.
//!
//! **Not exact.** Of a body its bytes are counted, not the buffers they went through: up to twice as much for one of
//! 64 KiB. Only who got through authentication is let to send one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Bytes that all clients together may hold. Honest requests come whole, a packet or a few, and hold theirs for less than
/// a millisecond: this is 640 requests that are waited for in the same moment, or 1,280 TLS connections.
const MAX_BYTES: usize = 15 * 1024 * 1024;

/// What a connection that waits for a body takes beside the body: HTTP's state, its first buffer and the parsed head.
pub(super) const WAITING_BYTES: usize = 24 * 1024;

/// What a TLS session takes beside the plain connection: keys, record buffer, state.
pub(super) const SESSION_BYTES: usize = 12 * 1024;

/// What a connection that has to go gives back, about.
const EVICTED_BYTES: usize = WAITING_BYTES;

/// Connections that go at a time, at most: that many are soon gone, and only then is the excess known again.
const MAX_EVICTED: usize = 64;

/// The budget. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Budget(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    held: AtomicUsize,
    exceeded: Notify,
}

/// A part of the budget; given back on drop.
#[derive(Debug)]
pub(super) struct Held {
    bytes: usize,
    shared: Arc<Shared>,
}

impl Budget {
    /// Takes a part, whether it is there or not.
    pub(super) fn hold(&self, bytes: usize) -> Held {
        let mut held = Held {
            bytes: 0,
            shared: Arc::clone(&self.0),
        };
        held.grow(bytes);
        held
    }

    /// Waits until too much is held; how many connections should go.
    ///
    /// Cancel safe.
    pub(super) async fn exceeded(&self) -> usize {
        loop {
            self.0.exceeded.notified().await;
            let excess = self
                .0
                .held
                .load(Ordering::Relaxed)
                .saturating_sub(MAX_BYTES);
            if excess > 0 {
                return excess.div_ceil(EVICTED_BYTES).min(MAX_EVICTED);
            }
        }
    }
}

impl Held {
    /// Takes more.
    pub(super) fn grow(&mut self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.bytes += bytes;
        if self.shared.held.fetch_add(bytes, Ordering::Relaxed) + bytes > MAX_BYTES {
            self.shared.exceeded.notify_one();
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_too_much_is_said_and_what_is_given_back_is_no_longer_held() {
        let budget = Budget::default();
        let mut held = budget.hold(MAX_BYTES);
        tokio::select! {
            biased;
            evicted = budget.exceeded() => panic!("{evicted} should go, and nothing is too much"),
            () = std::future::ready(()) => {}
        }
        held.grow(EVICTED_BYTES + 1);
        assert_eq!(budget.exceeded().await, 2);
        drop(held);
        assert_eq!(budget.0.held.load(Ordering::Relaxed), 0);
    }
}
