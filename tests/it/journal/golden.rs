//! A journal of each released format, kept as files, is read by this version as it was written.
//!
//! `tests/golden/journal-v1` was left as by `kill -9`: its last record is in the log only. To make one for a new format:
//! `cargo test --test it write_golden_journal -- --ignored`, with the directory's name in [`WRITTEN_HERE`] changed.

use std::fs;
use std::path::PathBuf;

use concur_bridge::journal::{Inspector, Journal};
use concur_bridge::publish::Backlog as _;

use super::*;

/// The format that this version writes.
const WRITTEN_HERE: &str = "journal-v1";

fn golden(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "golden", name]
        .iter()
        .collect()
}

/// What version 1 keeps, in the order of positions: every field in use, and in disuse.
fn records() -> Vec<Record> {
    let received_at = Timestamp::from_millisecond(1_795_480_959_123).unwrap();
    vec![
        Record {
            id: "01932b6f-0000-7000-8000-000000000001".into(),
            kind: EventType::ItineraryCreated,
            key: Some("naIzQJ0y2DBWjCIQOb2SHTsozwBsHDkdP".into()),
            received_at,
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
            correlation_id: None,
            ess_topic: None,
            quarantine: None,
            content: r#"{"specversion":"1.0","id":"01932b6f-0000-7000-8000-000000000001"}"#.into(),
        },
        Record {
            id: "sender-1".into(),
            kind: EventType::Other,
            key: None,
            received_at,
            traceparent: None,
            correlation_id: Some("correlation-1".into()),
            ess_topic: Some("public.concur.expense.report".into()),
            quarantine: None,
            content: r#"{"data":{"name":"Žofie ✈"}}"#.into(),
        },
        Record {
            id: "01932b6f-0000-7000-8000-000000000003".into(),
            kind: EventType::Quarantined,
            key: None,
            received_at,
            traceparent: None,
            correlation_id: None,
            ess_topic: None,
            quarantine: Some(QuarantineFacts {
                reason: "bad_xml".into(),
                detail: "the root is not closed".into(),
                size: 411,
            }),
            content: r#"{"data":{"sealedRequest":"e30"}}"#.into(),
        },
        Record {
            id: "01932b6f-0000-7000-8000-000000000004".into(),
            kind: EventType::Quarantined,
            key: None,
            received_at,
            traceparent: None,
            correlation_id: None,
            ess_topic: None,
            quarantine: Some(QuarantineFacts {
                reason: "doctype".into(),
                detail: "a DOCTYPE".into(),
                size: 99,
            }),
            content: r#"{"data":{"sealedRequest":"discarded"}}"#.into(),
        },
        Record {
            id: "01932b6f-0000-7000-8000-000000000005".into(),
            kind: EventType::FopUpdated,
            key: Some(String::new()),
            received_at: Timestamp::from_millisecond(-1).unwrap(),
            traceparent: None,
            correlation_id: None,
            ess_topic: None,
            quarantine: None,
            content: vec![b' '; 5_000].into(),
        },
    ]
}

/// The claim that position 2 was appended with.
fn golden_claim() -> Claim {
    Claim {
        topic: "public.concur.expense.report".into(),
        sender_id: "sender-1".into(),
        sha256: [7; 32],
        second: false,
    }
}

/// Deliveries are forgotten with time; the fixture's never.
fn golden_config(dir: &Path) -> config::Journal {
    config::Journal {
        dedup_for: Duration::from_secs(1_000_000 * 3_600),
        retain_for: Duration::from_secs(1_000_000 * 3_600),
        ..config(dir)
    }
}

#[test]
fn a_journal_of_format_1_is_read_as_it_was_written_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["journal.db", "journal.db-wal", "journal.mark"] {
        let bytes = fs::read(golden("journal-v1").join(name)).unwrap();
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    let mut expected = records();
    expected[3].content = "".into();
    let inspector = Inspector::open(dir.path()).unwrap();
    assert_eq!(inspector.verify(|_, _| {}).unwrap().damages, 0);
    let summary = inspector.summary().unwrap();
    assert_eq!(summary.published, Position(1));
    assert_eq!(summary.cluster_id.as_deref(), Some("golden-cluster"));
    drop(inspector);
    block_on(async {
        let journal = Journal::open(options(golden_config(dir.path()))).unwrap();
        let read = read_all(&journal);
        let kept: Vec<_> = read.iter().map(|placed| placed.record.clone()).collect();
        assert_eq!(kept, expected);
        assert_ne!(read[3].journal, read[4].journal, "renewed before the last");
        assert_eq!(read[4].journal, journal.uuid());
        let backlog = journal.backlog().unwrap();
        assert_eq!(backlog.published(), (Position(1), Some(41)));
        assert_eq!(
            journal.append(record(9), Some(golden_claim())).await,
            Ok(Appended::Repeated {
                id: "sender-1".into()
            })
        );
        assert_eq!(append_all(&journal, [record(6)]).await, [Position(6)]);
        journal.close().await;
    });
}

#[test]
#[ignore = "writes a fixture; only for a new format"]
fn write_golden_journal() {
    let dir = tempfile::tempdir().unwrap();
    let mut records = records();
    let last = records.pop().unwrap();
    block_on(async {
        let journal = Journal::open(options(golden_config(dir.path()))).unwrap();
        for record in records {
            let claim = (record.id == "sender-1").then(golden_claim);
            journal.append(record, claim).await.unwrap();
        }
        assert_eq!(journal.discard(Position(4)).await, Ok(true));
        let mut backlog = journal.backlog().unwrap();
        std::thread::spawn(move || {
            backlog.bind_cluster("golden-cluster").unwrap();
            backlog.mark_published(Position(1), Some(41));
            backlog.renew_uuid(Position(4)).unwrap();
        })
        .join()
        .unwrap();
        journal.close().await;
        let journal = Journal::open(options(golden_config(dir.path()))).unwrap();
        append_all(&journal, [last]).await;
        let kept = golden(WRITTEN_HERE);
        assert!(!kept.exists(), "a released format is never written again");
        fs::create_dir_all(&kept).unwrap();
        for name in ["journal.db", "journal.db-wal", "journal.mark"] {
            let bytes = fs::read(dir.path().join(name)).unwrap();
            fs::write(kept.join(name), bytes).unwrap();
        }
        journal.close().await;
    });
}
