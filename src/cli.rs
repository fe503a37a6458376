//! The command line. `--help` is the manual: what a flag means stands here, once.
//!
//! stdout belongs to a command's result, stderr to logs and complaints. `--json` wherever a machine may read.

mod check;
mod concur;
mod demo;
mod health;
mod journal;
mod output;
mod quarantine;
mod schema;
mod serve;
mod simulate;
mod tokens;

use std::path::PathBuf;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::app::{Mode, files};
use crate::config::{Config, ConfigError};
use crate::exit::Exit;

/// Takes SAP Concur's notification postbacks over HTTP and publishes them to Kafka: durable before the answer, exactly
/// once, no token in clear.
#[derive(Parser)]
#[command(
    name = "concur-bridge",
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Where the configuration comes from.
#[derive(clap::Args)]
struct ConfigArgs {
    /// Configuration file [default: ./concur-bridge.toml when it exists, else defaults]. Every key can also be given as
    /// a variable: CONCUR_BRIDGE_ + the path in upper case joined by two underscores (CONCUR_BRIDGE_KAFKA__BROKERS).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the bridge until SIGTERM or SIGINT.
    Serve(serve::Args),
    /// Try configuration, disk, Kafka, topics and certificates; report all faults at once.
    Check(check::Args),
    /// Run the whole bridge on a broker inside this process, with a simulated Concur: nothing to install.
    Demo(demo::Args),
    /// Ask a running bridge whether it is ready; exit 0 when it is. For health checks.
    Health(health::Args),
    /// Look at the journal, check it, repair it, send from it again.
    #[command(subcommand)]
    Journal(journal::Command),
    /// Look at malformed requests, send them through again, drop them.
    #[command(subcommand)]
    Quarantine(quarantine::Command),
    /// Print the JSON Schema of the events, or an AsyncAPI document of the topics.
    Schema(schema::Args),
    /// Open sealed tokens, rotate the key that seals them.
    #[command(subcommand)]
    Tokens(tokens::Command),
    #[command(flatten)]
    Concur(concur::Command),
    /// Play Concur: subscription API, trip and profile resources, postbacks at a rate.
    Simulate(Box<simulate::Args>),
}

impl Cli {
    /// Reads the process's arguments; ends the process with code 2 and a usage message when they are wrong.
    pub fn from_arguments() -> Self {
        let version = format!(
            "{} (librdkafka {}, SQLite {})",
            env!("CARGO_PKG_VERSION"),
            crate::publish::librdkafka_version(),
            crate::journal::sqlite_version()
        );
        let matches = Self::command().version(version).get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// Runs the command to its end.
    pub fn run(self) -> Exit {
        // One provider of cryptography for every TLS there is; an error means that it is in place already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        match self.command {
            Command::Serve(args) => serve::run(args),
            Command::Check(args) => check::run(args),
            Command::Journal(command) => journal::run(command),
            Command::Quarantine(command) => quarantine::run(command),
            Command::Demo(args) => demo::run(args),
            Command::Health(args) => health::run(args),
            Command::Schema(args) => schema::run(args),
            Command::Tokens(command) => tokens::run(command),
            Command::Concur(command) => concur::run(command),
            Command::Simulate(args) => simulate::run(*args),
        }
    }
}

impl ConfigArgs {
    /// The configuration, or every fault of it on stderr.
    fn load(&self) -> Result<Config, Exit> {
        Config::load(self.config.as_deref()).map_err(|error| {
            output::complain(&error);
            Exit::Usage
        })
    }

    /// The configuration for `serve`, or every fault of it and with them those of the files that it names; of a sound one
    /// the files are looked at when it is put to use.
    fn read_with_files(&self, mode: Mode) -> Result<Config, ConfigError> {
        Config::load_and(self.config.as_deref(), |config| files::faults(config, mode))
    }
}
