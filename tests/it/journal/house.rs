//! Limits refuse before they are met and heal; retention and quarantine keep what they must.

use std::time::Instant;

use concur_bridge::journal::{FullCause, QUARANTINE_KEPT_FOR, Refusal, Status};
use concur_bridge::publish::backlog::BacklogError;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Lets time pass until the journal's status is as wanted.
async fn until(
    journal: &Journal,
    clock: &ManualClock,
    what: &str,
    wanted: impl Fn(&Status) -> bool,
) -> Status {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let status = journal.status();
        if wanted(&status) {
            return status;
        }
        assert!(Instant::now() < deadline, "{what}: {status:?}");
        clock.advance(Duration::from_millis(100));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn published(journal: &Journal, position: Position) {
    journal.backlog().unwrap().mark_published(position, Some(1));
}

/// Bytes of the files that `max_size` is about.
fn bytes_on_disk(dir: &Path) -> u64 {
    ["journal.db", "journal.db-wal"]
        .iter()
        .map(|name| std::fs::metadata(dir.join(name)).map_or(0, |data| data.len()))
        .sum()
}

async fn fill(journal: &Journal) -> (u64, AppendError) {
    for n in 1..100_000 {
        match journal.append(record(n), None).await {
            Ok(_) => {}
            Err(error) => return (n - 1, error),
        }
    }
    panic!("the journal never gets full");
}

#[test]
fn the_byte_limit_refuses_what_is_beyond_it_and_heals_once_kafka_has_the_backlog() {
    let dir = tempfile::tempdir().unwrap();
    let max_size_bytes = 1 << 20;
    let config = config::Journal {
        max_size_bytes,
        ..config(dir.path())
    };
    let clock = Arc::default();
    block_on(async {
        let journal = open_on(&clock, config);
        let (accepted, error) = fill(&journal).await;
        assert_eq!(error, AppendError::Full(FullCause::MaxSize));
        assert!(accepted > 700, "only {accepted} records fit into 1 MiB");
        assert!(bytes_on_disk(dir.path()) <= max_size_bytes);
        let status = journal.status();
        assert_eq!(status.refusal, Some(Refusal::Full(FullCause::MaxSize)));
        assert_eq!(status.backlog_records, accepted);
        assert_eq!(read_all(&journal).len() as u64, accepted);

        published(&journal, Position(accepted));
        let healed = until(&journal, &clock, "heals", |status| status.refusal.is_none()).await;
        assert_eq!(healed.backlog_records, 0);
        assert_eq!(healed.oldest_unpublished, None);
        append_all(&journal, [record(1)]).await;
        // Used pages and log, which is what the limit counts: the file keeps the pages that deletions freed.
        assert!(journal.status().used_bytes <= max_size_bytes);
        journal.close().await;
    });
}

#[test]
fn a_full_journal_still_opens_and_still_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let config = config::Journal {
        max_size_bytes: 1 << 20,
        ..config(dir.path())
    };
    block_on(async {
        let journal = Journal::open(options(config.clone())).unwrap();
        let (accepted, _) = fill(&journal).await;
        journal.close().await;
        let journal = Journal::open(options(config)).unwrap();
        let (more, error) = fill(&journal).await;
        // The log was emptied at start, which made a little room.
        assert!(more < accepted / 2, "{more}");
        assert_eq!(error, AppendError::Full(FullCause::MaxSize));
        journal.close().await;
    });
}

#[test]
fn a_disk_below_its_floor_refuses_and_reports_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = config::Journal {
        min_free_bytes: u64::MAX / 4,
        ..config(dir.path())
    };
    block_on(async {
        let journal = Journal::open(options(config)).unwrap();
        let refused = journal.append(record(1), None).await;
        assert_eq!(refused, Err(AppendError::Full(FullCause::MinFree)));
        let status = journal.status();
        assert_eq!(status.refusal, Some(Refusal::Full(FullCause::MinFree)));
        assert_eq!(status.free_bytes, 0);
        journal.close().await;
    });
}

