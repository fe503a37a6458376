//! Looking into a journal takes no lock, writes nothing and sees what a serving process sees.

use concur_bridge::journal::{Inspector, OpenError};
use concur_bridge::publish::Backlog as _;

use super::*;
use crate::support::damage::overwrite;

#[test]
fn a_served_and_a_stopped_journal_say_the_same_of_themselves() {
    let dir = tempfile::tempdir().unwrap();
    block_on(async {
        let journal = open(dir.path());
        append_all(&journal, (1..=30).map(record)).await;
        append_all(&journal, [quarantined(31, "doctype", 400)]).await;
        let inspector = Inspector::open(dir.path()).unwrap();
        let served = inspector.summary().unwrap();
        assert!(served.served);
        assert_eq!(served.instance, "bridge-0");
        assert_eq!(served.uuid, journal.uuid());
        assert_eq!((served.first, served.last), (Position(1), Position(31)));
        assert_eq!(served.backlog_bytes, journal.status().backlog_bytes);
        assert_eq!(
            served.oldest_unpublished,
            journal.status().oldest_unpublished
        );
        let records = read_all(&journal);
        assert_eq!(inspector.read(Position(0), 100, 1 << 20).unwrap(), records);
        let entry = inspector.quarantined("quarantined-31").unwrap().unwrap();
        assert_eq!(entry.position, Position(31));
        assert_eq!(entry.record, records[30].record);
        assert_eq!(inspector.quarantined("quarantined-32").unwrap(), None);
        drop(inspector);
        journal.close().await;

        let inspector = Inspector::open(dir.path()).unwrap();
        let stopped = inspector.summary().unwrap();
        assert!(!stopped.served);
        assert_eq!(stopped.last, served.last);
        assert_eq!(inspector.read(Position(0), 100, 1 << 20).unwrap(), records);
        drop(inspector);
        let journal = open(dir.path());
        assert_eq!(read_all(&journal), records, "looking changed nothing");
        journal.close().await;
    });
}

#[test]
fn records_that_retention_deleted_between_two_looks_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let config = config::Journal {
        retain_size_bytes: 0,
        ..config(dir.path())
    };
    block_on(async {
        let journal = Journal::open(options(config)).unwrap();
        append_all(&journal, (1..=30).map(record)).await;
        let inspector = Inspector::open(dir.path()).unwrap();
        assert_eq!(inspector.read(Position(0), 10, 1 << 20).unwrap().len(), 10);
        journal
            .backlog()
            .unwrap()
            .mark_published(Position(20), None);
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while journal.status().first < Position(21) {
            assert!(std::time::Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let rest = inspector.read(Position(10), 100, 1 << 20).unwrap();
        assert_eq!(rest[0].position, Position(21));
        assert_eq!(rest.len(), 10);
        journal.close().await;
    });
}

#[test]
fn verifying_counts_what_is_whole_and_names_every_damage() {
    let dir = tempfile::tempdir().unwrap();
    block_on(async {
        let journal = open(dir.path());
        append_all(&journal, (1..=2_500).map(record)).await;
        let inspector = Inspector::open(dir.path()).unwrap();
        let verified = inspector.verify(|_, _| {}).unwrap();
        assert_eq!((verified.whole_records, verified.damages), (2_500, 0));
        assert!(!verified.structure_checked, "a process serves");
        drop(inspector);
        journal.close().await;
        open(dir.path()).close().await;
    });
    let database = dir.path().join("journal.db");
    overwrite(&database, b"\"n\":1700,", b"\"n\":1701,");
    overwrite(&database, b"\"n\":2400,", b"\"n\":2401,");
    let mut heard = Vec::new();
    let verified = Inspector::open(dir.path())
        .unwrap()
        .verify(|checked, last| heard.push((checked.0, last.0)))
        .unwrap();
    assert_eq!(heard, [(1_000, 2_500), (2_000, 2_500), (2_500, 2_500)]);
    assert!(verified.structure_checked);
    assert_eq!((verified.whole_records, verified.damages), (2_498, 2));
    let positions: Vec<_> = verified.told.iter().map(|d| d.position).collect();
    assert_eq!(positions, [Some(Position(1_700)), Some(Position(2_400))]);
}

#[test]
fn a_directory_without_a_journal_says_so_and_stays_empty() {
    let dir = tempfile::tempdir().unwrap();
    let error = Inspector::open(dir.path()).err().unwrap();
    assert!(matches!(error, OpenError::Directory { .. }), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn beyond_the_last_record_there_is_nothing_however_far_beyond() {
    let dir = tempfile::tempdir().unwrap();
    block_on(async {
        let journal = open(dir.path());
        append_all(&journal, (1..=2).map(record)).await;
        append_all(&journal, [quarantined(3, "doctype", 400)]).await;
        journal.close().await;
    });
    let inspector = Inspector::open(dir.path()).unwrap();
    for after in [3, 4, 1 << 63, u64::MAX - 1, u64::MAX].map(Position) {
        let read = inspector.read(after, 100, 1 << 20);
        assert_eq!(read, Ok(Vec::new()), "records beyond {after}");
        let quarantine = inspector.quarantine(after, 100);
        assert_eq!(quarantine, Ok(Vec::new()), "quarantine beyond {after}");
    }
}
