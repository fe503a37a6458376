//! `concur-bridge schema`

use clap::ValueEnum;

use super::ConfigArgs;
use super::output::{print, print_json};
use crate::event::Stream;
use crate::exit::Exit;
use crate::schema::{asyncapi, event_schema};

/// Print the JSON Schema of one stream's events, or an AsyncAPI 3 document of all topics.
#[derive(clap::Args)]
pub(super) struct Args {
    /// What to print.
    #[arg(value_enum, default_value = "asyncapi")]
    what: What,
    /// On one line; the document is JSON in any case.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// All topics, keys, headers and payloads, as AsyncAPI 3.
    Asyncapi,
    /// Events about trips, as JSON Schema 2020-12.
    Itinerary,
    /// Events about forms of payment.
    Fop,
    /// Events about travel profiles.
    Profile,
    /// Other ESS events.
    Other,
    /// Quarantined requests.
    Quarantine,
}

pub(super) fn run(args: Args) -> Exit {
    let document = match args.what {
        What::Asyncapi => match args.config.load() {
            Ok(config) => asyncapi(&config.topics, config.events.mode),
            Err(exit) => return exit,
        },
        What::Itinerary => event_schema(Stream::Itinerary),
        What::Fop => event_schema(Stream::Fop),
        What::Profile => event_schema(Stream::Profile),
        What::Other => event_schema(Stream::Other),
        What::Quarantine => event_schema(Stream::Quarantine),
    };
    if args.json {
        print_json(&document);
    } else {
        print(&format_args!("{document:#}"));
    }
    Exit::Success
}