#[test]
fn published_records_go_by_size_and_unpublished_ones_stay() {
    let dir = tempfile::tempdir().unwrap();
    let config = config::Journal {
        retain_size_bytes: 10_000,
        ..config(dir.path())
    };
    let clock = Arc::default();
    block_on(async {
        let journal = open_on(&clock, config);
        append_all(&journal, (1..=2_500).map(record)).await;
        assert_eq!(journal.status().first, Position(1));
        published(&journal, Position(2_000));
        let status = until(&journal, &clock, "deletes", |status| {
            status.first > Position(1_900)
        })
        .await;
        assert!(status.first <= Position(1_990), "{status:?}");
        let kept = read_all(&journal);
        assert_eq!(kept.last().unwrap().position, Position(2_500));
        journal.close().await;
        let journal = open(dir.path());
        assert_eq!(journal.status().first, status.first);
        assert_eq!(read_all(&journal), kept);
        assert_eq!(journal.status().published, Position(2_000));
        journal.close().await;
    });
}

#[test]
fn published_records_go_by_age_but_the_newest_stays_and_positions_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let config = config::Journal {
        retain_for: HOUR,
        ..config(dir.path())
    };
    let clock = Arc::default();
    block_on(async {
        let journal = open_on(&clock, config);
        append_all(&journal, (1..=19).map(record)).await;
        published(&journal, Position(19));
        clock.advance(HOUR - MINUTE);
        // A commit deletes what may go.
        append_all(&journal, [record(20)]).await;
        assert_eq!(journal.status().first, Position(1), "none is an hour old");
        published(&journal, Position(20));
        clock.advance(HOUR);
        until(&journal, &clock, "deletes", |status| {
            status.first == Position(20)
        })
        .await;
        journal.close().await;
        let journal = open(dir.path());
        assert_eq!(append_all(&journal, [record(21)]).await, [Position(21)]);
        journal.close().await;
    });
}

#[test]
fn an_old_record_behind_young_ones_does_not_take_them_with_it() {
    let dir = tempfile::tempdir().unwrap();
    block_on(async {
        let journal = open(dir.path());
        append_all(&journal, (1..=5).map(record)).await;
        let old = Record {
            received_at: Timestamp::from_millisecond(1_000).unwrap(),
            ..record(6)
        };
        append_all(&journal, [old.clone(), record(7)]).await;
        published(&journal, Position(7));
        journal.close().await;
        // Opening and closing gives retention its chance; the young records are in the way.
        let journal = open(dir.path());
        append_all(&journal, [record(8)]).await;
        assert_eq!(read_all(&journal)[5].record, old);
        assert_eq!(journal.status().first, Position(1));
        journal.close().await;
    });
}

#[test]
fn a_full_quarantine_evicts_published_bodies_of_the_same_reason_only() {
    let dir = tempfile::tempdir().unwrap();
    let config = config::Journal {
        quarantine_max_size_bytes: 10_000,
        ..config(dir.path())
    };
    block_on(async {
        let journal = Journal::open(options(config)).unwrap();
        append_all(
            &journal,
            [
                quarantined(1, "bad_xml", 3_000),
                quarantined(2, "doctype", 3_000),
                quarantined(3, "bad_xml", 3_000),
            ],
        )
        .await;
        let full = journal.append(quarantined(4, "bad_xml", 3_000), None).await;
        assert_eq!(full, Err(AppendError::QuarantineFull));
        assert_eq!(
            append_all(&journal, [record(1)]).await,
            [Position(4)],
            "junk pushes out no event, and a refused one leaves no hole"
        );

        published(&journal, Position(2));
        let no_other_reason = journal
            .append(quarantined(5, "too_complex", 3_000), None)
            .await;
        assert_eq!(no_other_reason, Err(AppendError::QuarantineFull));
        append_all(&journal, [quarantined(6, "bad_xml", 3_000)]).await;
        let contents: Vec<usize> = read_all(&journal)
            .iter()
            .map(|placed| placed.record.content.len())
            .collect();
        let event = record(1).content.len();
        assert_eq!(contents, [0, 3_000, 3_000, event, 3_000]);
        assert!(journal.status().quarantine_bytes <= 10_000);
        let full = journal.append(quarantined(7, "bad_xml", 3_000), None).await;
        assert_eq!(full, Err(AppendError::QuarantineFull), "3 is unpublished");
        journal.close().await;
        // Start checks the sum of what is kept.
        open(dir.path()).close().await;
    });
}

