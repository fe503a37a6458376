//! What ends the process: damage to what was acknowledged, and failures of the disk.
//!
//! [`Broken`] is what any step inside the journal may answer; at the edge it becomes a [`Fatal`], the decision how the
//! process leaves. A full disk or a limit is neither: those are refusals, and heal.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::exit::Exit;
use crate::record::Position;

/// Damage to what was acknowledged, in words for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The damaged file.
    pub file: PathBuf,
    /// The first position known to be damaged; `None` when it is not a record.
    pub position: Option<Position>,
    /// What is wrong.
    pub what: String,
}

impl Damage {
    /// Damage to `file` that is not in one of its records.
    pub(super) fn of_file(file: PathBuf, what: impl Into<String>) -> Self {
        Self {
            file,
            position: None,
            what: what.into(),
        }
    }
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is damaged", self.file.display())?;
        if let Some(position) = self.position {
            write!(f, " at position {position}")?;
        }
        write!(
            f,
            ": {}. Nothing was changed. See what is left with `concur-bridge journal verify`, then restore a backup or run \
             `concur-bridge journal repair`",
            self.what
        )
    }
}

/// Why the process must end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    /// Exit 3: what was acknowledged is damaged.
    #[error("{0}")]
    Damaged(Damage),
    /// Exit 4: a write, an fsync, a checkpoint or a read failed.
    #[error("the journal failed: {0}")]
    Failed(Arc<str>),
}

impl Fatal {
    /// How the process ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Damaged(_) => Exit::JournalDamaged,
            Self::Failed(_) => Exit::JournalFailed,
        }
    }
}

/// Called once, with the first cause, when the journal cannot go on. Every waiter has its answer by then.
pub type FatalHook = Box<dyn Fn(&Fatal) + Send + Sync>;

/// Why a step inside the journal did not succeed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// Bytes are not what was written.
    #[error("{what}")]
    Damaged {
        position: Option<Position>,
        what: String,
    },
    /// SQLite refused; corruption among its errors counts as damage.
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A file beside the database failed.
    #[error("{what}: {cause}")]
    File {
        what: &'static str,
        cause: io::Error,
    },
}

impl Broken {
    pub(super) fn damaged(position: impl Into<Option<Position>>, what: impl Into<String>) -> Self {
        Self::Damaged {
            position: position.into(),
            what: what.into(),
        }
    }

    /// The system has no thread to give.
    pub(super) fn no_thread(cause: io::Error) -> Self {
        Self::File {
            what: "starting a thread for the journal",
            cause,
        }
    }

    /// Whether what was written is not there any more, in contrast to a failure to read it.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } => true,
            Self::Sqlite(error) => says_corrupt(error),
            Self::File { .. } => false,
        }
    }

    /// The decision, for the database in `dir`.
    pub(super) fn into_fatal(self, dir: &Path) -> Fatal {
        let file = dir.join(super::open::DATABASE);
        match self {
            Self::Damaged { position, what } => Fatal::Damaged(Damage {
                file,
                position,
                what,
            }),
            Self::Sqlite(error) if says_corrupt(&error) => {
                Fatal::Damaged(Damage::of_file(file, error.to_string()))
            }
            Self::Sqlite(error) => {
                let code = match &error {
                    rusqlite::Error::SqliteFailure(cause, _) => cause.extended_code,
                    _ => 0,
                };
                Fatal::Failed(format!("{}: {error} (SQLite code {code})", file.display()).into())
            }
            Self::File { what, cause } => {
                Fatal::Failed(format!("{what} in {}: {cause}", dir.display()).into())
            }
        }
    }
}

/// Whether SQLite found bytes that it cannot have written. The journal's statements are fixed, so one that does not fit the
/// schema means that the schema is not what was written.
fn says_corrupt(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(cause, _) => matches!(
            cause.code,
            rusqlite::ErrorCode::DatabaseCorrupt
                | rusqlite::ErrorCode::NotADatabase
                | rusqlite::ErrorCode::Unknown
        ),
        rusqlite::Error::SqlInputError { .. }
        | rusqlite::Error::InvalidColumnIndex(_)
        | rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::Utf8Error(..)
        | rusqlite::Error::QueryReturnedNoRows => true,
        _ => false,
    }
}

/// The first cause of the journal's end, and the way to tell the process.
pub(super) struct Poison {
    cause: OnceLock<Fatal>,
    hook: FatalHook,
}

impl Poison {
    pub(super) fn new(hook: FatalHook) -> Self {
        Self {
            cause: OnceLock::new(),
            hook,
        }
    }

    /// Keeps the first cause. Returns it; later causes are dropped.
    pub(super) fn set(&self, cause: Fatal) -> &Fatal {
        self.cause.get_or_init(|| cause)
    }

    /// Why the journal ended, if it did.
    pub(super) fn cause(&self) -> Option<&Fatal> {
        self.cause.get()
    }

    /// Tells the process. To be called after the waiters were answered.
    pub(super) fn announce(&self) {
        if let Some(cause) = self.cause.get() {
            (self.hook)(cause);
        }
    }
}
