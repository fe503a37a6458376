//! `concur-bridge journal replay`

use serde_json::json;

use super::{Filter, Look};
use crate::cli::output::{complain, print, print_json};
use crate::event::Stream;
use crate::exit::Exit;
use crate::publish::{Replay, Settings};

/// Send records to Kafka again, with the header concur-bridge-replay.
#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    look: Look,
    #[command(flatten)]
    filter: Filter,
    /// Into this topic instead of the configured ones.
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Send; without it, only say how many records it would be.
    #[arg(long)]
    apply: bool,
}

pub(super) fn run(args: &Args) -> Result<Exit, Exit> {
    let (config, inspector) = args.look.open()?;
    let failed = |error: &dyn std::fmt::Display| {
        complain(error);
        Exit::Failure
    };
    let summary = inspector.summary().map_err(|fatal| super::fail(&fatal))?;
    let settings = Settings::of(&config, summary.instance);
    let mut replay = args
        .apply
        .then(|| Replay::new(&settings, args.topic.clone()))
        .transpose()
        .map_err(|error| failed(&error))?;
    let mut without_body = 0_u64;
    let count = args.filter.walk(&inspector, |placed| {
        // The body of a quarantined request lies elsewhere, and may be gone: its record has nothing to send.
        if placed.record.stream() == Stream::Quarantine && placed.record.content.is_empty() {
            without_body += 1;
            return Ok(());
        }
        match &mut replay {
            Some(replay) => replay
                .send(placed)
                .map_err(|error| failed(&format_args!("at position {}: {error}", placed.position))),
            None => Ok(()),
        }
    })?;
    let run = replay.as_ref().map(|replay| replay.run().to_owned());
    if let Some(replay) = replay {
        replay.finish().map_err(|error| failed(&error))?;
    }
    let count = count - without_body;
    if args.look.json {
        print_json(
            &json!({ "records": count, "withoutBody": without_body, "applied": args.apply, "run": run }),
        );
    } else if let Some(run) = run {
        print(&format_args!(
            "{count} records are in Kafka again, with concur-bridge-replay: {run}"
        ));
    } else {
        print(&format_args!(
            "{count} records would be sent again; repeat with --apply to do it"
        ));
    }
    Ok(Exit::Success)
}
