//! The listener for Concur, over real sockets, with a fake in the acceptor's place.

mod answers;
mod bench;
mod connections;
mod raw;
