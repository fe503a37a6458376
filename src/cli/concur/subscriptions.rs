//! `subscriptions`: webhooks of ESS v4.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::{Reach, TOKEN_VARIABLE, complain_about, secret, wrong_usage};
use crate::cli::ConfigArgs;
use crate::cli::output::{complain, print, print_json};
use crate::concur::drift::{Drift, compare};
use crate::concur::oauth::ClientCredentials;
use crate::concur::subscriptions::{Access, Subscription, SubscriptionId, Subscriptions};
use crate::concur::{BaseUrl, CallError};
use crate::config;
use crate::exit::Exit;

/// The variables that hold the application's credentials.
const ID_VARIABLE: &str = "CONCUR_CLIENT_ID";
const SECRET_VARIABLE: &str = "CONCUR_CLIENT_SECRET";

/// What to do.
#[derive(Subcommand)]
pub(in crate::cli) enum Command {
    /// Print the topics that the application may subscribe to.
    Topics(Caller),
    /// Print all subscriptions of the application.
    List(Caller),
    /// Print one subscription.
    Get {
        /// The subscription's id
        #[arg(value_parser = SubscriptionId::parse)]
        id: SubscriptionId,
        #[command(flatten)]
        caller: Caller,
    },
    /// Make a subscription, or change the one with its id.
    Put {
        /// A globally unique id: lower-case letters, digits, `.` and `-`
        #[arg(long, value_parser = SubscriptionId::parse)]
        id: SubscriptionId,
        /// The topic, e.g. public.concur.travel.itinerary
        #[arg(long)]
        topic: String,
        /// A regular expression on the event type
        #[arg(long, value_name = "REGEX", default_value = ".*")]
        filter: String,
        /// Where Concur posts: the bridge's `ingress.ess_path` as seen from outside
        #[arg(long, value_name = "URL", value_parser = endpoint)]
        endpoint: String,
        #[command(flatten)]
        caller: Caller,
    },
    /// Delete a subscription.
    Delete {
        /// The subscription's id
        #[arg(value_parser = SubscriptionId::parse)]
        id: SubscriptionId,
        #[command(flatten)]
        caller: Caller,
    },
    /// Compare what is subscribed with `[[subscriptions]]` of the configuration; exit code 1 when they differ.
    Check {
        #[command(flatten)]
        config: ConfigArgs,
        #[command(flatten)]
        caller: Caller,
    },
}

/// Who calls.
///
/// With a client id, a token is got by the client_credentials grant; otherwise one must be given.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Caller {
    /// The application's client id [env: CONCUR_CLIENT_ID]
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// File with the application's secret; without it the variable CONCUR_CLIENT_SECRET is read
    #[arg(long, value_name = "FILE")]
    client_secret_file: Option<PathBuf>,
    /// File with an access token got elsewhere; without it, and without a client id, CONCUR_ACCESS_TOKEN is read
    #[arg(long, value_name = "FILE", conflicts_with_all = ["client_id", "client_secret_file"])]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    reach: Reach,
}

/// Runs it.
pub(super) async fn run(command: Command) -> Result<Exit, Exit> {
    match command {
        Command::Topics(caller) => {
            let concur = caller.subscriptions()?;
            let topics = concur
                .topics()
                .await
                .map_err(|error| refused(&concur, "read the topics", &error))?;
            if caller.reach.json {
                print_json(&topics);
            } else if topics.is_empty() {
                complain(
                    &"no topics: the application lacks the scopes; Concur's support grants them",
                );
            }
            topics
                .iter()
                .filter(|_| !caller.reach.json)
                .for_each(|topic| print(topic));
        }
        Command::List(caller) => {
            let concur = caller.subscriptions()?;
            let list = concur
                .list()
                .await
                .map_err(|error| refused(&concur, "list the subscriptions", &error))?;
            if caller.reach.json {
                print_json(&list);
            } else {
                list.iter().for_each(show);
            }
        }
        Command::Get { id, caller } => {
            let concur = caller.subscriptions()?;
            let what = format!("read {}", id.as_str());
            let found = concur
                .get(&id)
                .await
                .map_err(|error| refused(&concur, &what, &error))?;
            let Some(subscription) = found else {
                complain(&format_args!("there is no subscription {}", id.as_str()));
                return Err(Exit::Failure);
            };
            if caller.reach.json {
                print_json(&subscription);
            } else {
                show(&subscription);
            }
        }
        Command::Put {
            id,
            topic,
            filter,
            endpoint,
            caller,
        } => {
            let concur = caller.subscriptions()?;
            let wanted = config::Subscription {
                id: id.as_str().to_owned(),
                topic,
                filter,
                endpoint,
            };
            let what = format!("save {}", wanted.id);
            let words = concur
                .put(&wanted)
                .await
                .map_err(|error| refused(&concur, &what, &error))?;
            caller.tell("saved", &wanted.id, &words);
        }
        Command::Delete { id, caller } => {
            let concur = caller.subscriptions()?;
            let what = format!("delete {}", id.as_str());
            let words = concur
                .delete(&id)
                .await
                .map_err(|error| refused(&concur, &what, &error))?;
            caller.tell("deleted", id.as_str(), &words);
        }
        Command::Check { config, caller } => return check(&config, &caller).await,
    }
    Ok(Exit::Success)
}

