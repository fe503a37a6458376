//! What only the inside can arrange: a commit that fails.

use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::clock::SystemClock;
use crate::config;
use crate::publish::Backlog as _;

fn record(n: u64) -> Record {
    Record {
        id: format!("event-{n}"),
        kind: EventType::ProfileUpdated,
        key: None,
        received_at: Timestamp::from_second(1).unwrap(),
        traceparent: None,
        correlation_id: None,
        ess_topic: None,
        quarantine: None,
        content: "{}".into(),
    }
}

fn open(dir: &std::path::Path) -> (Journal, mpsc::Receiver<Fatal>) {
    let (told, ends) = mpsc::sync_channel(8);
    let journal = Journal::open(Options {
        config: config::Journal {
            dir: dir.to_owned(),
            max_size_bytes: 1 << 30,
            min_free_bytes: 0,
            quarantine_max_size_bytes: 1 << 20,
            retain_for: Duration::MAX,
            retain_size_bytes: u64::MAX,
            dedup_for: Duration::from_secs(60),
        },
        instance: None,
        transactional_prefix: "concur-bridge".into(),
        // A test that is over listens no more.
        fatal: Box::new(move |fatal| drop(told.send(fatal.clone()))),
        clock: Arc::new(SystemClock),
    })
    .unwrap();
    (journal, ends)
}

#[tokio::test]
async fn a_failed_commit_poisons_for_good_and_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let (journal, ends) = open(dir.path());
    let mut backlog = journal.backlog().unwrap();
    let acknowledged = journal.append(record(1), None).await;
    assert_eq!(acknowledged, Ok(Appended::Durable(Position(1))));

    journal.inner.shared.sabotage.store(true, Ordering::SeqCst);
    let batch = futures_of(&journal, 2..=9).await;
    let poisoned = batch
        .iter()
        .filter(|answer| matches!(answer, Err(AppendError::Poisoned(_))))
        .count();
    assert_eq!(poisoned, 8, "{batch:?}");
    let fatal = ends.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(fatal.exit().code(), 4);
    assert!(fatal.to_string().contains("committing"), "{fatal}");
    assert_eq!(journal.status().refusal, Some(Refusal::Failed));
    assert!(matches!(
        journal.append(record(10), None).await,
        Err(AppendError::Poisoned(_))
    ));
    assert!(backlog.read(Position(0), 10, 1 << 20).is_err());
    journal.close().await;
    assert!(ends.try_recv().is_err(), "told once");

    // This process keeps the lock until it ends, as it should; its successor finds the files as they are.
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    let (journal, _ends) = open(copy.path());
    assert_eq!(journal.status().durable, Position(1));
    let again = journal.append(record(2), None).await;
    assert_eq!(again, Ok(Appended::Durable(Position(2))));
    journal.close().await;
}

#[tokio::test]
async fn a_reader_that_lingers_holds_up_no_append_and_no_start() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _ends) = open(dir.path());
    assert!(journal.append(record(1), None).await.is_ok());
    let lingering = open::reader_connection(dir.path()).unwrap();
    lingering.execute_batch("BEGIN").unwrap();
    let seen = recovery::last_position(&lingering).unwrap();
    let large = |n| Record {
        content: vec![b'x'; 100_000].into(),
        ..record(n)
    };
    // Three times the log at which the writer checkpoints.
    for n in 2..=120 {
        assert_eq!(
            journal.append(large(n), None).await,
            Ok(Appended::Durable(Position(n)))
        );
    }
    journal.close().await;
    let (journal, _ends) = open(dir.path());
    let mut backlog = journal.backlog().unwrap();
    let read = backlog.read(Position(0), 200, 1 << 30).unwrap();
    assert_eq!(read.len(), 120);
    assert_eq!(recovery::last_position(&lingering).unwrap(), seen);
    let log = limits::log_bytes(dir.path());
    assert!(log > 8 << 20, "{log}: the reader was not in the way");
    drop(lingering);
    journal.close().await;
    let (journal, _ends) = open(dir.path());
    let log = limits::log_bytes(dir.path());
    assert!(log < 1 << 20, "{log}: a start empties the log");
    journal.close().await;
}

async fn futures_of(
    journal: &Journal,
    range: std::ops::RangeInclusive<u64>,
) -> Vec<Result<Appended, AppendError>> {
    let mut tasks = tokio::task::JoinSet::new();
    for n in range {
        let journal = journal.clone();
        tasks.spawn(async move { journal.append(record(n), None).await });
    }
    tasks.join_all().await
}

#[test]
fn the_linked_sqlite_has_the_fixes_that_the_journal_relies_on() {
    assert!(
        rusqlite::version_number() >= 3_051_003,
        "{}",
        rusqlite::version()
    );
}
