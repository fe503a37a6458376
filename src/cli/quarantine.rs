//! `concur-bridge quarantine`: malformed requests, kept sealed.
//!
//! Looking opens the journal for reading, whether a process serves or not. Changing goes through the admin port of the
//! process that holds the journal, and through the journal itself when none does.

mod remote;

use std::sync::Arc;

use serde_json::json;

use super::ConfigArgs;
use super::output::{block_on, complain, print, print_json};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::exit::Exit;
use crate::journal::{Inspector, Journal, OpenError, Options, QuarantineEntry};
use crate::normalise::Rules;
use crate::quarantine::{self, Listed, Quarantine, QuarantineError};
use crate::record::Position;
use crate::seal::Sealer;
use crate::secret::Vault;

/// Entries read at a time.
const BATCH: usize = 500;

/// Look at malformed requests, send them through again, drop them.
#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// What is quarantined, oldest first.
    List {
        #[command(flatten)]
        which: Which,
        /// Only for this reason.
        #[arg(long, value_name = "REASON")]
        reason: Option<String>,
    },
    /// One request, its token masked.
    Show {
        #[command(flatten)]
        which: Which,
        /// Its quarantine id.
        id: String,
        /// With the token in clear.
        #[arg(long)]
        reveal: bool,
    },
    /// Send requests through the same way again, with a new id and the original receipt time. What is still malformed stays.
    Requeue {
        #[command(flatten)]
        which: Which,
        /// Quarantine ids.
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Drop requests for good. It is logged.
    Discard {
        #[command(flatten)]
        which: Which,
        /// Quarantine ids.
        #[arg(required = true)]
        ids: Vec<String>,
    },
}

/// Which journal, and how to print.
#[derive(clap::Args)]
pub(super) struct Which {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What is done to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Requeue,
    Discard,
}

impl Action {
    fn verb(self) -> &'static str {
        match self {
            Self::Requeue => "requeue",
            Self::Discard => "discard",
        }
    }
}

pub(super) fn run(command: Command) -> Exit {
    let result = match command {
        Command::List { which, reason } => list(&which, reason.as_deref()),
        Command::Show { which, id, reveal } => show(&which, &id, reveal),
        Command::Requeue { which, ids } => act(&which, &ids, Action::Requeue),
        Command::Discard { which, ids } => act(&which, &ids, Action::Discard),
    };
    result.unwrap_or_else(|exit| exit)
}

fn opened(error: &OpenError) -> Exit {
    complain(error);
    error.exit()
}

fn failed(error: &QuarantineError) -> Exit {
    complain(error);
    match error {
        QuarantineError::Journal(fatal) => fatal.exit(),
        _ => Exit::Failure,
    }
}

fn list(which: &Which, reason: Option<&str>) -> Result<Exit, Exit> {
    let config = which.config.load()?;
    let inspector = Inspector::open(&config.journal.dir).map_err(|error| opened(&error))?;
    let mut after = Position(0);
    loop {
        let entries =
            quarantine::list(&inspector, after, BATCH).map_err(|fatal| failed(&fatal.into()))?;
        let Some(last) = entries.last() else {
            return Ok(Exit::Success);
        };
        after = Position(last.position);
        for entry in entries
            .iter()
            .filter(|entry| reason.is_none_or(|reason| entry.reason == reason))
        {
            if which.json {
                print_json(entry);
            } else {
                let Listed {
                    id,
                    reason,
                    detail,
                    received_at,
                    size,
                    ..
                } = entry;
                print(&format_args!(
                    "{id}  {received_at}  {reason:<20}  {size:>7}  {detail}"
                ));
            }
        }
    }
}

