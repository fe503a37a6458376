//! `subscribe`, `unsubscribe`: v1 notifications. The client is `concur_bridge::concur`; here are arguments, tokens from
//! file or environment, sentences and exit codes.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use concur_bridge::concur::notifications::{Change, Feature, Level};
use concur_bridge::concur::{BaseUrl, CallError, Client, Patience};
use concur_bridge::secret::Token;
use serde_json::json;

/// The variable that holds the token when no file is named.
const TOKEN_VARIABLE: &str = "CONCUR_ACCESS_TOKEN";

/// Where Concur is and how long it may take.
#[derive(Debug, Args)]
pub(crate) struct Reach {
    /// Where Concur's API is: https, or http for loopback
    #[arg(long, value_name = "URL", default_value = BaseUrl::DEFAULT, value_parser = BaseUrl::parse)]
    pub(super) base_url: BaseUrl,
    /// Time for all calls together, at most 60s
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = patience)]
    pub(super) timeout: Duration,
    /// Print the result as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Asks Concur to notify, or not to notify any more, about changes of a type.
///
/// Concur posts to the postback URL that it has registered for your application; the call names none. The token is an
/// administrator's for company level, the user's own for user level. Exit code 0 when Concur answered 200 to every
/// type; 2 for wrong usage; 1 when Concur refused or could not be reached.
#[derive(Debug, Args)]
pub(crate) struct NotificationArgs {
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

/// `subscribe`
pub(crate) async fn subscribe(args: NotificationArgs) -> ExitCode {
    change(args, Change::Subscribe).await
}

/// `unsubscribe`
pub(crate) async fn unsubscribe(args: NotificationArgs) -> ExitCode {
    change(args, Change::Unsubscribe).await
}

async fn change(args: NotificationArgs, change: Change) -> ExitCode {
    let token = match token(args.token_file.as_deref(), TOKEN_VARIABLE) {
        Ok(token) => token,
        Err(fault) => return wrong_usage(&fault),
    };
    let client = match client(&args.reach) {
        Ok(client) => client,
        Err(code) => return code,
    };
    let level = args.level.into();
    let mut results = Vec::new();
    let mut failed = false;
    let mut features = args.features().into_iter();
    for feature in features.by_ref() {
        let outcome = client.notify(change, level, feature, &token).await;
        results.push(outcome_as_json(feature, &outcome));
        match outcome {
            Ok(()) if args.reach.json => {}
            Ok(()) => say(&format!(
                "{}d: {feature} ({} level)",
                change.name(),
                level.name()
            )),
            Err(error) => {
                failed = true;
                complain(&format!("cannot {} {feature}", change.name()), &error);
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
        say(
            &json!({ "action": change.name(), "level": level.name(), "results": results })
                .to_string(),
        );
    }
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

impl NotificationArgs {
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

/// A secret from a file, else from a variable; never from an argument, which other users of the machine can read.
pub(super) fn token(file: Option<&Path>, variable: &str) -> Result<Token, String> {
    let (text, whence) = match file {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| format!("{}: {error}", path.display()))?;
            (text, path.display().to_string())
        }
        None => (
            std::env::var(variable).unwrap_or_default(),
            format!("the variable {variable}"),
        ),
    };
    let text = zeroize::Zeroizing::new(text);
    let clear = text.trim();
    if clear.is_empty() && file.is_none() {
        Err(format!(
            "no token: name a file that holds it, or set {variable}"
        ))
    } else if clear.is_empty() {
        Err(format!("{whence} is empty"))
    } else if !clear.bytes().all(|byte| byte.is_ascii_graphic()) {
        Err(format!(
            "{whence} holds no token: it has blanks or characters that no HTTP header can carry"
        ))
    } else {
        Ok(Token::new(clear.to_owned()))
    }
}

pub(super) fn client(reach: &Reach) -> Result<Client, ExitCode> {
    let patience = Patience {
        total: reach.timeout,
        ..Patience::default()
    };
    Client::new(reach.base_url.clone(), patience).map_err(|error| {
        write_line(&mut std::io::stderr(), &format!("error: {error}"));
        ExitCode::FAILURE
    })
}

fn patience(text: &str) -> Result<Duration, String> {
    let signed: jiff::SignedDuration = text
        .parse()
        .map_err(|_| "not a duration such as 20s".to_owned())?;
    let longest = Patience::default().total;
    Duration::try_from(signed)
        .ok()
        .filter(|total| !total.is_zero() && *total <= longest)
        .ok_or_else(|| format!("must be more than 0s and at most {}s", longest.as_secs()))
}

fn outcome_as_json(feature: Feature, outcome: &Result<(), CallError>) -> serde_json::Value {
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

pub(super) fn complain(what: &str, error: &CallError) {
    write_line(
        &mut std::io::stderr(),
        &format!("error: {what}: {error}\n  {}", error.advice()),
    );
}

pub(super) fn wrong_usage(fault: &str) -> ExitCode {
    write_line(&mut std::io::stderr(), &format!("error: {fault}"));
    ExitCode::from(2)
}

pub(super) fn say(line: &str) {
    write_line(&mut std::io::stdout(), line);
}

/// A reader that went away is no reason to fail: the work is done.
fn write_line(to: &mut impl Write, line: &str) {
    let _ = writeln!(to, "{line}");
}
