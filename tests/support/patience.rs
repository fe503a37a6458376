//! One factor stretches every deadline of the tests: `TEST_PATIENCE`, a decimal number, 1 when it is not set.
//!
//! A deadline costs nothing while all is well. It only says after how long a test gives up waiting.

use std::time::Duration;

/// `limit`, stretched.
pub(crate) fn patience(limit: Duration) -> Duration {
    limit.mul_f64(factor())
}

/// The factor.
///
/// # Panics
/// When `TEST_PATIENCE` is no positive number: a run with a factor that nobody asked for would mislead.
pub(crate) fn factor() -> f64 {
    let Ok(text) = std::env::var("TEST_PATIENCE") else {
        return 1.0;
    };
    let factor = text.parse().unwrap_or(0.0);
    assert!(
        factor > 0.0 && factor <= 1_000.0,
        "TEST_PATIENCE={text} is not a number above 0 and up to 1000"
    );
    factor
}
