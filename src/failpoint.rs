//! Kill points: named steps at which the fault suite lets the process die as if by `kill -9`, or stops it.
//!
//! With the feature `failpoints` and `CONCUR_BRIDGE_FAILPOINT=name` or `name:nth` in the environment, the process aborts
//! when it reaches that step for the nth time (the first without a number); with `stop@name:nth` it stops as if by
//! SIGSTOP, until somebody continues it. Without the feature `failpoint!` is nothing.
//!
//! `limit` lets the suite move a limit that is a constant otherwise, so that a fault does not have to wait for it or to
//! race with it.

/// Marks a step at which the fault suite may kill or stop the process.
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        $crate::failpoint::reach($name);
    };
}

/// `usual`, or with the feature `failpoints` what the environment variable `name` says instead.
#[cfg_attr(
    not(feature = "failpoints"),
    expect(unused_variables, reason = "the feature reads it")
)]
pub(crate) fn limit(name: &str, usual: u64) -> u64 {
    #[cfg(feature = "failpoints")]
    if let Ok(Ok(moved)) = std::env::var(name).map(|text| text.parse()) {
        return moved;
    }
    usual
}

/// Aborts or stops the process when the environment names this step and its turn has come.
#[cfg(feature = "failpoints")]
#[expect(
    clippy::disallowed_methods,
    reason = "dying without a word is what a kill point is for"
)]
pub fn reach(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static WANTED: OnceLock<Option<(String, u64, bool)>> = OnceLock::new();
    static REACHED: AtomicU64 = AtomicU64::new(0);

    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("CONCUR_BRIDGE_FAILPOINT").ok()?;
        let (place, stops) = match text.strip_prefix("stop@") {
            Some(place) => (place, true),
            None => (&*text, false),
        };
        match place.rsplit_once(':') {
            Some((step, nth)) => Some((step.to_owned(), nth.parse().ok()?, stops)),
            None => Some((place.to_owned(), 1, stops)),
        }
    });
    if let Some((step, nth, stops)) = wanted
        && step == name
        && REACHED.fetch_add(1, Ordering::SeqCst) + 1 == *nth
    {
        if *stops {
            stop();
        } else {
            std::process::abort();
        }
    }
}

/// Stops the process before this thread takes another step. The signal goes to any thread, and this one runs on until that
/// one has taken it; from then on every thread stops when it next leaves the kernel, this one with its read of `/proc`.
#[cfg(feature = "failpoints")]
fn stop() {
    let this = rustix::process::getpid();
    // A process may always signal itself.
    let _ = rustix::process::kill_process(this, rustix::process::Signal::STOP);
    while is_stop_pending() {
        std::thread::yield_now();
    }
}

/// Whether no thread of this process has taken a SIGSTOP that was sent to it.
#[cfg(feature = "failpoints")]
fn is_stop_pending() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let pending = status
        .lines()
        .find_map(|line| line.strip_prefix("ShdPnd:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    pending.is_some_and(|mask| mask & 1 << (rustix::process::Signal::STOP.as_raw() - 1) != 0)
}
