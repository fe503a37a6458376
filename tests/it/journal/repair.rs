//! Repair saves what is whole, leaves no hole, and keeps the old files.

use std::fs;

use concur_bridge::journal::repair::{self, Plan, RepairError};
use concur_bridge::journal::{Inspector, Journal, OpenError};
use concur_bridge::publish::Backlog as _;

use super::*;
use crate::support::damage::overwrite;

/// A journal of twenty records of which Kafka has eight, closed, and moved whole into its database.
fn settled(dir: &Path) {
    block_on(async {
        let journal = open(dir);
        append_all(&journal, (1..=20).map(record)).await;
        let mut backlog = journal.backlog().unwrap();
        backlog.mark_published(Position(8), Some(5));
        drop(backlog);
        journal.close().await;
        open(dir).close().await;
    });
}

fn lose(dir: &Path, n: u64) {
    let old = format!("{{\"n\":{n},");
    let new = format!("{{\"m\":{n},");
    overwrite(&dir.join("journal.db"), old.as_bytes(), new.as_bytes());
}

fn repaired(dir: &Path) -> Plan {
    let before: Vec<_> = fs::read(dir.join("journal.db")).unwrap();
    let planned = repair::plan(dir).unwrap();
    assert_eq!(fs::read(dir.join("journal.db")).unwrap(), before);
    let done = repair::repair(dir, "unused", "unused").unwrap();
    assert_eq!(done.stubs, planned.stubs);
    assert_eq!((done.first, done.last), (planned.first, planned.last));
    assert_eq!(fs::read(done.aside.join("journal.db")).unwrap(), before);
    done
}

#[test]
fn a_lost_record_that_kafka_has_costs_history_only() {
    let dir = tempfile::tempdir().unwrap();
    settled(dir.path());
    let uuid = Inspector::open(dir.path()).unwrap().summary().unwrap().uuid;
    lose(dir.path(), 5);
    let plan = repaired(dir.path());
    assert_eq!((plan.first, plan.last), (Position(6), Position(20)));
    assert_eq!((plan.dropped, plan.lost_at_end), (5, 0));
    assert!(plan.stubs.is_empty());
    block_on(async {
        let journal = open(dir.path());
        assert_eq!(journal.uuid(), uuid);
        let read = read_all(&journal);
        assert_eq!(read.len(), 15);
        assert_eq!(read[0].record.id, "event-6");
        assert_eq!(
            journal.backlog().unwrap().published(),
            (Position(8), Some(5))
        );
        assert_eq!(append_all(&journal, [record(21)]).await, [Position(21)]);
        journal.close().await;
    });
}

#[test]
fn a_lost_record_that_kafka_does_not_have_leaves_a_stub_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    settled(dir.path());
    lose(dir.path(), 12);
    let text = refused(dir.path()).to_string();
    assert!(text.contains("position 12"), "{text}");
    let plan = repaired(dir.path());
    assert_eq!(plan.stubs, [Position(12)]);
    assert_eq!((plan.first, plan.last), (Position(1), Position(20)));
    block_on(async {
        let journal = open(dir.path());
        let read = read_all(&journal);
        assert_eq!(read.len(), 20);
        let stub = &read[11].record;
        assert_eq!(stub.kind, EventType::Quarantined);
        assert_eq!(stub.quarantine.as_ref().unwrap().reason, "damaged");
        assert!(stub.content.is_empty());
        assert_eq!(read[12].record.id, "event-13");
        assert_eq!(journal.status().backlog_records, 12);
        journal.close().await;
    });
    assert!(repair::plan(dir.path()).unwrap().is_needless());
}

