//! Damage is found, with file and position, or hits what nobody was answered for; it is never skipped.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

use concur_bridge::journal::{Journal, OpenError};
use concur_bridge::publish::Backlog as _;
use concur_bridge::record::Placed;

use super::*;
use crate::support::damage::overwrite;

/// The files of a journal that was left as by `kill -9`: nothing closed, the newest records in the log only.
pub(super) struct Sample {
    pub(super) files: BTreeMap<String, Vec<u8>>,
    pub(super) records: Vec<Placed>,
}

/// A journal with records in database and log, deliveries and quarantined requests in both.
pub(super) fn sample() -> Sample {
    let dir = tempfile::tempdir().unwrap();
    block_on(async {
        let journal = open(dir.path());
        append_half(&journal, 0).await;
        journal.close().await;
        let journal = open(dir.path());
        append_half(&journal, 1_000).await;
        let records = read_all(&journal);
        let files = files_of(dir.path());
        journal.close().await;
        assert!(files["journal.db"].len() > 8 * 4096);
        assert!(files["journal.db-wal"].len() > 8 * 4096);
        Sample { files, records }
    })
}

pub(super) async fn append_half(journal: &Journal, from: u64) {
    append_all(journal, (from..from + 12).map(record)).await;
    for n in from..from + 6 {
        let claim = claim(&format!("sender-{n}"), 1);
        journal.append(record(n + 100), Some(claim)).await.unwrap();
    }
    append_all(
        journal,
        (from..from + 4).map(|n| quarantined(n, "bad_xml", 3_000)),
    )
    .await;
}

pub(super) fn files_of(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read(path).unwrap())
        })
        .filter(|(name, _)| name != "journal.lock" && name != "journal.db-shm")
        .collect()
}

fn lay_out(dir: &Path, files: &BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(dir).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    for (name, bytes) in files {
        fs::write(dir.join(name), bytes).unwrap();
    }
}

/// What came of opening a changed journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    /// Exit 3, nothing changed.
    Refused,
    /// Opened, and everything acknowledged is there as it was.
    Harmless,
}

/// Opens a changed copy of the sample.
///
/// # Panics
/// It opened with less or other than what was acknowledged, or was refused with files changed or another exit code.
pub(super) fn outcome(
    dir: &Path,
    sample: &Sample,
    files: &BTreeMap<String, Vec<u8>>,
    what: &str,
) -> Outcome {
    lay_out(dir, files);
    let (options, ends) = watched(config(dir));
    match Journal::open(options) {
        Err(error) => {
            assert_eq!(error.exit().code(), 3, "{what}: {error}");
            let left = files_of(dir);
            for (name, bytes) in files {
                assert!(left.get(name) == Some(bytes), "{what}: {name} was changed");
            }
            if let OpenError::Fatal(Fatal::Damaged(damage)) = &error {
                let text = damage.to_string();
                assert!(text.contains("journal.db"), "{text}");
                assert!(text.contains("concur-bridge journal verify"), "{text}");
            }
            Outcome::Refused
        }
        Ok(journal) => {
            let read = read_all(&journal);
            assert!(
                read == sample.records,
                "{what}: opened with other records than were acknowledged"
            );
            block_on(async {
                for n in 0..6 {
                    for n in [n, n + 1_000] {
                        let claim = claim(&format!("sender-{n}"), 1);
                        let appended = journal.append(record(n), Some(claim)).await;
                        let id = format!("event-{}", n + 100);
                        assert_eq!(appended, Ok(Appended::Repeated { id }), "{what}");
                    }
                }
                journal.close().await;
            });
            assert!(ends.try_recv().is_err(), "{what}");
            Outcome::Harmless
        }
    }
}

#[test]
fn a_journal_left_by_a_kill_opens_with_all_that_was_acknowledged() {
    let sample = sample();
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(
        outcome(dir.path(), &sample, &sample.files, "as it was"),
        Outcome::Harmless
    );
}

#[test]
fn a_truncated_database_or_log_is_refused_or_harmless() {
    let sample = sample();
    let dir = tempfile::tempdir().unwrap();
    let mut refused = 0;
    for name in ["journal.db", "journal.db-wal"] {
        let length = sample.files[name].len();
        for keep in (0..length)
            .step_by(4_096)
            .chain([length - 1, length - 4_000])
        {
            let mut files = sample.files.clone();
            files.get_mut(name).unwrap().truncate(keep);
            let what = format!("{name}, cut to {keep}");
            refused += usize::from(outcome(dir.path(), &sample, &files, &what) == Outcome::Refused);
        }
    }
    assert!(refused > 20, "only {refused} refused");
}

