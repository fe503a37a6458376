//! One flipped bit anywhere: refused, or harmless; and what is refused can be repaired.

use std::collections::BTreeMap;
use std::fs;

use concur_bridge::journal::repair::{self, RepairError};
use concur_bridge::journal::{Journal, OpenError};

use super::damage::{Outcome, Sample, append_half, files_of, outcome, sample};
use super::*;

/// A sample with everything in the database and next to nothing in the log.
fn settled_sample() -> Sample {
    let dir = tempfile::tempdir().unwrap();
    block_on(async {
        let journal = open(dir.path());
        append_half(&journal, 0).await;
        append_half(&journal, 1_000).await;
        journal.close().await;
        let journal = open(dir.path());
        let records = read_all(&journal);
        let files = files_of(dir.path());
        journal.close().await;
        Sample { files, records }
    })
}

/// Flips one bit at each of the places and counts what came of it, by file.
fn flip(
    sample: &Sample,
    places: impl IntoIterator<Item = (&'static str, usize)>,
) -> BTreeMap<(&'static str, Outcome), usize> {
    let dir = tempfile::tempdir().unwrap();
    let mut counts = BTreeMap::new();
    for (name, at) in places {
        let mut files = sample.files.clone();
        let Some(byte) = files.get_mut(name).unwrap().get_mut(at) else {
            continue;
        };
        *byte ^= 1 << (at % 8);
        let outcome = outcome(dir.path(), sample, &files, &format!("{name}, byte {at}"));
        *counts.entry((name, outcome)).or_default() += 1;
        if outcome == Outcome::Refused && at % REPAIRED_EACH == 0 {
            mends(dir.path(), &format!("{name}, byte {at}"));
        }
    }
    println!("{counts:?}");
    counts
}

/// One in so many of the refused journals is repaired as well, to keep the test short.
const REPAIRED_EACH: usize = 7;

/// Repairs a journal that was refused, so that it opens, or is told that there is no hope. Never "nothing to repair".
fn mends(dir: &Path, what: &str) {
    match repair::repair(dir, "bridge-0", "concur-bridge") {
        Ok(plan) => {
            assert!(
                !plan.is_needless(),
                "{what}: refused, but nothing to repair"
            );
            match Journal::open(watched(config(dir)).0) {
                Ok(journal) => block_on(journal.close()),
                Err(error) => panic!("{what}: repaired, but {error}"),
            }
        }
        Err(RepairError::Hopeless(_) | RepairError::Open(OpenError::Version { .. })) => {}
        Err(error) => panic!("{what}: {error}"),
    }
    for aside in fs::read_dir(dir).unwrap() {
        let path = aside.unwrap().path();
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        }
    }
}

/// Places in every page: its head, its cell pointers, its middle, and the newest cell, which SQLite puts last.
fn in_every_page(
    sample: &Sample,
    name: &'static str,
    stride: usize,
) -> impl Iterator<Item = (&'static str, usize)> {
    let offsets = [3, 9, 41, stride / 2, stride * 7 / 8, stride - 2];
    (0..sample.files[name].len())
        .step_by(stride)
        .flat_map(move |page| offsets.map(|offset| (name, page + offset)))
}

#[test]
fn a_flipped_bit_in_any_page_of_database_log_or_mark_is_refused_or_harmless() {
    let sample = sample();
    let places = in_every_page(&sample, "journal.db", 4_096)
        .chain(in_every_page(&sample, "journal.db-wal", 4_096 + 24))
        .chain((0..36).map(|at| ("journal.mark", at)));
    let counts = flip(&sample, places);
    // A check that cannot fail would find nothing.
    for name in ["journal.db", "journal.db-wal"] {
        assert!(counts[&(name, Outcome::Refused)] >= 20, "{counts:?}");
    }
}

#[test]
fn a_flipped_bit_in_any_page_of_a_settled_database_is_refused_or_harmless() {
    let sample = settled_sample();
    let header = (0..100).map(|at| ("journal.db", at));
    let counts = flip(
        &sample,
        in_every_page(&sample, "journal.db", 4_096).chain(header),
    );
    assert!(
        counts[&("journal.db", Outcome::Refused)] >= 100,
        "{counts:?}"
    );
}
