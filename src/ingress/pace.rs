//! How long each connection may take for what it is doing, and which one goes when there are too many.
//!
//! Hyper's own header timeout also runs between two requests, so it cannot tell a slow head from an idle connection.
//! A [`Pace`] can: the connection's phase and the moment it began, in one atomic word. It is written by the
//! connection's own task (the wire on the first byte of a head, the handler for the rest) and read by the connection's
//! timer and by the accept loop, which may turn a connection that waits for its client into an evicted one. An evicted
//! connection never begins another request, and a request that was handed to the journal is never evicted.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::limits;

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// From the connect, or from the first byte of a request, to the end of its head.
    Head = 0,
    /// Between an answer and the first byte of the next request.
    Idle = 1,
    /// From the end of the head to the end of the body.
    Body = 2,
    /// The bridge owes an answer. Has no deadline here: whoever accepts the postback has one.
    Answer = 3,
    /// Made to go, to make room.
    Evicted = 4,
}

impl Phase {
    fn from_bits(bits: u64) -> Self {
        match bits & 0b111 {
            0 => Self::Head,
            1 => Self::Idle,
            2 => Self::Body,
            3 => Self::Answer,
            _ => Self::Evicted,
        }
    }
}

/// The time each phase may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub(super) head: Duration,
    pub(super) body: Duration,
    pub(super) idle: Duration,
}

/// Bit set once a request of the connection got through authentication.
const PROVEN: u64 = 0b1000;

/// The phase of one connection. The word is: milliseconds since `origin`, the proven bit, three bits of phase.
#[derive(Debug)]
pub(super) struct Pace {
    word: AtomicU64,
    origin: Instant,
    patience: Patience,
    stopping: AtomicBool,
    unread: AtomicBool,
    closing: AtomicBool,
    blocked: AtomicBool,
    answers: AtomicU32,
}

