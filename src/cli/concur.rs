//! Concur's side: `subscribe` and `unsubscribe` (v1), `subscriptions` (ESS). The client is [`crate::concur`]; here are
//! arguments, secrets from file or environment, sentences and exit codes.

mod notifications;
mod subscriptions;

use std::path::Path;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::output::{block_on, complain};
use crate::concur::notifications::Change;
use crate::concur::{BaseUrl, CallError, Client, Patience};
use crate::exit::Exit;
use crate::secret::Token;

/// The variable that holds the token when no file is named.
const TOKEN_VARIABLE: &str = "CONCUR_ACCESS_TOKEN";

/// The commands that call Concur.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Ask Concur to post about changes of a type (v1).
    ///
    /// Concur posts to the postback URL that it has registered for your application; the call names none. The token is
    /// an administrator's for company level, the user's own for user level. Exit code 0 when Concur answered 200 for
    /// every type, 2 for wrong usage, 1 when Concur refused or could not be reached.
    Subscribe(notifications::Args),
    /// Ask Concur not to post about changes of a type any more (v1).
    Unsubscribe(notifications::Args),
    /// Manage webhooks of the Event Subscription Service (ESS v4).
    #[command(subcommand)]
    Subscriptions(subscriptions::Command),
}

/// Where Concur is and how long it may take.
#[derive(Debug, Args)]
struct Reach {
    /// Where Concur's API is: https, or http for loopback. ESS is at your data centre, e.g.
    /// https://us.api.concursolutions.com
    #[arg(long, value_name = "URL", default_value = BaseUrl::DEFAULT, value_parser = BaseUrl::parse)]
    base_url: BaseUrl,
    /// Time for all calls together, at most 60s
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = patience)]
    timeout: Duration,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Runs one of the commands.
pub(super) fn run(command: Command) -> Exit {
    block_on(async {
        let outcome = match command {
            Command::Subscribe(args) => notifications::change(args, Change::Subscribe).await,
            Command::Unsubscribe(args) => notifications::change(args, Change::Unsubscribe).await,
            Command::Subscriptions(command) => subscriptions::run(command).await,
        };
        outcome.unwrap_or_else(|exit| exit)
    })
}

impl Reach {
    fn client(&self) -> Result<Client, Exit> {
        let patience = Patience {
            total: self.timeout,
            ..Patience::default()
        };
        Client::new(self.base_url.clone(), patience).map_err(|error| {
            complain(&error);
            Exit::Failure
        })
    }
}

/// A secret from a file, else from a variable; never from an argument, which other users of the machine can read.
fn secret(file: Option<&Path>, variable: &str) -> Result<Token, Exit> {
    read_secret(file, variable).map_err(|fault| wrong_usage(&fault))
}

fn read_secret(file: Option<&Path>, variable: &str) -> Result<Token, String> {
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
            "no secret: name a file that holds it (its option is in --help), or set {variable}"
        ))
    } else if clear.is_empty() {
        Err(format!("{whence} is empty"))
    } else if !clear.bytes().all(|byte| byte.is_ascii_graphic()) {
        Err(format!(
            "{whence} holds blanks or characters that no HTTP header can carry: it must hold the bare secret"
        ))
    } else {
        Ok(Token::new(clear.to_owned()))
    }
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

fn wrong_usage(fault: &str) -> Exit {
    complain(&fault);
    Exit::Usage
}

/// What went wrong, and what to do about it.
fn complain_about(what: &str, error: &CallError) {
    complain(&format_args!("{what}: {error}\n  {}", error.advice()));
}