#[test]
fn a_lost_tail_ends_its_uuid_so_that_no_position_is_used_twice() {
    let dir = tempfile::tempdir().unwrap();
    settled(dir.path());
    let kept = dir.path().join("kept");
    let uuid = block_on(async {
        let journal = open(dir.path());
        fs::copy(dir.path().join("journal.db"), &kept).unwrap();
        append_all(&journal, (21..=25).map(record)).await;
        let uuid = journal.uuid();
        journal.close().await;
        uuid
    });
    fs::rename(&kept, dir.path().join("journal.db")).unwrap();
    fs::remove_file(dir.path().join("journal.db-wal")).unwrap();
    assert!(matches!(
        refused(dir.path()),
        OpenError::Fatal(Fatal::Damaged(_))
    ));
    let plan = repaired(dir.path());
    assert_eq!((plan.last, plan.lost_at_end), (Position(20), 5));
    block_on(async {
        let journal = open(dir.path());
        assert_ne!(journal.uuid(), uuid);
        append_all(&journal, [record(21)]).await;
        let read = read_all(&journal);
        assert_eq!(read[19].journal, uuid);
        assert_eq!(read[20].journal, journal.uuid());
        journal.close().await;
    });
}

#[test]
fn a_journal_of_which_nothing_is_whole_goes_on_after_its_last_position() {
    let dir = tempfile::tempdir().unwrap();
    settled(dir.path());
    for n in 1..=20 {
        lose(dir.path(), n);
    }
    let plan = repaired(dir.path());
    assert_eq!((plan.first, plan.last), (Position(20), Position(20)));
    block_on(async {
        let journal = open(dir.path());
        assert_eq!(append_all(&journal, [record(21)]).await, [Position(21)]);
        assert_eq!(read_all(&journal).len(), 2);
        journal.close().await;
    });
}

#[test]
fn a_damaged_header_costs_no_record() {
    let dir = tempfile::tempdir().unwrap();
    settled(dir.path());
    let database = dir.path().join("journal.db");
    let mut bytes = fs::read(&database).unwrap();
    bytes[18] = 1;
    fs::write(&database, bytes).unwrap();
    assert!(matches!(
        refused(dir.path()),
        OpenError::Fatal(Fatal::Damaged(_))
    ));
    let plan = repaired(dir.path());
    assert_eq!((plan.first, plan.last), (Position(1), Position(20)));
    assert_eq!((plan.dropped, plan.lost_at_end), (0, 0));
    block_on(async {
        let journal = open(dir.path());
        assert_eq!(read_all(&journal).len(), 20);
        journal.close().await;
    });
}

#[test]
fn quarantine_and_deliveries_survive_a_repair() {
    let dir = tempfile::tempdir().unwrap();
    block_on(async {
        let journal = open(dir.path());
        journal
            .append(record(1), Some(claim("a", 1)))
            .await
            .unwrap();
        append_all(&journal, (2..=4).map(record)).await;
        append_all(&journal, [quarantined(5, "bad_xml", 700)]).await;
        journal.close().await;
        open(dir.path()).close().await;
    });
    lose(dir.path(), 3);
    repaired(dir.path());
    block_on(async {
        let journal = open(dir.path());
        let again = journal.append(record(9), Some(claim("a", 1))).await;
        let id = "event-1".to_owned();
        assert_eq!(again, Ok(Appended::Repeated { id }));
        assert_eq!(read_all(&journal)[4].record.content.len(), 700);
        journal.close().await;
    });
    let inspector = Inspector::open(dir.path()).unwrap();
    let listed = inspector.quarantine(Position(0), 10).unwrap();
    assert_eq!(listed.len(), 1, "the stub has no body to look at");
    assert_eq!(listed[0].position, Position(5));
}

#[test]
fn a_whole_journal_is_left_alone_and_a_served_one_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    settled(dir.path());
    let done = repair::repair(dir.path(), "unused", "unused").unwrap();
    assert!(done.is_needless());
    assert!(!done.aside.exists());
    block_on(async {
        let journal: Journal = open(dir.path());
        let error = repair::plan(dir.path()).unwrap_err();
        assert!(matches!(error, RepairError::Open(OpenError::Locked { .. })));
        assert_eq!(error.exit().code(), 5);
        journal.close().await;
    });
}

#[test]
fn a_file_of_which_nothing_can_be_read_is_hopeless_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    settled(dir.path());
    fs::write(dir.path().join("journal.db"), [7; 8_192]).unwrap();
    let error = repair::repair(dir.path(), "unused", "unused").unwrap_err();
    assert!(matches!(error, RepairError::Hopeless(_)), "{error}");
    assert_eq!(error.exit().code(), 3);
    assert_eq!(fs::read(dir.path().join("journal.db")).unwrap(), [7; 8_192]);
}
