//! The listener for Concur, over real sockets, with a fake in the acceptor's place.

mod answers;
mod authentication;
mod bench;
mod certificates;
mod connections;
mod host;
mod memory;
mod proxies;
mod raw;
mod signatures;
mod telemetry;
