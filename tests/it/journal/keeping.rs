//! What was acknowledged is read again: in order, whole, across restarts.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use concur_bridge::journal::{Journal, OpenError, Options};
use concur_bridge::publish::Backlog as _;
use concur_bridge::record::Position;

use super::*;

#[test]
fn records_are_read_as_they_were_appended_and_positions_count_from_one() {
    let dir = tempfile::tempdir().unwrap();
    block_on(async {
        let journal = open(dir.path());
        let records: Vec<_> = (1..=250).map(record).collect();
        let positions = append_all(&journal, records.clone()).await;
        assert_eq!(positions, (1..=250).map(Position).collect::<Vec<_>>());
        let read = read_all(&journal);
        assert!(read.iter().all(|placed| placed.journal == journal.uuid()));
        assert_eq!(
            read.iter().map(|p| p.position).collect::<Vec<_>>(),
            positions
        );
        assert_eq!(
            read.into_iter().map(|p| p.record).collect::<Vec<_>>(),
            records
        );
        journal.close().await;
    });
}

#[test]
fn a_restart_keeps_records_identity_and_marks_and_counts_its_generation() {
    let dir = tempfile::tempdir().unwrap();
    block_on(async {
        let first = open(dir.path());
        append_all(&first, (1..=5).map(record)).await;
        let mut backlog = first.backlog().unwrap();
        assert_eq!(backlog.generation(), 1);
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    backlog.bind_cluster("cluster-a").unwrap();
                    backlog.mark_published(Position(3), Some(77));
                })
                .join()
                .unwrap();
        });
        let before = read_all(&first);
        let uuid = first.uuid();
        first.close().await;
        assert_eq!(
            first.append(record(9), None).await,
            Err(AppendError::Closing)
        );

        let second = open(dir.path());
        assert_eq!(second.uuid(), uuid);
        assert_eq!(second.instance(), "bridge-0");
        assert_eq!(read_all(&second), before);
        let backlog = second.backlog().unwrap();
        assert_eq!(backlog.generation(), 2);
        assert_eq!(backlog.published(), (Position(3), Some(77)));
        assert_eq!(backlog.cluster_id().as_deref(), Some("cluster-a"));
        let status = second.status();
        assert_eq!(status.backlog_records, 2);
        assert_eq!(
            status.oldest_unpublished,
            Some(before[3].record.received_at)
        );
        assert!(status.backlog_bytes > 1_000 && status.backlog_bytes < 2_000);
        assert_eq!(
            append_all(&second, [record(6)]).await,
            [Position(6)],
            "positions go on"
        );
        second.close().await;
    });
}

#[test]
fn many_waiters_share_commits_and_each_gets_its_own_position() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let journal = open(dir.path());
        let mut tasks = tokio::task::JoinSet::new();
        for waiter in 0..64 {
            let journal = journal.clone();
            tasks.spawn(async move {
                append_all(&journal, (0..10).map(|n| record(waiter * 100 + n))).await
            });
        }
        let mut positions: Vec<Position> = tasks.join_all().await.concat();
        positions.sort();
        assert_eq!(positions, (1..=640).map(Position).collect::<Vec<_>>());
        assert_eq!(read_all(&journal).len(), 640);
        journal.close().await;
    });
}

#[test]
fn a_reader_waits_for_what_is_beyond_its_position() {
    let dir = tempfile::tempdir().unwrap();
    block_on(async {
        let journal = open(dir.path());
        let backlog = journal.backlog().unwrap();
        assert_eq!(
            backlog.wait_beyond(Position(0), Duration::ZERO),
            Position(0)
        );
        let waiting =
            std::thread::spawn(move || backlog.wait_beyond(Position(0), Duration::from_secs(60)));
        append_all(&journal, [record(1)]).await;
        assert_eq!(waiting.join().unwrap(), Position(1));
        journal.close().await;
    });
}

#[test]
fn a_batch_ends_at_its_bounds_but_has_one_record_at_least() {
    let dir = tempfile::tempdir().unwrap();
    block_on(async {
        let journal = open(dir.path());
        append_all(&journal, (1..=10).map(record)).await;
        let mut backlog = journal.backlog().unwrap();
        assert_eq!(backlog.read(Position(0), 3, 1 << 20).unwrap().len(), 3);
        assert_eq!(backlog.read(Position(0), 100, 1).unwrap().len(), 1);
        assert_eq!(backlog.read(Position(0), 100, 1_500).unwrap().len(), 2);
        assert_eq!(
            backlog.read(Position(8), 100, 1 << 20).unwrap()[0].position,
            Position(9)
        );
        assert!(backlog.read(Position(10), 100, 1 << 20).unwrap().is_empty());
        let crc = backlog.read(Position(4), 1, 1).unwrap()[0].crc;
        assert_eq!(backlog.crc_at(Position(5)).unwrap(), Some(crc));
        assert_eq!(backlog.crc_at(Position(11)).unwrap(), None);
        journal.close().await;
    });
}

