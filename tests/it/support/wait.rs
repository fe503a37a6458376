//! Waiting for a condition, with a deadline instead of a pause of guessed length.

use std::time::{Duration, Instant};

#[path = "../../support/patience.rs"]
mod patience;

pub(crate) use patience::patience;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What `look` finds, looked for until it finds something; fails the test after `deadline`, stretched by `TEST_PATIENCE`.
pub(crate) fn wait_for<T>(
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> T {
    let (began, deadline) = (Instant::now(), patience(deadline));
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            began.elapsed() < deadline,
            "waited {deadline:?} in vain for: {what}"
        );
        #[expect(
            clippy::disallowed_methods,
            reason = "between two looks at another process there is nothing to wait on"
        )]
        std::thread::sleep(LOOK_EVERY);
    }
}

/// [`wait_for`] a condition to hold.
pub(crate) fn wait_until(what: &str, deadline: Duration, mut holds: impl FnMut() -> bool) {
    wait_for(what, deadline, || holds().then_some(()));
}
