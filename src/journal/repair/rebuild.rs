//! The new database of a repair, and its way into the place of the old one.

use std::fs;
use std::io;
use std::path::Path;

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{Connection, Statement};
use uuid::Uuid;

use super::{DAMAGED, Remains};
use crate::event::EventType;
use crate::journal::checkpoint::{self, Depth};
use crate::journal::fatal::Broken;
use crate::journal::mark::{Mark, MarkFile};
use crate::journal::schema::{self, Epoch, Meta};
use crate::journal::stored::{self, Stored};
use crate::journal::{deliveries, open, quarantine, record_codec};
use crate::record::{Position, QuarantineFacts, Record};

/// The directory in which the new database is built.
const WORKSHOP: &str = "repair.tmp";
/// Rows per transaction.
const STEP: u64 = 1_000;

/// A row of `records` that is whole.
pub(super) struct WholeRow {
    end_bytes: u64,
    payload: Vec<u8>,
}

/// The row at `position`, if it can be read, has its checksum and decodes.
pub(super) fn whole_row(connection: &Connection, position: Position) -> Option<WholeRow> {
    let read = stored::at(connection, position, |stored| {
        stored.checked_crc()?;
        Ok(WholeRow {
            end_bytes: stored.end_bytes,
            payload: stored.payload.to_owned(),
        })
    });
    let row = read.ok().flatten()?;
    record_codec::decode(&Bytes::copy_from_slice(&row.payload)).ok()?;
    Some(row)
}

/// Builds the new database. Returns the mark that belongs to it.
pub(super) fn rebuild(
    directory: &Path,
    remains: &Remains,
    instance: &str,
    transactional_prefix: &str,
) -> Result<Mark, Broken> {
    let workshop = directory.join(WORKSHOP);
    make_workshop(&workshop).map_err(|cause| Broken::File {
        what: "making room for the new journal",
        cause,
    })?;
    let connection = open::writer_connection(&workshop)?;
    let plan = &remains.plan;
    let epochs = epochs_after(remains);
    let newest = epochs.last().map_or(Uuid::nil(), |epoch| epoch.uuid);
    let mut meta = remains.meta.clone().unwrap_or_else(|| {
        Meta::new(
            instance.to_owned(),
            transactional_prefix.to_owned(),
            plan.first,
        )
    });
    meta.first_position = if plan.last < plan.first {
        Position(1)
    } else {
        plan.first
    };
    // What is lost before the first kept record cannot be published any more.
    meta.published = meta.published.clamp(
        Position(plan.first.0 - 1),
        plan.last.max(Position(plan.first.0 - 1)),
    );
    schema::create(&connection, &meta, epochs[0])?;
    let mut copy = Copy {
        old: &remains.connection,
        new: &connection,
        insert: stored::prepare_insert(&connection)?,
        recount: false,
        end_bytes: 0,
        published_end_bytes: 0,
        quarantine_bytes: 0,
    };
    in_transaction(&connection, || {
        epochs
            .iter()
            .skip(1)
            .try_for_each(|epoch| epoch.save(&connection))
    })?;
    let mut next = plan.first;
    while next <= plan.last {
        let until = plan.last.min(Position(next.0 + STEP - 1));
        in_transaction(&connection, || {
            (next.0..=until.0)
                .map(Position)
                .try_for_each(|position| copy.record(position, meta.published))
        })?;
        next = Position(until.0 + 1);
    }
    in_transaction(&connection, || {
        copy.other_bodies(plan.first, plan.last)?;
        copy_deliveries(&remains.connection, &connection)
    })?;
    meta.published_end_bytes = copy.published_end_bytes;
    meta.quarantine_bytes = copy.quarantine_bytes;
    in_transaction(&connection, || meta.save(&connection))?;
    checkpoint::run(&connection, Depth::Truncate)?;
    Ok(Mark {
        journal: newest,
        position: if plan.last < plan.first {
            Position(0)
        } else {
            plan.last
        },
    })
}

