//! What keeps records until Kafka has them: the journal with its publisher, or, without a disk, Kafka itself.

use std::fs::{OpenOptions, Permissions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Mode, StartError};
use crate::accept::Keeper;
use crate::clock::Clock;
use crate::config::{AcknowledgeAfter, Config};
use crate::exit::Exit;
use crate::journal::{self, Fatal, Journal};
use crate::normalise::Rules;
use crate::publish::direct::Direct;
use crate::publish::{self, BacklogError, End, Publisher, Settings};
use crate::quarantine::Quarantine;
use crate::record::Position;
use crate::seal::Sealer;

/// The file beside the journal that tells commands where the admin port of the process is that holds it.
pub(crate) const ADMIN_ADDRESS_FILE: &str = "admin.addr";

/// Either of the two modes.
pub(super) enum Keeping {
    /// `acknowledge_after = "journal"`.
    Journal {
        journal: Journal,
        publisher: Publisher,
        /// How it ended, once it did.
        end: Option<End>,
        dir: PathBuf,
        mode: Mode,
    },
    /// `acknowledge_after = "kafka"`.
    Kafka { direct: Direct, instance: String },
}

impl Keeping {
    /// Opens the journal and starts publishing it, or starts the producer of the stateless mode.
    pub(super) async fn open(
        config: &Config,
        mode: Mode,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        if config.ingress.acknowledge_after == AcknowledgeAfter::Kafka {
            if mode == Mode::DrainOnly {
                return Err(StartError::new(
                    Exit::Usage,
                    "--drain-only needs a journal: ingress.acknowledge_after is \"kafka\"",
                ));
            }
            let instance = config.instance.clone().unwrap_or_else(journal::host_name);
            let settings = Settings::of(config, instance.clone());
            let direct = Direct::spawn(&settings, config.ingress.kafka_ack_timeout, clock)
                .map_err(|error| StartError::new(Exit::Failure, error))?;
            return Ok(Self::Kafka { direct, instance });
        }
        let options = journal::Options {
            config: config.journal.clone(),
            instance: config.instance.clone(),
            transactional_prefix: config.kafka.transactional_id_prefix.clone(),
            fatal: Box::new(leave),
            clock: clock.clone(),
        };
        let opened = tokio::task::spawn_blocking(move || Journal::open(options)).await;
        let journal = opened
            .map_err(|error| StartError::new(Exit::Failure, error))?
            .map_err(|error| StartError::new(error.exit(), error))?;
        let backlog = journal
            .backlog()
            .map_err(|error| StartError::new(exit_of(&error), error))?;
        let settings = Settings::of(config, journal.instance().to_owned());
        let publisher = Publisher::spawn(&settings, backlog, clock)
            .map_err(|error| StartError::new(Exit::Failure, error))?;
        Ok(Self::Journal {
            journal,
            publisher,
            end: None,
            dir: config.journal.dir.clone(),
            mode,
        })
    }

    /// Where accepted records go.
    pub(super) fn keeper(&self) -> Keeper {
        match self {
            Self::Journal { journal, .. } => Keeper::Journal(journal.clone()),
            Self::Kafka { direct, .. } => Keeper::Kafka(direct.clone()),
        }
    }

    /// The journal, if there is one.
    pub(super) fn journal(&self) -> Option<&Journal> {
        match self {
            Self::Journal { journal, .. } => Some(journal),
            Self::Kafka { .. } => None,
        }
    }

    /// What is known of Kafka.
    pub(super) fn status(&self) -> publish::Status {
        match self {
            Self::Journal { publisher, .. } => publisher.status().clone(),
            Self::Kafka { direct, .. } => direct.status().clone(),
        }
    }

    /// What can be done to quarantined requests, if they are kept here.
    pub(super) fn quarantine(&self, rules: Rules, sealer: Sealer) -> Option<Quarantine> {
        self.journal()
            .map(|journal| Quarantine::new(journal.clone(), rules, sealer))
    }

    /// Identity of this replica.
    pub(super) fn instance(&self) -> &str {
        match self {
            Self::Journal { journal, .. } => journal.instance(),
            Self::Kafka { instance, .. } => instance,
        }
    }

