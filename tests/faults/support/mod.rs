//! The tools of the fault suite: small, shared by every line of the matrix, with tests of their own in
//! `tests/fault_tools`.
//!
//! What a line is made of, in the order of the data's way: [`traffic`] says what is sent and what must come out,
//! [`sender`] sends it and keeps the log, [`bridge`] is the binary as a process of its own, [`proxy`] stands between
//! it and a broker of [`kafka`], [`disk`] is below its journal, [`reader`] reads what was published, [`observed`]
//! judges each message alone and [`oracle`] all of them against the log. [`attempt`] runs a line in a process of its own.

#![allow(
    unreachable_pub,
    reason = "a library in all but name: `pub` marks what lines use"
)]

pub mod attempt;
pub mod bridge;
pub mod disk;
pub mod failure;
pub mod http;
pub mod kafka;
pub mod observed;
pub mod open_request;
pub mod oracle;
#[path = "../../support/patience.rs"]
pub mod patience;
pub mod process;
pub mod proxy;
pub mod reader;
pub mod rng;
pub mod sender;
pub mod traffic;
pub mod wait;
