//! Repair, asked for by the operator: makes a journal that opens again out of one that does not.
//!
//! **What it does.** Looks at everything ([`plan`], which is also the dry run), builds a new database beside the old one
//! from all rows that are whole, moves the old files into a directory of their own and the new one into their place.
//!
//! **What becomes of what is lost.** Damaged records that Kafka has: the history up to the last of them is dropped. Damaged
//! records that Kafka does not have: each leaves a stub at its position, a quarantined request with the reason
//! [`DAMAGED`] and no body, so that positions stay without holes and consumers see the loss. Acknowledged records missing
//! at the end: their positions are never used again, new records are numbered under a new UUID.
//!
//! **When it fails.** It needs room for a second copy of the journal and says so before it writes. Ended at any moment, it
//! leaves the old journal, the new one, or a state that refuses to open, with all files there; running it again goes on.
//!
//! **Left to others.** Sending records again is `journal replay`.

mod rebuild;

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::Connection;

use super::fatal::{Broken, Damage, Fatal};
use super::mark::{self, Found};
use super::open::{self, OpenError};
use super::schema::{Epoch, Meta};
use super::verify::{self, Verified};
use super::{limits, recovery};
use crate::exit::Exit;
use crate::record::Position;

/// The reason of the stubs that stand for lost records.
pub const DAMAGED: &str = "damaged";

/// Room beside the copy itself.
const SPARE_BYTES: u64 = 16 << 20;

/// What repair would do, or did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What is wrong.
    pub verified: Verified,
    /// The oldest record afterwards.
    pub first: Position,
    /// The newest record afterwards.
    pub last: Position,
    /// Records dropped at the beginning: up to the last damaged one that Kafka has.
    pub dropped: u64,
    /// Positions of damaged records that Kafka may not have: a stub takes the place of each.
    pub stubs: Vec<Position>,
    /// Acknowledged records that are missing at the end; Kafka may have them.
    pub lost_at_end: u64,
    /// Whether the mark of what Kafka has is lost, so that everything kept is published again.
    pub publishes_again: bool,
    /// Where the old files are moved to.
    pub aside: PathBuf,
}

impl Plan {
    /// Whether there is nothing to repair.
    pub fn is_needless(&self) -> bool {
        self.verified.damages == 0
    }
}

/// Why a journal was not repaired. Nothing was changed, except with `Failed`.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// It is held, unreadable, or of another version: with the exit code of that.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Exit 1: the copy does not fit.
    #[error(
        "repair builds a new journal beside the old one: it needs {needed_bytes} free bytes and finds {free_bytes}"
    )]
    Room {
        /// Bytes needed.
        needed_bytes: u64,
        /// Bytes free.
        free_bytes: u64,
    },
    /// Exit 3: nothing can be read from it.
    #[error("{0}; nothing can be saved from this file: restore a backup")]
    Hopeless(Damage),
    /// Exit 4: reading or writing failed; the old files are there.
    #[error("{0}")]
    Failed(Fatal),
}

impl RepairError {
    /// How the process ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Open(error) => error.exit(),
            Self::Room { .. } => Exit::Failure,
            Self::Hopeless(_) => Exit::JournalDamaged,
            Self::Failed(fatal) => fatal.exit(),
        }
    }

    fn of(broken: Broken, directory: &Path) -> Self {
        match broken.into_fatal(directory) {
            Fatal::Damaged(damage) => Self::Hopeless(damage),
            failed @ Fatal::Failed(_) => Self::Failed(failed),
        }
    }
}

/// What can be read of a damaged journal.
struct Remains {
    connection: Connection,
    meta: Option<Meta>,
    epochs: Option<Vec<Epoch>>,
    plan: Plan,
}

/// The dry run: what [`repair`] would do. Takes the lock, so no process may serve; changes nothing.
///
/// # Errors
/// Why it would not repair.
pub fn plan(directory: &Path) -> Result<Plan, RepairError> {
    let _lock = open::lock(directory)?;
    look(directory).map(|remains| remains.plan)
}

/// Repairs the journal in `directory`. `instance` and `transactional_prefix` are used when the journal's own are lost.
///
/// # Errors
/// Why it did not.
pub fn repair(
    directory: &Path,
    instance: &str,
    transactional_prefix: &str,
) -> Result<Plan, RepairError> {
    let _lock = open::lock(directory)?;
    let remains = look(directory)?;
    if remains.plan.is_needless() {
        return Ok(remains.plan);
    }
    let needed_bytes = std::fs::metadata(directory.join(open::DATABASE))
        .map_or(0, |data| data.len())
        + 2 * limits::log_bytes(directory)
        + SPARE_BYTES;
    let free_bytes =
        limits::disk_free_bytes(directory).map_err(|broken| RepairError::of(broken, directory))?;
    if free_bytes < needed_bytes {
        return Err(RepairError::Room {
            needed_bytes,
            free_bytes,
        });
    }
    rebuild::rebuild(directory, &remains, instance, transactional_prefix)
        .and_then(|mark| {
            let aside = remains.plan.aside.clone();
            drop(remains.connection);
            rebuild::swap(directory, &aside, mark)
        })
        .map_err(|broken| RepairError::of(broken, directory))?;
    Ok(remains.plan)
}

