//! Being written on the publisher's branch: the producer of the stateless mode.

use crate::record::Record;

/// The producer of the stateless mode.
#[derive(Clone)]
pub struct Direct;

/// Why a record is not in Kafka.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DirectError {
    /// The process is stopping.
    Closing,
    /// Too many records wait.
    QueueFull,
    /// Kafka does not acknowledge.
    Unavailable(String),
}

impl Direct {
    /// Placeholder.
    pub fn spawn(_: &super::Settings, _: std::time::Duration) -> std::io::Result<Self> {
        Err(std::io::Error::other("not built yet"))
    }

    /// Placeholder.
    pub fn status(&self) -> &super::Status {
        unreachable!("cannot be made")
    }

    /// Placeholder.
    pub fn stop(&self, _: std::time::Duration) {}

    /// Placeholder.
    pub async fn ended(&self) {}

    /// Waits until all in-sync replicas have the record.
    pub async fn append(&self, record: Record) -> Result<(), DirectError> {
        let _ = record;
        Err(DirectError::Closing)
    }
}
