//! The start of a journal: what [`recovery`](super::recovery) found becomes a running writer.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, RwLock};

use rusqlite::Connection;
use tokio::sync::watch;
use uuid::Uuid;

use super::answer::Messenger;
use super::batch::{self, Rules, Tail};
use super::checkpoint::{self, Depth, Reached};
use super::fatal::{Broken, Poison};
use super::limits::{self, Limits, Room};
use super::mark::{Mark, MarkFile};
use super::open::{self, OpenError, Options};
use super::queue::Queue;
use super::recovery::{self, Look, Recovered};
use super::retention::Retention;
use super::schema::{self, Epoch, Meta};
use super::shared::Shared;
use super::status::{Progress, ProgressCell};
use super::writer::{self, Kept, Start};
use crate::failpoint;
use crate::record::Position;

/// Opens or makes the journal and starts its writer.
pub(super) fn start(options: Options) -> Result<(Arc<Shared>, watch::Receiver<bool>), OpenError> {
    let directory = options.config.dir.clone();
    open::directory(&directory).map_err(|cause| OpenError::directory(&directory, cause))?;
    open::check_access(&directory)?;
    let lock = open::lock(&directory)?;
    open::tighten_files(&directory)?;
    let (connection, recovered) = match recovery::look(&directory)? {
        Look::Nothing => make(&directory, &options)?,
        Look::Journal(recovered) => {
            if let Some(doubt) = &recovered.doubt {
                tracing::warn!("{doubt}");
            }
            check_identity(&recovered.meta, &options)?;
            let connection = open::writer_connection(&directory)
                .map_err(|broken| OpenError::of(broken, &directory))?;
            (connection, *recovered)
        }
    };
    run(connection, lock, recovered, options).map_err(|broken| OpenError::of(broken, &directory))
}

/// Makes a new journal, durable with its directory entry.
fn make(directory: &Path, options: &Options) -> Result<(Connection, Recovered), OpenError> {
    open::create_database(directory).map_err(|cause| OpenError::directory(directory, cause))?;
    let instance = options.instance.clone().unwrap_or_else(host_name);
    let meta = Meta::new(instance, options.transactional_prefix.clone(), Position(1));
    let epoch = Epoch {
        first_position: Position(1),
        uuid: Uuid::now_v7(),
    };
    let create = || {
        let connection = open::writer_connection(directory)?;
        schema::create(&connection, &meta, epoch)?;
        Ok(connection)
    };
    let connection = create().map_err(|broken| OpenError::of(broken, directory))?;
    let recovered = Recovered {
        meta,
        epochs: vec![epoch],
        last: Position(0),
        last_end_bytes: 0,
        oldest_unpublished_ms: None,
        checked_whole: true,
        doubt: None,
    };
    Ok((connection, recovered))
}

/// From here on the directory is written to.
fn run(
    connection: Connection,
    lock: File,
    recovered: Recovered,
    options: Options,
) -> Result<(Arc<Shared>, watch::Receiver<bool>), Broken> {
    let config = &options.config;
    let clock = options.clock;
    let limits = Limits::new(config, clock.clone());
    secure_log(&connection, &config.dir)?;
    limits.measure(&connection)?;
    let saved = recovered.meta;
    let mut meta = saved.clone();
    meta.generation += 1;
    let saved = if limits.room(0) == Room::None {
        saved
    } else {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        meta.save(&connection)?;
        failpoint!("journal.start.before_commit");
        connection.execute_batch("COMMIT")?;
        meta.clone()
    };
    let tail = Tail {
        position: recovered.last,
        end_bytes: recovered.last_end_bytes,
    };
    let mark = Mark {
        journal: recovered
            .epochs
            .last()
            .map_or(Uuid::nil(), |epoch| epoch.uuid),
        position: tail.position,
    };
    failpoint!("journal.start.before_mark");
    let mark = MarkFile::create(&config.dir.join(open::MARK), mark)
        .and_then(|file| open::sync_directory(&config.dir).map(|()| file))
        .map_err(|cause| Broken::File {
            what: "writing journal.mark",
            cause,
        })?;
    let shared = Arc::new(Shared {
        directory: config.dir.clone(),
        instance: meta.instance.clone(),
        generation: meta.generation,
        queue: Queue::new(clock.clone()),
        limits,
        progress: ProgressCell::new(
            Progress {
                durable: tail.position,
                durable_end_bytes: tail.end_bytes,
                first: meta.first_position,
                published: meta.published,
                published_end_bytes: meta.published_end_bytes,
                published_hint: meta.published_hint,
                oldest_unpublished_ms: recovered.oldest_unpublished_ms,
                quarantine_bytes: meta.quarantine_bytes,
            },
            clock.clone(),
        ),
        clock,
        cluster_id: RwLock::new(meta.cluster_id.clone()),
        epochs: RwLock::new(recovered.epochs.into()),
        poison: Poison::new(options.fatal),
        #[cfg(test)]
        sabotage: std::sync::atomic::AtomicBool::new(false),
    });
    let start = Start {
        connection,
        lock,
        kept: Kept {
            mark,
            saved,
            retention: Retention::new(config, meta.first_position),
            meta,
            tail,
            rules: Rules {
                quarantine_max_bytes: config.quarantine_max_size_bytes,
                dedup_for_ms: batch::whole_ms(config.dedup_for),
            },
            log_bytes_wanted: checkpoint::log_bytes_wanted(config.max_size_bytes),
            messenger: Messenger::of_this_thread(),
        },
        unverified: (!recovered.checked_whole).then_some(tail.position),
    };
    let (ended, wait_ended) = watch::channel(false);
    let of_writer = shared.clone();
    std::thread::Builder::new()
        .name("journal-writer".into())
        .spawn(move || writer::run(start, &of_writer, &ended))
        .map_err(Broken::no_thread)?;
    Ok((shared, wait_ended))
}

/// Brings what the log holds onto the disk: after a kill its newest frames may be in the page cache only, and must not be
/// published before they are safe. Where the database cannot take them, for want of space or because somebody reads an
/// older state, the log itself is fsynced.
fn secure_log(connection: &Connection, directory: &Path) -> Result<(), Broken> {
    let log = limits::log_bytes(directory);
    if limits::disk_free_bytes(directory)? > log.saturating_add(1 << 20)
        && checkpoint::run(connection, Depth::Truncate)? == Reached::All
    {
        return Ok(());
    }
    match File::open(directory.join(open::LOG)) {
        Ok(file) => file.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
    .map_err(|cause| Broken::File {
        what: "bringing the log onto the disk",
        cause,
    })
}

fn check_identity(meta: &Meta, options: &Options) -> Result<(), OpenError> {
    let differs = |key, configured: &str, kept: &str| OpenError::Identity {
        key,
        configured: configured.to_owned(),
        kept: kept.to_owned(),
        directory: options.config.dir.clone(),
    };
    if let Some(instance) = &options.instance
        && *instance != meta.instance
    {
        return Err(differs("instance", instance, &meta.instance));
    }
    if options.transactional_prefix != meta.transactional_prefix {
        return Err(differs(
            "kafka.transactional_id_prefix",
            &options.transactional_prefix,
            &meta.transactional_prefix,
        ));
    }
    Ok(())
}

/// The name of this machine, as `uname -n` has it.
pub fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}
