//! `journal.mark`: the last position that was acknowledged, beside the database and independent of it.
//!
//! Overwritten in place after each commit's fsync and before its answers. It is never fsynced after its creation, so a
//! power loss may leave an older one; it can never be ahead of what is durable. At start it tells a tail that nobody was
//! answered for (cut it) from one that was acknowledged and is gone (stop).

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use uuid::Uuid;

use crate::record::Position;

const MAGIC: [u8; 8] = *b"CBMARK01";
/// Magic, uuid, position, CRC32C of all before it. Less than a sector, so a disk writes it whole.
const LENGTH: usize = 36;

/// What `journal.mark` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// The journal's UUID for new records at that time.
    pub(super) journal: Uuid,
    /// The last acknowledged position.
    pub(super) position: Position,
}

/// The outcome of reading `journal.mark`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// No such file: a new journal, or somebody removed it.
    Missing,
    /// Not a whole mark: the machine lost power before its first one reached the disk, or it is damaged.
    Unreadable,
    /// A whole mark.
    Mark(Mark),
}

/// The open file, for overwriting.
#[derive(Debug)]
pub(super) struct MarkFile(File);

impl MarkFile {
    /// Opens or creates the file, writes `mark` and fsyncs it once, so that later overwrites need no new block.
    pub(super) fn create(path: &Path, mark: Mark) -> io::Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        let this = Self(file);
        this.write(mark)?;
        this.0.set_len(LENGTH as u64)?;
        this.0.sync_all()?;
        Ok(this)
    }

    /// Makes the mark unreadable, while a UUID that it may name is being replaced: a crash must leave none rather than one
    /// that belongs to no journal.
    pub(super) fn blank(&self) -> io::Result<()> {
        self.0.write_all_at(&[0; LENGTH], 0)
    }

    /// Overwrites the mark.
    pub(super) fn write(&self, mark: Mark) -> io::Result<()> {
        self.0.write_all_at(&encode(mark), 0)
    }
}

/// Reads the mark at `path`.
pub(super) fn read(path: &Path) -> io::Result<Found> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Missing),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::with_capacity(LENGTH);
    file.by_ref()
        .take(LENGTH as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(decode(&bytes).map_or(Found::Unreadable, Found::Mark))
}

fn encode(mark: Mark) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..24].copy_from_slice(mark.journal.as_bytes());
    bytes[24..32].copy_from_slice(&mark.position.0.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..32]);
    bytes[32..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Mark> {
    let bytes: &[u8; LENGTH] = bytes.try_into().ok()?;
    let crc = u32::from_le_bytes(bytes[32..].try_into().ok()?);
    if bytes[..8] != MAGIC || crc32c::crc32c(&bytes[..32]) != crc {
        return None;
    }
    Some(Mark {
        journal: Uuid::from_slice(&bytes[8..24]).ok()?,
        position: Position(u64::from_le_bytes(bytes[24..32].try_into().ok()?)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_mark_written_is_the_one_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.mark");
        assert_eq!(read(&path).unwrap(), Found::Missing);
        let mut mark = Mark {
            journal: Uuid::from_u128(7),
            position: Position(1),
        };
        let file = MarkFile::create(&path, mark).unwrap();
        mark.position = Position(u64::MAX);
        file.write(mark).unwrap();
        assert_eq!(read(&path).unwrap(), Found::Mark(mark));
    }

    #[test]
    fn no_changed_byte_and_no_other_length_is_taken_for_a_mark() {
        let mark = Mark {
            journal: Uuid::from_u128(7),
            position: Position(12),
        };
        let bytes = encode(mark);
        assert_eq!(decode(&bytes), Some(mark));
        for bit in 0..LENGTH * 8 {
            let mut changed = bytes;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&changed), None, "bit {bit}");
        }
        assert_eq!(decode(&bytes[..LENGTH - 1]), None);
        assert_eq!(decode(&[]), None);
    }
}