#[test]
fn a_new_uuid_numbers_what_it_is_asked_to_in_place_of_others_and_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    block_on(async {
        let journal = open(dir.path());
        let old = journal.uuid();
        append_all(&journal, (1..=3).map(record)).await;
        // The second begins where the first did, the third before both.
        let mut renewed = Vec::new();
        for after in [2, 2, 1] {
            let mut backlog = journal.backlog().unwrap();
            let new = std::thread::spawn(move || backlog.renew_uuid(Position(after)).unwrap());
            renewed.push(new.join().unwrap());
        }
        let new = renewed[2];
        assert!(!renewed[..2].contains(&new) && new != old);
        assert_eq!(journal.uuid(), new);
        append_all(&journal, [record(4)]).await;
        let numbered = |journal: &Journal| -> Vec<_> {
            read_all(journal).into_iter().map(|p| p.journal).collect()
        };
        assert_eq!(numbered(&journal), [old, new, new, new]);
        journal.close().await;

        let journal = open(dir.path());
        assert_eq!(journal.uuid(), new);
        assert_eq!(numbered(&journal), [old, new, new, new]);
        journal.close().await;
    });
}

#[test]
fn a_second_process_on_the_same_directory_is_told_who_holds_it() {
    let dir = tempfile::tempdir().unwrap();
    block_on(async {
        let journal = open(dir.path());
        let error = refused(dir.path());
        assert!(matches!(error, OpenError::Locked { .. }), "{error}");
        assert_eq!(error.exit().code(), 5);
        assert!(
            error.to_string().contains(&std::process::id().to_string()),
            "{error}"
        );
        journal.close().await;
        open(dir.path()).close().await;
    });
}

#[test]
fn another_instance_or_prefix_is_refused_and_none_means_the_journals_own() {
    let dir = tempfile::tempdir().unwrap();
    block_on(async {
        open(dir.path()).close().await;
        for changed in [
            Options {
                instance: Some("bridge-1".into()),
                ..options(config(dir.path()))
            },
            Options {
                transactional_prefix: "other".into(),
                ..options(config(dir.path()))
            },
        ] {
            let error = Journal::open(changed).err().unwrap();
            assert!(matches!(error, OpenError::Identity { .. }), "{error}");
            assert_eq!(error.exit().code(), 2);
        }
        let journal = Journal::open(Options {
            instance: None,
            ..options(config(dir.path()))
        })
        .unwrap();
        assert_eq!(journal.instance(), "bridge-0");
        journal.close().await;
    });
}

#[test]
fn nobody_else_may_look_into_directory_or_files() {
    let dir = tempfile::tempdir().unwrap();
    let made = dir.path().join("a/b");
    block_on(async {
        let journal = open(&made);
        append_all(&journal, [record(1)]).await;
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&made), 0o700);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&made).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(mode(&path), 0o600, "{}", path.display());
            names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
        }
        names.sort();
        assert_eq!(
            names,
            [
                "journal.db",
                "journal.db-shm",
                "journal.db-wal",
                "journal.lock",
                "journal.mark"
            ]
        );
        journal.close().await;
    });
}

#[test]
fn a_directory_that_is_a_file_is_a_fault_of_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, "").unwrap();
    let error = refused(&path);
    assert_eq!(error.exit().code(), 2, "{error}");
    assert!(error.to_string().contains(path.to_str().unwrap()));
}

#[test]
fn a_repeated_delivery_is_one_event_even_within_one_batch() {
    let dir = tempfile::tempdir().unwrap();
    block_on(async {
        let journal = open(dir.path());
        let (first, repeat, other) = tokio::join!(
            journal.append(record(1), Some(claim("a", 1))),
            journal.append(record(2), Some(claim("a", 1))),
            journal.append(record(3), Some(claim("a", 2))),
        );
        assert_eq!(first, Ok(Appended::Durable(Position(1))));
        let repeated = Ok(Appended::Repeated {
            id: "event-1".into(),
        });
        assert_eq!(repeat, repeated);
        assert_eq!(other, Err(AppendError::IdTaken));
        let second = Claim {
            second: true,
            ..claim("a", 2)
        };
        assert_eq!(
            journal.append(record(4), Some(second.clone())).await,
            Ok(Appended::Durable(Position(2)))
        );
        journal.close().await;

        let journal = open(dir.path());
        assert_eq!(
            journal.append(record(5), Some(claim("a", 1))).await,
            repeated
        );
        let of_second = Ok(Appended::Repeated {
            id: "event-4".into(),
        });
        assert_eq!(
            journal.append(record(6), Some(claim("a", 2))).await,
            of_second
        );
        assert_eq!(journal.append(record(6), Some(second)).await, of_second);
        let elsewhere = Claim {
            topic: "another".into(),
            ..claim("a", 1)
        };
        assert_eq!(
            journal.append(record(7), Some(elsewhere)).await,
            Ok(Appended::Durable(Position(3)))
        );
        journal.close().await;
    });
}

#[test]
fn a_delivery_is_forgotten_after_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let dedup_for = Duration::from_secs(3600);
    let config = config::Journal {
        dedup_for,
        ..config(dir.path())
    };
    let clock = Arc::default();
    block_on(async {
        let journal = open_on(&clock, config);
        let deliver = async |n| journal.append(record(n), Some(claim("a", 1))).await;
        assert_eq!(deliver(1).await, Ok(Appended::Durable(Position(1))));
        clock.advance(dedup_for);
        let id = "event-1".to_owned();
        assert_eq!(deliver(2).await, Ok(Appended::Repeated { id }));
        clock.advance(Duration::from_millis(1));
        assert_eq!(deliver(3).await, Ok(Appended::Durable(Position(2))));
        journal.close().await;
    });
}