fn look(directory: &Path) -> Result<Remains, RepairError> {
    let database = directory.join(open::DATABASE);
    match std::fs::metadata(&database) {
        Ok(data) if data.len() > 0 => {}
        Ok(_) => return Err(hopeless(database, "the database is empty")),
        Err(error) => return Err(hopeless(database, &error.to_string())),
    }
    let connection =
        open::reader_connection(directory).map_err(|broken| RepairError::of(broken, directory))?;
    match recovery::check_format(&connection, directory) {
        Ok(recovery::Format::Known) => {}
        Ok(recovery::Format::Empty) => return Err(hopeless(database, "there is no journal in it")),
        Err(OpenError::Fatal(Fatal::Damaged(damage))) => return Err(RepairError::Hopeless(damage)),
        Err(other) => return Err(RepairError::Open(other)),
    }
    let mark = mark::read(&directory.join(open::MARK)).unwrap_or(Found::Unreadable);
    let mut whole = Wholes::default();
    let verified = verify::everything(&connection, directory, mark, true, |_, _| {})
        .map_err(|broken| RepairError::of(broken, directory))?;
    let meta = Meta::load(&connection).ok();
    let epochs = Epoch::load_all(&connection).ok();
    let marked = match mark {
        Found::Mark(mark) => mark.position,
        Found::Missing | Found::Unreadable => Position(0),
    };
    let found = recovery::last_position(&connection).unwrap_or(marked);
    let first = match &meta {
        Some(meta) => meta.first_position,
        None => recovery::ends(&connection).map_or(Position(1), |(first, _)| first),
    };
    whole.find(&connection, first, found);
    let published = meta.as_ref().map_or(Position(0), |meta| meta.published);
    let end = marked.max(found);
    let kept = whole.kept(first, end, published);
    let plan = Plan {
        first: kept.first,
        last: kept.last,
        dropped: kept.first.0 - first.0,
        stubs: kept.stubs,
        lost_at_end: kept.lost_at_end,
        publishes_again: meta.is_none(),
        aside: directory.join(format!(
            "before-repair-{}",
            Timestamp::now().strftime("%Y%m%dT%H%M%SZ")
        )),
        verified,
    };
    Ok(Remains {
        connection,
        meta,
        epochs,
        plan,
    })
}

/// Which positions hold a whole record.
#[derive(Default)]
struct Wholes {
    /// In order.
    damaged: Vec<Position>,
    last: Option<Position>,
}

impl Wholes {
    /// Looks at each position by itself when a thousand together are not whole.
    fn find(&mut self, connection: &Connection, first: Position, last: Position) {
        let mut next = first;
        while next <= last {
            let until = last.min(Position(next.0 + verify::BITE - 1));
            let before = Position(next.0 - 1);
            if recovery::check_records(connection, before, until).is_ok() {
                self.last = Some(until);
            } else {
                for position in (next.0..=until.0).map(Position) {
                    if rebuild::whole_row(connection, position).is_some() {
                        self.last = Some(position);
                    } else {
                        self.damaged.push(position);
                    }
                }
            }
            next = Position(until.0 + 1);
        }
    }
}

/// The positions of the new journal.
struct Kept {
    first: Position,
    last: Position,
    stubs: Vec<Position>,
    lost_at_end: u64,
}

impl Wholes {
    /// Decides what is kept of positions `first` to `end`, of which Kafka has those up to `published`.
    fn kept(&self, first: Position, end: Position, published: Position) -> Kept {
        let Some(last) = self.last else {
            // Nothing is whole. One stub carries the last position on, so that none is used again.
            return Kept {
                first: end.max(first),
                last: end,
                stubs: if end >= first { vec![end] } else { Vec::new() },
                lost_at_end: end.0.saturating_sub(published.0.max(first.0 - 1)),
            };
        };
        let within = |position: &&Position| **position < last;
        let first = self
            .damaged
            .iter()
            .rev()
            .filter(within)
            .find(|position| **position <= published)
            .map_or(first, |position| Position(position.0 + 1));
        Kept {
            first,
            last,
            stubs: self
                .damaged
                .iter()
                .filter(within)
                .filter(|position| **position >= first)
                .copied()
                .collect(),
            lost_at_end: end.0.saturating_sub(last.0),
        }
    }
}

fn hopeless(file: PathBuf, what: &str) -> RepairError {
    RepairError::Hopeless(Damage::of_file(file, what))
}
