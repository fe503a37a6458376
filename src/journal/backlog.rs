//! The publisher's side of the journal: reading behind the durable position, and the marks that Kafka's answers move.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::fatal::{Broken, Fatal};
use super::queue::{Job, Quarantined, Reply};
use super::reader::{self, Range};
use super::shared::Shared;
use super::{AppendError, open, runs};
use crate::publish::Backlog;
use crate::publish::backlog::{BacklogError, Lineage};
use crate::record::{Placed, Position, QuarantineFacts};

/// How often a mark that found no room on the disk is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// The journal as the publisher's thread sees it. Belongs on a thread of its own: its methods block.
pub struct PublisherBacklog {
    shared: Arc<Shared>,
    lineage: Lineage,
    /// Taken out, not closed, when the journal has failed.
    connection: Option<Connection>,
}

impl PublisherBacklog {
    pub(super) fn open(shared: Arc<Shared>) -> Result<Self, BacklogError> {
        let connection = open::reader_connection(&shared.directory)
            .map_err(|broken| backlog_error(broken, &shared.directory))?;
        let lineage = runs::begin(&shared.directory);
        Ok(Self {
            shared,
            lineage,
            connection: Some(connection),
        })
    }

    fn with<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, Broken>,
    ) -> Result<T, BacklogError> {
        if let Some(cause) = self.shared.poison.cause() {
            return Err(BacklogError::Failed(cause.to_string()));
        }
        let connection = self
            .connection
            .as_ref()
            .ok_or_else(|| BacklogError::Failed("its connection is gone".into()))?;
        read(connection).map_err(|broken| backlog_error(broken, &self.shared.directory))
    }

    /// Has the writer do something, durably, waiting for room on the disk as long as the journal is open.
    fn command<T>(&self, job: impl Fn(Reply<T>) -> Job) -> Result<T, BacklogError> {
        loop {
            let (reply, answer) = oneshot::channel();
            let outcome = self
                .shared
                .queue
                .push(job(reply), |_| Ok(()))
                .and_then(|()| answer.blocking_recv().unwrap_or(Err(AppendError::Closing)));
            match outcome {
                Ok(done) => return Ok(done),
                Err(AppendError::Full(_) | AppendError::QueueFull)
                    if self.shared.queue.stays_open(RETRY) => {}
                Err(error) => return Err(BacklogError::Failed(error.to_string())),
            }
        }
    }
}

impl Backlog for PublisherBacklog {
    fn journal(&self) -> Uuid {
        self.shared.uuid()
    }

    fn generation(&self) -> u64 {
        self.shared.generation
    }

    fn lineage(&self) -> Lineage {
        self.lineage.clone()
    }

    fn published(&self) -> (Position, Option<i64>) {
        let progress = self.shared.progress.get();
        (progress.published, progress.published_hint)
    }

    fn wait_beyond(&self, position: Position, timeout: Duration) -> Position {
        self.shared.progress.wait_beyond(position, timeout)
    }

    fn read(
        &mut self,
        after: Position,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Placed>, BacklogError> {
        let until = self.shared.progress.get().durable;
        if after >= until {
            return Ok(Vec::new());
        }
        let range = Range {
            after,
            until,
            max_records,
            max_bytes,
        };
        let epochs = self.shared.epochs();
        self.with(|connection| reader::read(connection, &epochs, range))
    }

    fn mark_published(&mut self, position: Position, offset_hint: Option<i64>) {
        // Without its byte count the mark stays where it is, which costs no more than retention and metrics that lag; what
        // failed shows again, as an error, at the next read.
        let end_bytes = self
            .with(|connection| reader::end_bytes_at(connection, position))
            .ok()
            .flatten();
        let Some(end_bytes) = end_bytes else {
            let progress = self.shared.progress.get();
            if position == progress.published {
                let end = progress.published_end_bytes;
                self.shared.progress.published(position, end, offset_hint);
            }
            return;
        };
        self.shared
            .progress
            .published(position, end_bytes, offset_hint);
        let next = Position(position.0 + 1);
        if self.shared.progress.get().durable >= next
            && let Ok(Some(received_ms)) =
                self.with(|connection| reader::received_ms_at(connection, next))
        {
            self.shared
                .progress
                .oldest_unpublished(position, received_ms);
        }
    }

    fn crc_at(&mut self, position: Position) -> Result<Option<u32>, BacklogError> {
        self.with(|connection| reader::crc_at(connection, position))
    }

    fn renew_uuid(&mut self, after: Position) -> Result<Uuid, BacklogError> {
        self.command(|reply| Job::RenewUuid { after, reply })
    }

    fn quarantine_oversized(&mut self, placed: &Placed) -> Result<(), BacklogError> {
        let mut record = placed.record.clone();
        let size = record.content.len() as u64;
        record.quarantine.get_or_insert_with(|| QuarantineFacts {
            reason: QuarantineFacts::TOO_LARGE.into(),
            detail: "Kafka refuses a record of this size".into(),
            size,
        });
        let body = Quarantined::new(&record, QuarantineFacts::TOO_LARGE);
        self.command(|reply| Job::KeepOversized {
            position: placed.position,
            body: body.clone(),
            reply,
        })
    }

    fn cluster_id(&self) -> Option<String> {
        self.shared.cluster_id()
    }

    fn bind_cluster(&mut self, cluster_id: &str) -> Result<(), BacklogError> {
        self.command(|reply| Job::BindCluster {
            cluster_id: cluster_id.to_owned(),
            reply,
        })
    }
}

impl Drop for PublisherBacklog {
    fn drop(&mut self) {
        if self.shared.poison.cause().is_some() {
            std::mem::forget(self.connection.take());
        }
    }
}

fn backlog_error(broken: Broken, directory: &Path) -> BacklogError {
    match broken.into_fatal(directory) {
        Fatal::Damaged(damage) => BacklogError::Damaged {
            position: damage.position.unwrap_or_default(),
            what: format!(
                "{} (in {}). See what is left with `concur-bridge journal verify`, then restore a backup or run \
                 `concur-bridge journal repair`",
                damage.what,
                damage.file.display()
            ),
        },
        Fatal::Failed(cause) => BacklogError::Failed(cause.to_string()),
    }
}
