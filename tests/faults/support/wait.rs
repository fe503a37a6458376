//! Waiting for a condition with a deadline.

use std::time::{Duration, Instant};

use super::failure::{Failure, Outcome};
use super::patience::patience;

/// How often a condition is looked at: often enough that a figure in milliseconds means something.
const PERIOD: Duration = Duration::from_millis(2);

/// Calls `look` until it finds something or fails. When nothing is found within `limit`, stretched by `TEST_PATIENCE`, the
/// line has not shown `what`.
pub fn until<T>(
    limit: Duration,
    what: &str,
    mut look: impl FnMut() -> Outcome<Option<T>>,
) -> Outcome<T> {
    let (start, limit) = (Instant::now(), patience(limit));
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if start.elapsed() > limit {
            return Err(Failure::not_shown(format!(
                "waited {limit:?} in vain for {what}"
            )));
        }
        pause(PERIOD);
    }
}

/// Calls `left` until it says that nothing is. The limit counts from the last time that less was left than before, so that a
/// slow machine takes longer and no more.
pub fn until_none_left(
    limit: Duration,
    what: &str,
    mut left: impl FnMut() -> Outcome<usize>,
) -> Outcome {
    let limit = patience(limit);
    let (mut least, mut since) = (usize::MAX, Instant::now());
    loop {
        let count = left()?;
        if count == 0 {
            return Ok(());
        }
        if count < least {
            (least, since) = (count, Instant::now());
        }
        if since.elapsed() > limit {
            return Err(Failure::not_shown(format!(
                "waited {limit:?} in vain for {what}: {least} are left"
            )));
        }
        pause(PERIOD);
    }
}

/// Lets time pass: the pace of a load, the length of a fault. Never in the hope that something will have happened.
#[expect(clippy::disallowed_methods, reason = "faults and loads take real time")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// As [`until`], for a condition that is true or not.
pub fn until_true(limit: Duration, what: &str, mut look: impl FnMut() -> bool) -> Outcome {
    until(limit, what, || Ok(look().then_some(())))
}
