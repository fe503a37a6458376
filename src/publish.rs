//! Publish: takes records out of the journal, in order, and into Kafka.
//!
//! **What it does.** One thread owns the Kafka producer. It reads behind the durable position, sends, commits, and reports
//! the position back. Transactions are as large as what waits, up to a bound.
//!
//! **Promises** (`exactly_once`). Each record is in Kafka exactly once for readers of `read_committed`, in the order of
//! positions per key: the position travels in the transaction that carries the records. `at_least_once` sends the same
//! messages without a transaction.
//!
//! **When it fails.** Kafka never ends the process, except fencing by a twin (exit 5). Anything not plainly retriable drops
//! the producer and runs the start sequence again; what no retry can mend pauses, alarms and tries again every 10 s.
//!
//! **Left to others.** What is published: the records are finished ([`seal`](crate::seal)).

pub mod backlog;

pub use backlog::Backlog;

/// librdkafka properties that the guarantees rest on: configuration that names one is refused.
pub const OWNED_PROPERTIES: [&str; 8] = [
    "acks",
    "bootstrap.servers",
    "enable.idempotence",
    "isolation.level",
    "metadata.broker.list",
    "partitioner",
    "request.required.acks",
    "transactional.id",
];