#[test]
fn a_quarantined_body_goes_after_its_time_once_it_is_published() {
    let dir = tempfile::tempdir().unwrap();
    let config = config::Journal {
        retain_for: 2 * QUARANTINE_KEPT_FOR,
        ..config(dir.path())
    };
    let clock = Arc::default();
    block_on(async {
        let journal = open_on(&clock, config);
        append_all(&journal, (1..=2).map(|n| quarantined(n, "bad_xml", 500))).await;
        let bodies = || -> Vec<usize> {
            let read = read_all(&journal);
            read.iter().map(|p| p.record.content.len()).collect()
        };
        published(&journal, Position(1));
        let kept = journal.status().quarantine_bytes;
        clock.advance(QUARANTINE_KEPT_FOR - MINUTE);
        append_all(&journal, [record(3)]).await;
        assert_eq!(journal.status().quarantine_bytes, kept);
        clock.advance(HOUR);
        let status = until(&journal, &clock, "drops it", |status| {
            status.quarantine_bytes < kept
        })
        .await;
        assert_eq!(status.quarantine_bytes, kept / 2);
        assert_eq!(bodies()[..2], [0, 500], "2 is unpublished");
        published(&journal, Position(2));
        until(&journal, &clock, "drops both", |status| {
            status.quarantine_bytes == 0
        })
        .await;
        assert_eq!(bodies()[..2], [0, 0]);
        journal.close().await;
    });
}

#[test]
fn a_quarantined_request_is_requeued_or_discarded_once() {
    let dir = tempfile::tempdir().unwrap();
    block_on(async {
        let journal = open(dir.path());
        append_all(&journal, (1..=2).map(|n| quarantined(n, "bad_xml", 500))).await;
        assert_eq!(
            journal.requeue(Position(1), record(7)).await,
            Ok(Some(Position(3)))
        );
        assert_eq!(journal.requeue(Position(1), record(8)).await, Ok(None));
        assert_eq!(journal.discard(Position(2)).await, Ok(true));
        assert_eq!(journal.discard(Position(2)).await, Ok(false));
        assert_eq!(journal.discard(Position(99)).await, Ok(false));
        let read = read_all(&journal);
        assert_eq!(read.len(), 3);
        assert!(read[0].record.content.is_empty() && read[1].record.content.is_empty());
        assert_eq!(read[2].record, record(7).with_time_of(&read[2].record));
        assert_eq!(journal.status().quarantine_bytes, 0);
        journal.close().await;
    });
}

trait WithTime {
    fn with_time_of(self, other: &Record) -> Record;
}

impl WithTime for Record {
    fn with_time_of(self, other: &Record) -> Record {
        Record {
            received_at: other.received_at,
            ..self
        }
    }
}

#[test]
fn an_oversized_record_is_quarantined_once_however_often_it_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = config::Journal {
        quarantine_max_size_bytes: 1,
        ..config(dir.path())
    };
    block_on(async {
        let journal = Journal::open(options(config)).unwrap();
        append_all(&journal, [record(1)]).await;
        let mut backlog = journal.backlog().unwrap();
        let bytes = std::thread::spawn(move || -> Result<u64, BacklogError> {
            let placed = backlog.read(Position(0), 1, 1)?.remove(0);
            backlog.quarantine_oversized(&placed)?;
            backlog.quarantine_oversized(&placed)?;
            Ok(placed.record.content.len() as u64)
        })
        .join()
        .unwrap()
        .unwrap();
        let kept = journal.status().quarantine_bytes;
        assert!(kept > bytes && kept < 2 * bytes, "{kept} of {bytes}");
        journal.close().await;
        open(dir.path()).close().await;
    });
}
