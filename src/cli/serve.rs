//! `concur-bridge serve`

use super::ConfigArgs;
use super::output::{block_on, complain};
use crate::app::{App, Mode, StartError};
use crate::config::Config;
use crate::exit::Exit;
use crate::shutdown::Shutdown;
use crate::telemetry;

/// Run the bridge until SIGTERM or SIGINT.
///
/// When it is ready, one log line with message "ready" says where it listens. Exit codes: 0 stopped as asked; 2 usage or
/// configuration; 3 the journal is damaged; 4 the journal failed; 5 another process has this journal or identity; 6 an
/// answer or a transaction was open at the drain deadline or the second signal (nothing lost); 1 anything else.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Take nothing in; publish what the journal holds and end. For the journal of a replica that is gone for good.
    #[arg(long)]
    drain_only: bool,
}

pub(super) fn run(args: Args) -> Exit {
    let mode = if args.drain_only {
        Mode::DrainOnly
    } else {
        Mode::Serve
    };
    // Before keys and secrets are read.
    let dumps_forbidden = forbid_core_dumps();
    let config = match args.config.read_with_files(mode) {
        Ok(config) => config,
        Err(error) => {
            complain(&error);
            return Exit::Usage;
        }
    };
    telemetry::init_logs(&config.log);
    if let Err(error) = dumps_forbidden {
        tracing::warn!(%error, "core dumps cannot be disabled; one would hold tokens");
    }
    block_on(async {
        serve(&config, mode).await.unwrap_or_else(|error| {
            if telemetry::logs_json(config.log.format) {
                tracing::error!(code = error.exit.code(), "{error}");
            } else {
                complain(&error);
            }
            error.exit
        })
    })
}

async fn serve(config: &Config, mode: Mode) -> Result<Exit, StartError> {
    let failure = |error: &dyn std::fmt::Display| StartError {
        exit: Exit::Failure,
        message: error.to_string(),
    };
    let metrics = telemetry::init_metrics().map_err(|error| failure(&error))?;
    let shutdown = Shutdown::new();
    shutdown.listen().map_err(|error| failure(&error))?;
    Ok(App::start(config, mode, metrics, shutdown)
        .await?
        .run()
        .await)
}

/// A core dump would hold tokens and keys in clear.
fn forbid_core_dumps() -> rustix::io::Result<()> {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
}