    /// The journal's UUID and last durable position; empty and zero without one.
    pub(super) fn place(&self) -> (String, u64) {
        match self.journal() {
            Some(journal) => (journal.uuid().to_string(), journal.status().durable.0),
            None => (String::new(), Position::default().0),
        }
    }

    /// Tells commands where to reach this process.
    pub(super) fn note_admin(&self, admin: SocketAddr) {
        if let Self::Journal { dir, .. } = self
            && let Err(error) = write_privately(&dir.join(ADMIN_ADDRESS_FILE), &admin.to_string())
        {
            tracing::warn!(%error, "commands on this journal will not find the admin port");
        }
    }

    /// Waits until publishing ends by itself: fenced, failed, or drained when that is all there was to do.
    pub(super) async fn ended(&mut self) -> Exit {
        match self {
            Self::Journal {
                journal,
                publisher,
                end,
                mode,
                ..
            } => tokio::select! {
                ended = publisher.ended() => exit_of_publisher(end.insert(ended)),
                () = drained(journal), if *mode == Mode::DrainOnly => Exit::Success,
            },
            Self::Kafka { direct, .. } => {
                direct.ended().await;
                tracing::error!("the publisher ended by itself");
                Exit::Failure
            }
        }
    }

    /// Finishes the open transaction and closes the journal, until `deadline`. Whether something was left open.
    pub(super) async fn close(&mut self, deadline: Instant) -> bool {
        match self {
            Self::Journal {
                journal,
                publisher,
                end,
                dir,
                mode,
            } => {
                if end.is_none() {
                    publisher.stop(deadline.saturating_duration_since(Instant::now()));
                    *end = tokio::time::timeout_at(deadline.into(), publisher.ended())
                        .await
                        .ok();
                }
                let transaction_open = matches!(
                    end,
                    None | Some(End::Stopped {
                        transaction_open: true
                    })
                );
                let waiting = journal.status().backlog_records;
                if *mode == Mode::DrainOnly && waiting > 0 {
                    tracing::warn!(
                        records = waiting,
                        "not drained: the journal holds records that Kafka does not have, keep it"
                    );
                }
                let closed = tokio::time::timeout_at(deadline.into(), journal.close()).await;
                let _ = std::fs::remove_file(dir.join(ADMIN_ADDRESS_FILE));
                transaction_open || closed.is_err()
            }
            Self::Kafka { direct, .. } => {
                direct.stop(deadline.saturating_duration_since(Instant::now()));
                tokio::time::timeout_at(deadline.into(), direct.ended())
                    .await
                    .is_err()
            }
        }
    }
}

/// The journal cannot go on: nobody may answer 2xx any more, and nothing may be written or closed.
#[expect(
    clippy::disallowed_methods,
    reason = "the poisoned journal decides the exit code"
)]
pub(crate) fn leave(fatal: &Fatal) {
    tracing::error!(code = fatal.exit().code(), "{fatal}");
    std::process::exit(fatal.exit().code().into());
}

async fn drained(journal: &Journal) {
    let mut look = tokio::time::interval(Duration::from_millis(100));
    while journal.status().backlog_records > 0 {
        look.tick().await;
    }
    tracing::info!("the journal is drained");
}

/// Nobody asked it to end, so the log says why the process does.
fn exit_of_publisher(end: &End) -> Exit {
    let (exit, reason) = match end {
        End::Stopped { .. } => return Exit::Success,
        End::Fenced => (
            Exit::Taken,
            "another process publishes under this identity: find it, by its instance and prefix or by a copy of the \
             journal's directory, before this one is started again"
                .to_owned(),
        ),
        End::Backlog(error) => (exit_of(error), error.to_string()),
        End::Died => (Exit::Failure, "the publisher's thread died".to_owned()),
    };
    tracing::error!(code = exit.code(), "{reason}");
    exit
}

fn exit_of(error: &BacklogError) -> Exit {
    match error {
        BacklogError::Damaged { .. } => Exit::JournalDamaged,
        BacklogError::Failed(_) => Exit::JournalFailed,
    }
}

/// Writes a file for this user only, also where an earlier version left one that others may read.
fn write_privately(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())
}
