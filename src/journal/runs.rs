//! `journal.runs`: which runs had this journal open, so that a copy of it can be told from a journal of its own.
//!
//! Newest first, one UUID a line. A hint for the publisher and no part of what was acknowledged: it is written once a run,
//! before anything is published, never fsynced, and one that is missing or unreadable counts as empty. What is lost with it:
//! a twin on a copy is then known by the place of its position record alone.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use uuid::Uuid;

use super::open::RUNS;
use crate::publish::Lineage;

/// Runs remembered. A process that dies in its start again and again still finds the last one that published.
const KEPT: usize = 8;

/// Begins a run, and notes it. A full disk keeps no journal from opening: then it is not noted.
pub(super) fn begin(directory: &Path) -> Lineage {
    let lineage = Lineage {
        run: Uuid::new_v4(),
        before: read(directory),
    };
    if let Err(error) = write(directory, &lineage) {
        tracing::warn!(%error, "journal.runs cannot be written: a copy of this journal in use elsewhere is recognised later");
    }
    lineage
}

fn read(directory: &Path) -> Vec<Uuid> {
    let text = std::fs::read_to_string(directory.join(RUNS)).unwrap_or_default();
    text.lines()
        .map_while(|line| Uuid::try_parse(line).ok())
        .take(KEPT)
        .collect()
}

/// Replaces the file as a whole.
fn write(directory: &Path, lineage: &Lineage) -> io::Result<()> {
    let new = directory.join("journal.runs.new");
    let runs = std::iter::once(&lineage.run).chain(&lineage.before);
    let text: String = runs.take(KEPT).map(|run| format!("{run}\n")).collect();
    OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?
        .write_all(text.as_bytes())?;
    std::fs::rename(new, directory.join(RUNS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_knows_those_before_it_newest_first_and_a_copy_knows_the_original() {
        let directory = tempfile::tempdir().unwrap();
        let first = begin(directory.path());
        assert!(first.before.is_empty());
        let second = begin(directory.path());
        assert_eq!(second.before, [first.run]);
        let copy = tempfile::tempdir().unwrap();
        std::fs::copy(directory.path().join(RUNS), copy.path().join(RUNS)).unwrap();
        assert_eq!(begin(copy.path()).before, [second.run, first.run]);
        for _ in 0..2 * KEPT {
            begin(directory.path());
        }
        assert_eq!(begin(directory.path()).before.len(), KEPT);
    }

    #[test]
    fn a_file_that_is_none_of_ours_counts_as_empty() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(RUNS), [0xff, 0, 7]).unwrap();
        assert!(begin(directory.path()).before.is_empty());
        assert_eq!(begin(directory.path()).before.len(), 1);
    }
}
