//! What lies at the end of SQLite's write-ahead log: whole commits, and perhaps a tail that a kill or a power loss tore.
//!
//! SQLite stops at the first torn frame by itself and says nothing. This looks at the file beforehand, by the published
//! format (a header of 32 bytes, then frames of 24 bytes and a page), so that the start can report what was cut. It decides
//! nothing: whether a cut tail had been acknowledged is told by `journal.mark`.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
/// The last bit tells the byte order of the checksums.
const MAGIC: u32 = 0x377f_0682;

/// A log, as far as it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct LogTail {
    /// Frames up to the last whole commit.
    pub(super) committed_frames: u64,
    /// Bytes after it that belong to this generation of the log: frames of a commit that did not finish, or torn ones.
    pub(super) torn_bytes: u64,
}

/// Looks at the log; one that is missing or has no valid header has neither commits nor a tail.
pub(super) fn look(path: &Path) -> io::Result<LogTail> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(LogTail::default()),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    let mut log = BufReader::with_capacity(1 << 16, file);
    let mut header = [0; HEADER_BYTES];
    if length < HEADER_BYTES as u64 {
        return Ok(LogTail::default());
    }
    log.read_exact(&mut header)?;
    let Some(mut sum) = Sum::of_header(&header) else {
        return Ok(LogTail::default());
    };
    let page_bytes = word(&header, 8) as usize;
    let frame_bytes = (FRAME_HEADER_BYTES + page_bytes) as u64;
    let frames = (length - HEADER_BYTES as u64) / frame_bytes;
    let mut frame = vec![0; FRAME_HEADER_BYTES + page_bytes];
    let mut tail = LogTail::default();
    for number in 1..=frames {
        log.read_exact(&mut frame)?;
        // A frame of an earlier generation: the log was started over and has not come here yet.
        if frame[8..16] != header[16..24] {
            return Ok(tail.ending_at(number - 1, frame_bytes));
        }
        sum.add(&frame[..8]);
        sum.add(&frame[FRAME_HEADER_BYTES..]);
        if !sum.is(&frame[16..24]) {
            return Ok(tail.ending_at(number, frame_bytes));
        }
        if word(&frame, 4) != 0 {
            tail.committed_frames = number;
        }
    }
    let rest = (length - HEADER_BYTES as u64) % frame_bytes;
    tail = tail.ending_at(frames, frame_bytes);
    tail.torn_bytes += rest;
    Ok(tail)
}

impl LogTail {
    fn ending_at(self, frames: u64, frame_bytes: u64) -> Self {
        Self {
            torn_bytes: (frames - self.committed_frames) * frame_bytes,
            ..self
        }
    }
}

/// SQLite's running checksum: two sums over pairs of 32-bit words.
struct Sum {
    big_endian: bool,
    sums: [u32; 2],
}

impl Sum {
    fn of_header(header: &[u8; HEADER_BYTES]) -> Option<Self> {
        let magic = word(header, 0);
        let page_bytes = word(header, 8);
        if magic & !1 != MAGIC || !(512..=65_536).contains(&page_bytes) {
            return None;
        }
        let mut sum = Self {
            big_endian: magic & 1 == 1,
            sums: [0, 0],
        };
        sum.add(&header[..24]);
        sum.is(&header[24..]).then_some(sum)
    }

    fn add(&mut self, bytes: &[u8]) {
        for pair in bytes.chunks_exact(8) {
            for (index, half) in pair.chunks_exact(4).enumerate() {
                let value = half.try_into().map_or(0, |half| {
                    if self.big_endian {
                        u32::from_be_bytes(half)
                    } else {
                        u32::from_le_bytes(half)
                    }
                });
                self.sums[index] = self.sums[index]
                    .wrapping_add(value)
                    .wrapping_add(self.sums[1 - index]);
            }
        }
    }

    fn is(&self, stored: &[u8]) -> bool {
        self.sums == [word(stored, 0), word(stored, 4)]
    }
}

/// A big-endian word; the caller's slice has it.
fn word(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|four| four.try_into().ok())
        .map_or(0, u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rusqlite::Connection;

    use super::*;

    /// A log with three commits, the connection that keeps it open, and its path.
    fn log() -> (tempfile::TempDir, Connection, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let connection = Connection::open(dir.path().join("a.db")).unwrap();
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (x)",
            )
            .unwrap();
        for n in 0..2 {
            connection
                .execute("INSERT INTO t VALUES (?1)", [vec![n; 3_000]])
                .unwrap();
        }
        let path = dir.path().join("a.db-wal");
        (dir, connection, path)
    }

    #[test]
    fn a_log_of_whole_commits_has_no_torn_tail() {
        let (_dir, _connection, path) = log();
        let tail = look(&path).unwrap();
        let frames = (fs::metadata(&path).unwrap().len() - 32) / (4_096 + 24);
        assert_eq!(tail.committed_frames, frames);
        assert_eq!(tail.torn_bytes, 0);
    }

    #[test]
    fn a_cut_or_changed_last_frame_is_a_torn_tail() {
        let (dir, _connection, path) = log();
        let whole = look(&path).unwrap();
        let bytes = fs::read(&path).unwrap();
        let copy = dir.path().join("copy");
        fs::write(&copy, &bytes[..bytes.len() - 100]).unwrap();
        let cut = look(&copy).unwrap();
        assert!(cut.committed_frames < whole.committed_frames);
        assert!(cut.torn_bytes >= 4_096 + 24 - 100, "{cut:?}");
        let mut changed = bytes.clone();
        let last = changed.len() - 1;
        changed[last] ^= 1;
        fs::write(&copy, &changed).unwrap();
        assert!(look(&copy).unwrap().torn_bytes >= 4_096 + 24);
        fs::write(&copy, [&bytes[..], &[0; 500]].concat()).unwrap();
        assert_eq!(look(&copy).unwrap().torn_bytes, 500);
    }

    #[test]
    fn a_log_that_was_started_over_ends_where_the_new_frames_end() {
        let (_dir, connection, path) = log();
        let before = fs::metadata(&path).unwrap().len();
        connection
            .execute_batch("PRAGMA wal_checkpoint(PASSIVE); INSERT INTO t VALUES (1)")
            .unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), before);
        let tail = look(&path).unwrap();
        assert!(tail.committed_frames < 4);
        assert_eq!(tail.torn_bytes, 0);
    }

    #[test]
    fn what_is_no_log_has_neither_commits_nor_a_tail() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        assert_eq!(look(&path).unwrap(), LogTail::default());
        for bytes in [&b""[..], b"short", &[9; 5_000]] {
            fs::write(&path, bytes).unwrap();
            assert_eq!(look(&path).unwrap(), LogTail::default());
        }
    }
}