async fn check(config: &ConfigArgs, caller: &Caller) -> Result<Exit, Exit> {
    let wanted = config.load()?.subscriptions;
    let concur = caller.subscriptions()?;
    let actual = concur
        .list()
        .await
        .map_err(|error| refused(&concur, "list the subscriptions", &error))?;
    let drifts = compare(&wanted, &actual);
    if caller.reach.json {
        let as_json =
            |drift: &Drift| json!({ "drift": drift.to_string(), "mend": caller.command(drift) });
        print_json(&drifts.iter().map(as_json).collect::<Vec<_>>());
    } else if drifts.is_empty() {
        print(&format_args!(
            "{} subscriptions, all as configured",
            wanted.len()
        ));
    } else {
        drifts
            .iter()
            .for_each(|drift| print(&format_args!("{drift}\n  {}", caller.command(drift))));
    }
    Ok(if drifts.is_empty() {
        Exit::Success
    } else {
        Exit::Failure
    })
}

impl Caller {
    fn subscriptions(&self) -> Result<Subscriptions, Exit> {
        let id = self
            .client_id
            .clone()
            .or_else(|| std::env::var(ID_VARIABLE).ok())
            .filter(|id| !id.is_empty());
        let access = match id.filter(|_| self.token_file.is_none()) {
            Some(id) => {
                let secret = secret(self.client_secret_file.as_deref(), SECRET_VARIABLE)?;
                Access::Credentials(ClientCredentials { id, secret })
            }
            None if self.client_secret_file.is_some() => {
                return Err(wrong_usage("a client secret needs a client id"));
            }
            None => Access::Token(secret(self.token_file.as_deref(), TOKEN_VARIABLE)?),
        };
        Ok(Subscriptions::new(self.reach.client()?, access))
    }

    fn tell(&self, done: &str, id: &str, words: &str) {
        if self.reach.json {
            print_json(&json!({ "id": id, "result": done, "message": words }));
        } else {
            print(&format_args!("{done}: {id} ({words})"));
        }
    }

    /// The command line that mends a difference, ready for a shell.
    fn command(&self, drift: &Drift) -> String {
        let mut words = vec!["concur-bridge".to_owned(), "subscriptions".to_owned()];
        words.extend(drift.mend());
        words.extend(["--base-url".to_owned(), self.reach.base_url.to_string()]);
        let files = [
            ("--client-secret-file", &self.client_secret_file),
            ("--token-file", &self.token_file),
        ];
        words.extend(
            self.client_id
                .iter()
                .flat_map(|id| ["--client-id".to_owned(), id.clone()]),
        );
        for (option, file) in files {
            words.extend(
                file.iter()
                    .flat_map(|file| [option.to_owned(), file.display().to_string()]),
            );
        }
        words
            .iter()
            .map(|word| quoted(word))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

fn refused(concur: &Subscriptions, what: &str, error: &CallError) -> Exit {
    complain_about(&format!("cannot {what}"), error);
    complain(&format_args!(
        "for Concur's support: Concur-Correlationid {}",
        concur.correlation_id()
    ));
    Exit::Failure
}

fn show(subscription: &Subscription) {
    let Subscription {
        id, topic, filter, ..
    } = subscription;
    print(&format_args!(
        "{id}\n  topic {topic}\n  filter {filter}\n  endpoint {}",
        subscription.endpoint()
    ));
}

/// An endpoint must be one that events may travel to.
fn endpoint(text: &str) -> Result<String, String> {
    let url = url::Url::parse(text).map_err(|_| "not a URL".to_owned())?;
    let is_https = url.scheme() == "https" && url.has_host();
    let is_loopback =
        url.scheme() == "http" && BaseUrl::parse(text).is_ok_and(|base| base.is_loopback());
    if is_https || is_loopback {
        Ok(text.to_owned())
    } else {
        Err("must be https (http is for loopback)".to_owned())
    }
}

/// A word as a POSIX shell reads it back.
fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_a_shell() {
        for (word, shell) in [
            ("a.b-1", "a.b-1"),
            (".*", "'.*'"),
            ("", "''"),
            ("it's", r"'it'\''s'"),
            ("$(x)", "'$(x)'"),
        ] {
            assert_eq!(quoted(word), shell);
        }
    }

    #[test]
    fn events_travel_encrypted_except_to_loopback() {
        for good in [
            "https://bridge.example/ess/secret",
            "http://127.0.0.1:8080/ess",
        ] {
            assert!(endpoint(good).is_ok(), "{good}");
        }
        for bad in [
            "http://bridge.example/ess",
            "ftp://127.0.0.1/",
            "bridge.example",
            "",
        ] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }
}
