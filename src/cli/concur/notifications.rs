//! `subscribe`, `unsubscribe`.

use std::path::PathBuf;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::{Reach, TOKEN_VARIABLE, complain_about, secret};
use crate::cli::output::{print, print_json};
use crate::concur::CallError;
use crate::concur::notifications::{Change, Feature, Level};
use crate::exit::Exit;

/// Arguments of both.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The type of notification; repeat it, or separate with commas, for several
    #[arg(
        long = "type",
        value_name = "TYPE",
        value_enum,
        value_delimiter = ',',
        required_unless_present = "all"
    )]
    types: Vec<FeatureArg>,
    /// Every type
    #[arg(long, conflicts_with = "types")]
    all: bool,
    /// Whose changes: the company's users', or the token's user's
    #[arg(long, value_enum, default_value = "company")]
    level: LevelArg,
    /// File with the OAuth access token; without it the variable CONCUR_ACCESS_TOKEN is read
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FeatureArg {
    Itinerary,
    Fop,
    Profile,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LevelArg {
    Company,
    User,
}

/// Asks for each type in turn; what must end like the one before is not tried.
pub(super) async fn change(args: Args, change: Change) -> Result<Exit, Exit> {
    let token = secret(args.token_file.as_deref(), TOKEN_VARIABLE)?;
    let client = args.reach.client()?;
    let level = args.level.into();
    let mut results = Vec::new();
    let mut exit = Exit::Success;
    let mut features = args.features().into_iter();
    for feature in features.by_ref() {
        let outcome = client.notify(change, level, feature, &token).await;
        results.push(as_json(feature, &outcome));
        match outcome {
            Ok(()) if args.reach.json => {}
            Ok(()) => print(&format_args!(
                "{}d: {feature} ({} level)",
                change.name(),
                level.name()
            )),
            Err(error) => {
                exit = Exit::Failure;
                complain_about(&format!("cannot {} {feature}", change.name()), &error);
                if error.ends_the_errand() {
                    break;
                }
            }
        }
    }
    results.extend(
        features
            .map(|feature| json!({ "type": feature.name(), "ok": false, "error": "not tried" })),
    );
    if args.reach.json {
        print_json(&json!({ "action": change.name(), "level": level.name(), "results": results }));
    }
    Ok(exit)
}

impl Args {
    /// The types asked for, each once, in the page's order.
    fn features(&self) -> Vec<Feature> {
        let is_wanted = |feature: &Feature| {
            self.all
                || self
                    .types
                    .iter()
                    .any(|wanted| Feature::from(*wanted) == *feature)
        };
        Feature::ALL.into_iter().filter(is_wanted).collect()
    }
}

impl From<FeatureArg> for Feature {
    fn from(arg: FeatureArg) -> Self {
        match arg {
            FeatureArg::Itinerary => Self::Itinerary,
            FeatureArg::Fop => Self::Fop,
            FeatureArg::Profile => Self::Profile,
        }
    }
}

impl From<LevelArg> for Level {
    fn from(arg: LevelArg) -> Self {
        match arg {
            LevelArg::Company => Self::Company,
            LevelArg::User => Self::User,
        }
    }
}

fn as_json(feature: Feature, outcome: &Result<(), CallError>) -> Value {
    match outcome {
        Ok(()) => json!({ "type": feature.name(), "ok": true }),
        Err(error) => json!({
            "type": feature.name(),
            "ok": false,
            "status": error.status().map(|status| status.as_u16()),
            "error": error.to_string(),
            "advice": error.advice(),
        }),
    }
}
