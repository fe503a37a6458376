//! The binary.

mod cli;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "concur-bridge")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Subscribe(cli::concur::NotificationArgs),
    Unsubscribe(cli::concur::NotificationArgs),
    Simulate(Box<cli::simulate::SimulateArgs>),
}

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Subscribe(args) => cli::concur::subscribe(args).await,
        Command::Unsubscribe(args) => cli::concur::unsubscribe(args).await,
        Command::Simulate(args) => cli::simulate::run(*args).await,
    }
}