impl Pace {
    /// A connection that was just accepted: its first head is due.
    pub(super) fn new(origin: Instant, patience: Patience) -> Self {
        let pace = Self {
            word: AtomicU64::new(0),
            origin,
            patience,
            stopping: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            blocked: AtomicBool::new(false),
            answers: AtomicU32::new(0),
        };
        pace.word.store(pace.now() << 4, Ordering::Relaxed);
        pace
    }

    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX >> 4)
    }

    /// The phase now.
    pub(super) fn phase(&self) -> Phase {
        Phase::from_bits(self.word.load(Ordering::Relaxed))
    }

    /// Begins a phase. `false`: the connection was evicted and must end without another step.
    #[must_use]
    pub(super) fn enter(&self, phase: Phase) -> bool {
        self.set(phase, 0)
    }

    /// Begins [`Phase::Answer`], for a request that got through authentication.
    #[must_use]
    pub(super) fn enter_answer(&self) -> bool {
        self.set(Phase::Answer, PROVEN)
    }

    fn set(&self, phase: Phase, proven: u64) -> bool {
        let since = self.now() << 4;
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if Phase::from_bits(word) == Phase::Evicted {
                return false;
            }
            let next = since | (word & PROVEN) | proven | phase as u64;
            match self
                .word
                .compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(seen) => word = seen,
            }
        }
    }

    /// When the phase must have ended; `None` while the bridge owes an answer.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let word = self.word.load(Ordering::Relaxed);
        let mut patience = match Phase::from_bits(word) {
            Phase::Head => self.patience.head,
            Phase::Idle => self.patience.idle,
            Phase::Body => self.patience.body,
            Phase::Answer => return None,
            Phase::Evicted => Duration::ZERO,
        };
        if self.stopping.load(Ordering::Relaxed) {
            patience = patience.min(limits::stopping_grace());
        }
        Some(self.origin + Duration::from_millis(word >> 4) + patience)
    }

    /// When a connection between two requests has been so for long enough to be at rest: at once before any of its requests
    /// got through authentication. `None` while it cannot be: in the middle of a request, while the client does not take
    /// its answer, or once the last answer was given. What still comes after that is no request, but perhaps the rest of a
    /// body that nobody read.
    pub(super) fn rest_at(&self) -> Option<Instant> {
        let word = self.word.load(Ordering::Relaxed);
        let may = Phase::from_bits(word) == Phase::Idle
            && !self.blocked.load(Ordering::Relaxed)
            && !self.closing.load(Ordering::Relaxed)
            && !self.stopping.load(Ordering::Relaxed);
        let since = self.origin + Duration::from_millis(word >> 4);
        may.then(|| match word & PROVEN {
            0 => since,
            _ => since + limits::REST_AFTER,
        })
    }

    /// Whether bytes of an answer wait for the client to take them.
    pub(super) fn block(&self, blocked: bool) {
        self.blocked.store(blocked, Ordering::Relaxed);
    }

    /// The process stops: what waits for its client ends soon.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether it does.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Counts one answer; `true`: it is the last that the connection gets.
    pub(super) fn count_answer(&self) -> bool {
        self.answers.fetch_add(1, Ordering::Relaxed) + 1 >= limits::MAX_ANSWERS
    }

    /// Marks that the next answer is the last: the connection ends with it.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Marks that an answer goes out before its request was read to the end.
    pub(super) fn leave_unread(&self) {
        self.unread.store(true, Ordering::Relaxed);
    }

    /// Whether one did.
    pub(super) fn left_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }

    /// How much the connection deserves to go: unproven before proven, then the one that has waited longest for its
    /// client. The lowest goes first; `None`: the bridge owes it an answer.
    pub(super) fn standing(&self) -> Option<(bool, u64)> {
        let word = self.word.load(Ordering::Relaxed);
        match Phase::from_bits(word) {
            Phase::Head | Phase::Idle | Phase::Body => Some((word & PROVEN != 0, word >> 4)),
            Phase::Answer | Phase::Evicted => None,
        }
    }

    /// Makes the connection go, unless the bridge owes it an answer by now.
    #[must_use]
    pub(super) fn evict(&self) -> bool {
        let word = self.word.load(Ordering::Relaxed);
        if matches!(Phase::from_bits(word), Phase::Answer | Phase::Evicted) {
            return false;
        }
        let next = (word & !0b111) | Phase::Evicted as u64;
        self.word
            .compare_exchange(word, next, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace() -> Pace {
        let second = Duration::from_secs(1);
        Pace::new(
            Instant::now(),
            Patience {
                head: second,
                body: second * 2,
                idle: second * 3,
            },
        )
    }

    #[tokio::test(start_paused = true)]
    async fn each_phase_has_its_own_patience_from_its_beginning_and_an_owed_answer_has_none() {
        let pace = pace();
        let left = |pace: &Pace| pace.deadline().map(|at| at - Instant::now());
        let pause = Duration::from_millis(700);
        assert_eq!(left(&pace), Some(Duration::from_secs(1)));
        tokio::time::advance(pause).await;
        assert_eq!(left(&pace), Some(Duration::from_secs(1) - pause));
        assert!(pace.enter(Phase::Body));
        assert_eq!(left(&pace), Some(Duration::from_secs(2)));
        assert!(pace.enter_answer());
        assert_eq!(left(&pace), None);
        tokio::time::advance(pause).await;
        assert!(pace.enter(Phase::Idle));
        assert_eq!(left(&pace), Some(Duration::from_secs(3)));
        pace.stop();
        assert_eq!(left(&pace), Some(limits::stopping_grace()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stranger_is_at_rest_at_once_and_a_proven_connection_after_a_moment() {
        let pace = pace();
        assert_eq!(pace.rest_at(), None);
        assert!(pace.enter(Phase::Idle));
        assert_eq!(pace.rest_at(), Some(Instant::now()));
        assert!(pace.enter_answer());
        assert_eq!(pace.rest_at(), None);
        assert!(pace.enter(Phase::Idle));
        assert_eq!(pace.rest_at(), Some(Instant::now() + limits::REST_AFTER));
    }

    #[test]
    fn a_connection_is_never_at_rest_once_its_last_answer_was_given() {
        let pace = pace();
        assert!(pace.enter(Phase::Idle));
        assert!(pace.rest_at().is_some());
        pace.close();
        assert_eq!(pace.rest_at(), None);
    }

    #[test]
    fn a_connection_gets_a_bounded_number_of_answers() {
        let pace = pace();
        pace.answers
            .store(limits::MAX_ANSWERS - 2, Ordering::Relaxed);
        assert!(!pace.count_answer());
        assert!(pace.count_answer());
    }

    #[test]
    fn a_connection_that_is_owed_an_answer_is_never_evicted_and_an_evicted_one_never_begins_another()
     {
        let pace = pace();
        assert!(pace.enter_answer());
        assert!(!pace.evict());
        assert!(pace.enter(Phase::Idle));
        assert_eq!(pace.standing().map(|(proven, _)| proven), Some(true));
        assert!(pace.evict());
        assert!(!pace.enter(Phase::Head));
        assert_eq!(pace.phase(), Phase::Evicted);
    }
}
