//! Opening: the directory, its lock, the files and the connections.
//!
//! Order: directory (0700) → may this user write its files → lock → [`recovery`](super::recovery) looks without writing →
//! checkpoint → identity and generation → writer thread. Until the look is done nothing in the directory is changed but `journal.lock`.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::checkpoint;
use super::fatal::{Broken, Damage, Fatal, FatalHook};
use crate::clock::Clock;
use crate::config;
use crate::exit::Exit;

/// The database.
pub(crate) const DATABASE: &str = "journal.db";
/// SQLite's rollback journal, which only the making of a journal has.
pub(super) const UNDO: &str = "journal.db-journal";
/// SQLite's write-ahead log.
pub(super) const LOG: &str = "journal.db-wal";
/// SQLite's index of the log, in shared memory; rebuilt from it at any time.
pub(super) const LOG_INDEX: &str = "journal.db-shm";
/// The last acknowledged position.
pub(super) const MARK: &str = "journal.mark";
/// Locked by the one process that may write.
pub(super) const LOCK: &str = "journal.lock";
/// Who had the journal open; see [`runs`](super::runs).
pub(super) const RUNS: &str = "journal.runs";

/// Bytes of a page. With 64 waiters and records of 900 bytes, 4, 8 and 16 KiB cost the same CPU per record; the smallest
/// rewrites least when a single record is committed.
const PAGE_BYTES: u32 = 4096;

/// How long a held lock is tried again: a look at it by `journal verify` is shorter.
const LOCK_PATIENCE: Duration = Duration::from_millis(200);

/// What a journal is opened with.
pub struct Options {
    /// `[journal]`.
    pub config: config::Journal,
    /// The configured instance; `None` leaves it to the journal.
    pub instance: Option<String>,
    /// `kafka.transactional_id_prefix`.
    pub transactional_prefix: String,
    /// Called when the journal cannot go on.
    pub fatal: FatalHook,
    /// Decides about ages and housekeeping.
    pub clock: Arc<dyn Clock>,
}

/// Why a journal cannot be opened. Each variant is a decision how the process ends.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Exit 2: the directory cannot be made, read or written.
    #[error("journal.dir {directory}: {cause}; make it a directory that this user owns", directory = directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// The cause.
        cause: io::Error,
    },
    /// Exit 2: a file of the journal cannot be read or written.
    #[error("{file}: {cause}{advice}", file = file.display(), advice = advice(cause))]
    File {
        /// The file.
        file: PathBuf,
        /// The cause.
        cause: io::Error,
    },
    /// Exit 2: the journal was made under another identity.
    #[error("{key} is configured as \"{configured}\", but the journal in {directory} belongs to \"{kept}\"; \
             configure that, or another journal.dir", directory = directory.display())]
    Identity {
        /// The configuration key.
        key: &'static str,
        /// Its value.
        configured: String,
        /// The journal's.
        kept: String,
        /// The directory.
        directory: PathBuf,
    },
    /// Exit 3: written by another version of the format.
    #[error("{file} has journal format {found}, this version reads format {known}; run the version that wrote it", file = file.display())]
    Version {
        /// The database.
        file: PathBuf,
        /// Its format.
        found: i64,
        /// The one of this version.
        known: i64,
    },
    /// Exit 5: another process has it.
    #[error("the journal in {directory} is held by another process{holder}; stop that one, or configure another journal.dir", directory = directory.display())]
    Locked {
        /// The directory.
        directory: PathBuf,
        /// Who holds it, as far as it is known.
        holder: String,
    },
    /// Exit 3 or 4: what was acknowledged is damaged, or reading or writing failed.
    #[error(transparent)]
    Fatal(#[from] Fatal),
}

fn advice(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::PermissionDenied => {
            "; the user that runs the bridge has to own journal.dir and every file in it"
        }
        _ => "",
    }
}

impl OpenError {
    /// How the process ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Directory { .. } | Self::File { .. } | Self::Identity { .. } => Exit::Usage,
            Self::Version { .. } => Exit::JournalDamaged,
            Self::Locked { .. } => Exit::Taken,
            Self::Fatal(fatal) => fatal.exit(),
        }
    }

    pub(super) fn directory(directory: &Path, cause: io::Error) -> Self {
        Self::Directory {
            directory: directory.to_owned(),
            cause,
        }
    }

    pub(super) fn file(file: PathBuf, cause: io::Error) -> Self {
        Self::File { file, cause }
    }

    /// A file of the journal is not what it was, in another way than one of its records.
    pub(super) fn damaged(file: PathBuf, what: impl Into<String>) -> Self {
        Fatal::Damaged(Damage::of_file(file, what)).into()
    }

    pub(super) fn of(broken: Broken, directory: &Path) -> Self {
        broken.into_fatal(directory).into()
    }
}

/// Makes the directory when it is not there, for this user only, durably; tightens one that is there if it may.
pub(super) fn directory(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path) {
        Ok(data) if data.is_dir() => {
            if data.permissions().mode() & 0o077 != 0
                && let Err(error) =
                    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
            {
                tracing::warn!(directory = %path.display(), %error, "others may look into the journal's directory");
            }
            Ok(())
        }
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::NotADirectory,
            "is not a directory",
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Each new directory is an entry of the one above it.
            let new: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
            DirBuilder::new().recursive(true).mode(0o700).create(path)?;
            for parent in new.iter().filter_map(|path| path.parent()) {
                sync_directory(parent)?;
            }
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Makes new entries of a directory durable.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    // The parent of a relative path of one part is the empty path.
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    File::open(path)?.sync_all()
}

