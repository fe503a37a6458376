//! The listener for Concur, on connections in memory, with a fake in the acceptor's place; a few tests use sockets.

mod answers;
mod authentication;
mod bench;
mod certificates;
mod client;
mod connections;
mod crowd;
mod host;
mod proxies;
mod raw;
mod signatures;
mod sockets;
mod telemetry;