/// Moves the old files aside and the new ones in. The old mark stays until the end: without its database, or with one that
/// it does not fit, the journal refuses to open, so nobody starts with an empty one in between.
pub(super) fn swap(directory: &Path, aside: &Path, mark: Mark) -> Result<(), Broken> {
    let moves = || -> io::Result<()> {
        open::directory(aside)?;
        if directory.join(open::MARK).exists() {
            fs::copy(directory.join(open::MARK), aside.join(open::MARK))?;
        }
        for name in [open::LOG_INDEX, open::LOG, open::DATABASE] {
            match fs::rename(directory.join(name), aside.join(name)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        open::sync_directory(aside)?;
        let workshop = directory.join(WORKSHOP);
        fs::rename(
            workshop.join(open::DATABASE),
            directory.join(open::DATABASE),
        )?;
        fs::remove_dir_all(workshop)?;
        MarkFile::create(&directory.join(open::MARK), mark)?;
        open::sync_directory(directory)
    };
    moves().map_err(|cause| Broken::File {
        what: "moving the repaired journal into place",
        cause,
    })
}

fn make_workshop(workshop: &Path) -> io::Result<()> {
    match fs::remove_dir_all(workshop) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => other?,
    }
    open::directory(workshop)?;
    open::create_database(workshop)
}

/// The UUIDs of the new journal: a new one begins where acknowledged records are missing.
fn epochs_after(remains: &Remains) -> Vec<Epoch> {
    let mut epochs = remains.epochs.clone().unwrap_or_default();
    if epochs.is_empty() {
        epochs.push(Epoch {
            first_position: Position(1),
            uuid: Uuid::now_v7(),
        });
    }
    let plan = &remains.plan;
    let next = Position(plan.last.0 + 1);
    if plan.lost_at_end > 0 {
        epochs.retain(|epoch| epoch.first_position < next || epoch.first_position == Position(1));
        let fresh = Epoch {
            first_position: next,
            uuid: Uuid::now_v7(),
        };
        if next == Position(1) {
            epochs.clear();
        }
        epochs.push(fresh);
    }
    epochs
}

/// Copies rows and keeps the running counts.
struct Copy<'a> {
    old: &'a Connection,
    new: &'a Connection,
    insert: Statement<'a>,
    /// Once a stub changed the byte count, later rows are counted and summed anew.
    recount: bool,
    end_bytes: u64,
    published_end_bytes: u64,
    quarantine_bytes: u64,
}

impl Copy<'_> {
    fn record(&mut self, position: Position, published: Position) -> Result<(), Broken> {
        let row = whole_row(self.old, position).unwrap_or_else(|| {
            self.recount = true;
            tracing::warn!(%position, "this record is lost; a stub takes its place");
            WholeRow {
                end_bytes: 0,
                payload: record_codec::encode(&stub()),
            }
        });
        let bytes = row.payload.len() as u64;
        self.end_bytes = if self.recount {
            self.end_bytes + bytes
        } else {
            row.end_bytes
        };
        if position <= published {
            self.published_end_bytes = self.end_bytes;
        } else if self.published_end_bytes == 0 {
            // The first that waits: what was before it is what Kafka has.
            self.published_end_bytes = self.end_bytes - bytes;
        }
        let crc = record_codec::crc_of_bytes(&row.payload);
        Stored::new(position, self.end_bytes, &row.payload, crc).insert(&mut self.insert)?;
        let record = record_codec::decode(&Bytes::from(row.payload))
            .map_err(|error| Broken::damaged(position, error.to_string()))?;
        if record.kind == EventType::Quarantined {
            self.quarantine_bytes += quarantine::copy(self.old, self.new, position, Some(&record))?;
        }
        Ok(())
    }

    /// Bodies whose record is gone, or that lie under the position of a record which Kafka refused.
    fn other_bodies(&mut self, first: Position, last: Position) -> Result<(), Broken> {
        for position in quarantine::positions(self.old) {
            let copied =
                position >= first && position <= last && quarantine::exists(self.new, position)?;
            if !copied && position <= last {
                self.quarantine_bytes += quarantine::copy(self.old, self.new, position, None)?;
            }
        }
        Ok(())
    }
}

fn copy_deliveries(old: &Connection, new: &Connection) -> Result<(), Broken> {
    deliveries::whole_rows(old)
        .iter()
        .try_for_each(|row| deliveries::insert(new, row))
}

/// Stands for a record that is lost.
fn stub() -> Record {
    Record {
        id: Uuid::now_v7().to_string(),
        kind: EventType::Quarantined,
        key: None,
        received_at: Timestamp::from_millisecond(Timestamp::now().as_millisecond())
            .unwrap_or_default(),
        traceparent: None,
        correlation_id: None,
        ess_topic: None,
        quarantine: Some(QuarantineFacts {
            reason: DAMAGED.into(),
            detail: "this record was damaged on disk and is lost".into(),
            size: 0,
        }),
        content: Bytes::new(),
    }
}

fn in_transaction(
    connection: &Connection,
    work: impl FnOnce() -> Result<(), Broken>,
) -> Result<(), Broken> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    work()?;
    connection.execute_batch("COMMIT")?;
    Ok(())
}