fn show(which: &Which, id: &str, reveal: bool) -> Result<Exit, Exit> {
    let config = which.config.load()?;
    let inspector = Inspector::open(&config.journal.dir).map_err(|error| opened(&error))?;
    let entry = quarantine::find(&inspector, id).map_err(|error| failed(&error))?;
    let vault = open_vault(&config)?;
    let postback = quarantine::open(&entry, &vault).map_err(|error| failed(&error))?;
    let request = quarantine::shown(&postback, reveal);
    let listed = Listed::of(&entry);
    if which.json {
        let mut shown = json!(listed);
        shown["request"] = json!(request);
        print_json(&shown);
    } else {
        print(&format_args!(
            "{}  {}  {}: {}\n",
            listed.id, listed.received_at, listed.reason, listed.detail
        ));
        print(&request);
    }
    Ok(Exit::Success)
}

fn act(which: &Which, ids: &[String], action: Action) -> Result<Exit, Exit> {
    let config = which.config.load()?;
    let mut exit = Exit::Success;
    let tell = |id: &str, result: Result<Option<String>, String>| match result {
        Ok(event_id) if which.json => {
            print_json(&json!({ "id": id, "action": action.verb(), "eventId": event_id }))
        }
        Ok(Some(event_id)) => print(&format_args!("{id} requeued as {event_id}")),
        Ok(None) => print(&format_args!("{id} discarded")),
        Err(error) => {
            complain(&format_args!("{id}: {error}"));
            exit = Exit::Failure;
        }
    };
    // Before the journal is opened, which would make it where there is none.
    let inspector = Inspector::open(&config.journal.dir).map_err(|error| opened(&error))?;
    let summary = inspector.summary().map_err(|fatal| failed(&fatal.into()))?;
    let ended = if summary.served {
        act_through_its_holder(&config, ids, action, tell)?
    } else {
        act_alone(&config, &inspector, ids, action, tell)?
    };
    Ok(match ended {
        Exit::Success => exit,
        ended => ended,
    })
}

fn act_through_its_holder(
    config: &Config,
    ids: &[String],
    action: Action,
    mut tell: impl FnMut(&str, Result<Option<String>, String>),
) -> Result<Exit, Exit> {
    let port = remote::AdminPort::of(config).map_err(|error| {
        complain(&error);
        Exit::Failure
    })?;
    Ok(block_on(async {
        for id in ids {
            let result = port.act(id, action.verb()).await;
            tell(id, result.map_err(|error| error.to_string()));
        }
        Exit::Success
    }))
}

fn act_alone(
    config: &Config,
    inspector: &Inspector,
    ids: &[String],
    action: Action,
    mut tell: impl FnMut(&str, Result<Option<String>, String>),
) -> Result<Exit, Exit> {
    let sealer = Sealer::new(open_vault(config)?, config.events.user);
    let journal = Journal::open(Options {
        config: config.journal.clone(),
        instance: config.instance.clone(),
        transactional_prefix: config.kafka.transactional_id_prefix.clone(),
        fatal: Box::new(crate::app::leave),
        clock: Arc::new(SystemClock),
    })
    .map_err(|error| opened(&error))?;
    let rules = Rules {
        object_uri_hosts: config.events.object_uri_hosts.clone(),
    };
    let actions = Quarantine::new(journal.clone(), rules, sealer);
    Ok(block_on(async {
        for id in ids {
            let result = match quarantine::find(inspector, id) {
                Ok(entry) => do_one(&actions, &entry, action).await,
                Err(error) => Err(error),
            };
            tell(id, result.map_err(|error| error.to_string()));
        }
        journal.close().await;
        Exit::Success
    }))
}

async fn do_one(
    actions: &Quarantine,
    entry: &QuarantineEntry,
    action: Action,
) -> Result<Option<String>, QuarantineError> {
    match action {
        Action::Requeue => actions.requeue(entry).await.map(Some),
        Action::Discard => actions.discard(entry).await.map(|()| None),
    }
}

fn open_vault(config: &Config) -> Result<Vault, Exit> {
    Vault::open(&config.tokens, false).map_err(|error| {
        complain(&error);
        Exit::Usage
    })
}
