//! What commands print: results to stdout, complaints to stderr.

use std::fmt::Display;
use std::future::Future;
use std::io::Write;

use serde::Serialize;

use crate::exit::Exit;

/// A complaint, on stderr.
pub(super) fn complain(what: &dyn Display) {
    // Nobody is left to tell when stderr is gone.
    let _ = writeln!(std::io::stderr().lock(), "concur-bridge: {what}");
}

/// A line of the result, on stdout. A reader that went away, as `head` does, is no fault.
pub(super) fn print(line: &dyn Display) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// A result for machines, on stdout, on one line.
pub(super) fn print_json(value: &impl Serialize) {
    match serde_json::to_string(value) {
        Ok(text) => print(&text),
        Err(error) => complain(&error),
    }
}

/// Runs a future to its end on a runtime of its own.
pub(super) fn block_on(future: impl Future<Output = Exit>) -> Exit {
    match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime.block_on(future),
        Err(error) => {
            complain(&format_args!("cannot start the runtime: {error}"));
            Exit::Failure
        }
    }
}
