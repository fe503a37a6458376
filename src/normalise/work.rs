//! Counts the bytes that hand-written scans look at, so that a test can tell linear time from quadratic without a clock.
//!
//! Only tests count. In every other build [`looked_at`] is empty.

#[cfg(test)]
use std::cell::Cell;

#[cfg(test)]
thread_local! {
    static LOOKED_AT: Cell<usize> = const { Cell::new(0) };
}

/// A scan looked at this many bytes.
#[cfg(test)]
pub(super) fn looked_at(bytes: usize) {
    LOOKED_AT.with(|total| total.set(total.get() + bytes));
}

/// Nothing is counted outside of tests.
#[cfg(not(test))]
#[inline(always)]
pub(super) fn looked_at(_bytes: usize) {}

/// Fails when four times the input costs more than four times the work, and a little for what is done once. `run` works on
/// an input of about that many bytes.
#[cfg(test)]
#[track_caller]
pub(super) fn assert_linear(what: &str, run: impl Fn(usize)) {
    const BYTES: usize = 64 << 10;
    let cost = |bytes| {
        LOOKED_AT.with(|total| total.set(0));
        run(bytes);
        LOOKED_AT.with(Cell::get)
    };
    let (one, four) = (cost(BYTES), cost(4 * BYTES));
    assert!(
        four <= 4 * one + one / 4,
        "{what}: {one} bytes are looked at, {four} for four times the input"
    );
}
