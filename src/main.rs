//! The binary: arguments in, exit code out. What each command does is in [`concur_bridge::cli`].

use std::process::ExitCode;

use concur_bridge::cli::Cli;
use mimalloc::MiMalloc;

/// A tenth of the time of a request went into the C library's allocator, whose arenas grow by system calls. Without huge pages
/// (`no_thp`), which keep a third more memory resident.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    Cli::from_arguments().run().into()
}
