//! The fault suite: the real binary as a process of its own, a real Apache Kafka, one file per line of the matrix.
//!
//! `dev/faults` runs it.

use std::process::ExitCode;

mod arena;
mod kafka_state;
mod line_01_kill;
mod line_02_failpoints;
mod line_03_power_loss;
mod line_04_disk_errors;
mod line_05_damage;
mod line_06_twin;
mod line_07_replies;
mod line_08_kafka_down;
mod line_09_brokers;
mod line_10_broker_errors;
mod line_11_permanent;
mod line_12_disk_full;
mod line_13_byte_limit;
mod line_14_slow_disk;
mod line_15_overload;
mod line_16_sigterm;
mod line_26_formats;
mod replicas;
mod runner;
mod soak;
mod stateless;
#[allow(dead_code, reason = "the tools' own tests use all of it")]
mod support;
mod trial;

use runner::{Line, Options};
use support::failure::Failure;

/// In the order of the matrix.
const LINES: &[Line] = &[
    line_01_kill::LINE,
    line_02_failpoints::LINE,
    line_03_power_loss::LINE,
    line_04_disk_errors::LINE,
    line_05_damage::LINE,
    line_06_twin::LINE,
    line_07_replies::LINE,
    line_08_kafka_down::LINE,
    line_09_brokers::LINE,
    line_10_broker_errors::LINE,
    line_11_permanent::LINE,
    line_12_disk_full::LINE,
    line_13_byte_limit::LINE,
    line_14_slow_disk::LINE,
    line_15_overload::LINE,
    line_16_sigterm::LINE,
    line_26_formats::LINE,
    soak::LINE,
    stateless::LINE,
    replicas::LINE,
    kafka_state::LINE,
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let ended = match arguments.next().as_deref() {
        Some("--run") => Options::parse(arguments).and_then(|options| runner::run(LINES, &options)),
        Some("--line") => Options::parse(arguments)
            .and_then(|options| runner::run_one(LINES, &options))
            .map(|()| ExitCode::SUCCESS),
        _ => Err(Failure::not_shown("run it with dev/faults")),
    };
    ended.unwrap_or_else(|failure| {
        println!("dev/faults: {failure}");
        ExitCode::from(2)
    })
}
