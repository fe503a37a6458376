//! The fault suite: the real binary as a process of its own, a real Apache Kafka, one file per line of the matrix.
//!
//! `dev/faults` runs it; `cargo test` alone says that it does not.

use std::process::ExitCode;

mod arena;
mod line_01_kill;
mod runner;
mod support;
mod trial;

use runner::{Line, Options};

const LINES: &[Line] = &[line_01_kill::LINE];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if !arguments.any(|argument| argument == "--run") {
        println!("skipped: the fault suite needs a real Kafka; run it with dev/faults");
        return ExitCode::SUCCESS;
    }
    match Options::parse(arguments).and_then(|options| runner::run(LINES, options)) {
        Ok(code) => code,
        Err(failure) => {
            println!("dev/faults: {failure}");
            ExitCode::from(2)
        }
    }
}
