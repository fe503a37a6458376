//! The binary: arguments in, exit code out. What each command does is in [`concur_bridge::cli`].

use std::process::ExitCode;

use concur_bridge::cli::Cli;

fn main() -> ExitCode {
    Cli::from_arguments().run().into()
}