#[test]
fn a_missing_log_is_refused_with_the_first_position_that_is_gone() {
    let sample = sample();
    let dir = tempfile::tempdir().unwrap();
    let mut files = sample.files.clone();
    files.remove("journal.db-wal");
    lay_out(dir.path(), &files);
    match refused(dir.path()) {
        OpenError::Fatal(Fatal::Damaged(damage)) => {
            assert_eq!(damage.position, Some(Position(23)));
            assert_eq!(damage.file, dir.path().join("journal.db"));
            assert!(
                damage.what.contains("journal.db-wal is missing"),
                "{damage}"
            );
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_missing_database_is_refused_while_other_files_are_there() {
    let sample = sample();
    let dir = tempfile::tempdir().unwrap();
    for missing_too in [None, Some("journal.db-wal"), Some("journal.mark")] {
        let mut files = sample.files.clone();
        files.remove("journal.db");
        if let Some(name) = missing_too {
            files.remove(name);
        }
        assert_eq!(
            outcome(dir.path(), &sample, &files, "no database"),
            Outcome::Refused
        );
    }
}

#[test]
fn a_tail_that_nobody_was_answered_for_is_cut() {
    let sample = sample();
    let dir = tempfile::tempdir().unwrap();
    let mut files = sample.files.clone();
    // Half a frame of zeros after the last commit: what a kill in the middle of a write leaves.
    files.get_mut("journal.db-wal").unwrap().extend([0; 2_000]);
    assert_eq!(
        outcome(dir.path(), &sample, &files, "torn tail"),
        Outcome::Harmless
    );
}

#[test]
fn a_foreign_file_another_journal_and_another_version_are_refused_by_name() {
    let ours = sample();
    let other = sample();
    let dir = tempfile::tempdir().unwrap();
    let with = |name: &str, bytes: &[u8]| {
        let mut files = ours.files.clone();
        files.insert(name.to_owned(), bytes.to_vec());
        files.remove("journal.db-wal");
        files
    };
    let refusal = |files: &BTreeMap<String, Vec<u8>>| {
        lay_out(dir.path(), files);
        let error = refused(dir.path());
        assert_eq!(error.exit().code(), 3, "{error}");
        error.to_string()
    };
    let text = refusal(&with(
        "journal.db",
        b"this is a letter to my aunt, and rather a long one at that",
    ));
    assert!(text.contains("not a database"), "{text}");
    let text = refusal(&with("journal.db", &other.files["journal.db"]));
    assert!(text.contains("belongs to the journal"), "{text}");
    let text = refusal(&with("journal.db", b""));
    assert!(text.contains("empty"), "{text}");

    for (version, expected) in [(2, "format 2"), (0, "format 0")] {
        let mut files = ours.files.clone();
        files.remove("journal.db-wal");
        lay_out(dir.path(), &files);
        set_version(dir.path().join("journal.db"), version);
        let error = refused(dir.path());
        assert!(matches!(error, OpenError::Version { .. }), "{error}");
        assert_eq!(error.exit().code(), 3);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

/// `user_version` is at byte 60 of an SQLite file, big-endian.
fn set_version(database: PathBuf, version: u32) {
    let mut bytes = fs::read(&database).unwrap();
    bytes[60..64].copy_from_slice(&version.to_be_bytes());
    fs::write(database, bytes).unwrap();
}

#[test]
fn damage_to_a_record_while_it_is_served_stops_the_reader() {
    let dir = tempfile::tempdir().unwrap();
    block_on(async {
        let journal = open(dir.path());
        append_all(&journal, (1..=200).map(record)).await;
        journal.close().await;
        let (options, _ends) = watched(config(dir.path()));
        let journal = Journal::open(options).unwrap();
        let mut backlog = journal.backlog().unwrap();
        overwrite(&dir.path().join("journal.db"), b"\"n\":150,", b"\"n\":151,");
        // What lies before is given: it is whole.
        let before = backlog.read(Position(0), 1_000, 1 << 20).unwrap();
        assert_eq!(before.len(), 149);
        let error = backlog.read(Position(149), 1_000, 1 << 20).unwrap_err();
        assert!(error.to_string().contains("position 150"), "{error}");
        journal.close().await;
    });
}

#[test]
fn damage_beyond_what_start_reads_is_found_in_the_background() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let journal = open(dir.path());
        let mut tasks = tokio::task::JoinSet::new();
        for waiter in 0..150 {
            let journal = journal.clone();
            tasks.spawn(async move {
                append_all(&journal, (0..80).map(|n| record(waiter * 80 + n))).await
            });
        }
        tasks.join_all().await;
        journal.close().await;
        // One of the first 150 positions: start reads from 2,001 on.
        overwrite(&dir.path().join("journal.db"), b"\"n\":80,", b"\"n\":81,");
        let (told, ends) = mpsc::sync_channel(1);
        let (go_on, may_go_on) = mpsc::sync_channel(1);
        let may_go_on = Mutex::new(may_go_on);
        let journal = Journal::open(Options {
            fatal: Box::new(move |fatal| {
                // A test that has failed listens no more.
                drop(told.send(fatal.clone()));
                let _ = may_go_on.lock().unwrap().recv();
            }),
            ..options(config(dir.path()))
        })
        .unwrap();
        let fatal = ends.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(fatal.exit().code(), 3);
        assert!(
            fatal.to_string().contains("the checksum of this record"),
            "{fatal}"
        );
        let refused = journal.append(record(1), None).await;
        assert!(
            matches!(refused, Err(AppendError::Poisoned(_))),
            "{refused:?}"
        );
        // The thread that found it is still in the journal's directory.
        let mut closing = std::pin::pin!(journal.close());
        let closed = tokio::time::timeout(Duration::from_millis(100), &mut closing).await;
        assert!(closed.is_err(), "closed with a thread at work");
        go_on.send(()).unwrap();
        closing.await;
    });
}
