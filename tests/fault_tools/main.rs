//! The fault suite's tools, tried on what they are for: does the oracle catch what it must, does the proxy strike the
//! reply and not the request, does the disk lose what was not synced and nothing else, and does
//! the runner tell a broken promise from a line that has shown nothing?

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "../faults/support/mod.rs"]
#[allow(
    dead_code,
    reason = "shared with the fault suite, which uses all of it"
)]
mod support;

mod attempt;
mod disk;
mod observed;
mod oracle;
mod process;
mod proxy;
mod reader;
mod traffic;