/// Whether a process holds the journal. Touches the lock for a moment, which [`lock`] waits out.
pub(super) fn is_held(directory: &Path) -> bool {
    File::open(directory.join(LOCK))
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Takes the lock, for as long as the returned file lives.
pub(super) fn lock(directory: &Path) -> Result<File, OpenError> {
    let path = directory.join(LOCK);
    let unusable = |cause| OpenError::file(path.clone(), cause);
    let mut file = OpenOptions::new()
        .create(true)
        .read(true)
        .write(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(unusable)?;
    match try_lock_patiently(&file) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let read = Read::by_ref(&mut file).take(20).read_to_string(&mut pid);
            return Err(OpenError::Locked {
                directory: directory.to_owned(),
                holder: match read {
                    Ok(_) if !pid.trim().is_empty() => format!(" (process {})", pid.trim()),
                    _ => String::new(),
                },
            });
        }
        Err(TryLockError::Error(cause)) => return Err(unusable(cause)),
    }
    // For the message above only; a full disk must not keep the journal from opening.
    let noted = file
        .rewind()
        .and_then(|()| file.set_len(0))
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    if let Err(error) = noted {
        tracing::debug!(%error, "the lock does not say who holds it");
    }
    Ok(file)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a lock cannot be waited for with a deadline, and nothing runs yet that could end the wait"
)]
fn try_lock_patiently(file: &File) -> Result<(), TryLockError> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(LOCK_PATIENCE / 10);
            }
            outcome => return outcome,
        }
    }
}

/// Makes an empty database file for this user only. SQLite gives its other files the same permissions.
pub(super) fn create_database(directory: &Path) -> io::Result<()> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(directory.join(DATABASE))?;
    sync_directory(directory)
}

/// The files that are there, of all that a journal may have.
fn files(directory: &Path) -> Result<Vec<(PathBuf, Metadata)>, OpenError> {
    let mut found = Vec::new();
    for name in [DATABASE, LOG, LOG_INDEX, MARK, LOCK, RUNS] {
        let path = directory.join(name);
        match std::fs::metadata(&path) {
            Ok(data) => found.push((path, data)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => return Err(OpenError::file(path, cause)),
        }
    }
    Ok(found)
}

/// Whether this user may write the journal's directory and files: a backup may have come back with another owner. Opens
/// none: closing one again would drop the locks that a process has on it.
pub(crate) fn check_access(directory: &Path) -> Result<(), OpenError> {
    use rustix::fs::{Access, access};
    access(
        directory,
        Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK,
    )
    .map_err(|cause| OpenError::file(directory.to_owned(), cause.into()))?;
    for (path, _) in files(directory)? {
        access(&path, Access::READ_OK | Access::WRITE_OK)
            .map_err(|cause| OpenError::file(path, cause.into()))?;
    }
    Ok(())
}

/// Closes the journal's files to others, in case they came from a backup, if it may.
pub(super) fn tighten_files(directory: &Path) -> Result<(), OpenError> {
    for (path, data) in files(directory)? {
        if data.permissions().mode() & 0o077 != 0
            && let Err(error) =
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
        {
            tracing::warn!(file = %path.display(), %error, "others may look into this file of the journal");
        }
    }
    Ok(())
}

/// Takes back what a power loss left of the making of a journal: until it is in WAL mode, SQLite has a rollback journal, and
/// what only reads refuses to apply one. Does nothing at any other time.
pub(super) fn undo_cut_making(directory: &Path) -> Result<(), Broken> {
    if !directory.join(UNDO).exists() {
        return Ok(());
    }
    let connection = Connection::open_with_flags(
        directory.join(DATABASE),
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    never_checkpoint_unasked(&connection)?;
    // The first look at the file applies it.
    connection.pragma_query_value(None, "user_version", |_| Ok(()))?;
    Ok(())
}

/// The one connection that writes.
pub(super) fn writer_connection(directory: &Path) -> Result<Connection, Broken> {
    let connection = Connection::open_with_flags(
        directory.join(DATABASE),
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    never_checkpoint_unasked(&connection)?;
    connection.busy_timeout(checkpoint::LOCK_PATIENCE)?;
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(Broken::damaged(
            None,
            format!("its journal mode is {mode} and cannot be changed to wal"),
        ));
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // A batch is bounded, so it fits in memory; nothing of it reaches the log before its commit.
    connection.pragma_update(None, "cache_spill", false)?;
    // After a long reader the log may be large; SQLite cuts it to this when it starts over.
    connection.pragma_update(None, "journal_size_limit", 64_i64 << 20)?;
    Ok(connection)
}

/// A connection that only reads. It waits for nothing but the moment in which a checkpoint resets the log.
pub(super) fn reader_connection(directory: &Path) -> Result<Connection, Broken> {
    let connection = Connection::open_with_flags(
        directory.join(DATABASE),
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    never_checkpoint_unasked(&connection)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}

fn never_checkpoint_unasked(connection: &Connection) -> Result<(), Broken> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    // A damaged schema must not run anything.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    Ok(())
}
