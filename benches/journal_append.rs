//! How many appends a second the journal makes durable, and how long each waits.
//!
//! `cargo bench --bench journal_append [-- SECONDS [WAITERS …]]`, in `TMPDIR`'s file system. Each waiter appends one record
//! after the other; every append is fsynced before it counts.

#![allow(
    clippy::unwrap_used,
    reason = "a measurement stops where it cannot measure"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use concur_bridge::clock::SystemClock;
use concur_bridge::config;
use concur_bridge::event::EventType;
use concur_bridge::journal::{Journal, Options};
use concur_bridge::publish::Backlog as _;
use concur_bridge::record::{Position, Record};
use jiff::Timestamp;

fn main() {
    let numbers: Vec<u64> = std::env::args()
        .filter_map(|argument| argument.parse().ok())
        .collect();
    let seconds = numbers.first().copied().unwrap_or(3);
    let waiters = match numbers.get(1..) {
        Some(given) if !given.is_empty() => given.to_vec(),
        _ => vec![1, 64, 256],
    };
    println!("waiters  appends/s  p50 ms  p99 ms  max ms  reopen ms  read/s");
    for waiters in waiters {
        measure(waiters, Duration::from_secs(seconds));
    }
}

fn measure(waiters: u64, time: Duration) {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let (count, mut latencies) = runtime.block_on(async {
        let journal = open(dir.path());
        let until = Instant::now() + time;
        let mut tasks = tokio::task::JoinSet::new();
        for waiter in 0..waiters {
            let journal = journal.clone();
            tasks.spawn(async move {
                let mut latencies = Vec::new();
                while Instant::now() < until {
                    let begun = Instant::now();
                    journal.append(record(waiter), None).await.unwrap();
                    latencies.push(begun.elapsed());
                }
                latencies
            });
        }
        let latencies = tasks.join_all().await.concat();
        let count = journal.status().durable.0;
        journal.close().await;
        (count, latencies)
    });
    latencies.sort();
    let at = |per_mille: usize| {
        let index = latencies.len() * per_mille / 1000;
        latencies[index.min(latencies.len() - 1)].as_secs_f64() * 1e3
    };
    let begun = Instant::now();
    let journal = open(dir.path());
    let reopen = begun.elapsed().as_secs_f64() * 1e3;
    let begun = Instant::now();
    let mut backlog = journal.backlog().unwrap();
    let mut after = Position(0);
    loop {
        let batch = backlog.read(after, 5_000, 16 << 20).unwrap();
        match batch.last() {
            Some(last) => after = last.position,
            None => break,
        }
    }
    let read = count as f64 / begun.elapsed().as_secs_f64();
    drop(backlog);
    runtime.block_on(journal.close());
    println!(
        "{waiters:7}  {:9.0}  {:6.2}  {:6.2}  {:6.1}  {reopen:9.1}  {read:6.0}",
        count as f64 / time.as_secs_f64(),
        at(500),
        at(990),
        at(1000),
    );
}

fn open(dir: &std::path::Path) -> Journal {
    Journal::open(Options {
        config: config::Journal {
            dir: dir.to_owned(),
            max_size_bytes: 8 << 30,
            min_free_bytes: 512 << 20,
            quarantine_max_size_bytes: 256 << 20,
            retain_for: Duration::from_secs(24 * 3600),
            retain_size_bytes: 2 << 30,
            dedup_for: Duration::from_secs(96 * 3600),
        },
        instance: None,
        transactional_prefix: "concur-bridge".into(),
        // The waiters hear of it as well, and stop.
        fatal: Box::new(|fatal| println!("{fatal}")),
        clock: Arc::new(SystemClock),
    })
    .unwrap()
}

/// As large as an itinerary event with its sealed token.
fn record(n: u64) -> Record {
    Record {
        id: uuid::Uuid::now_v7().to_string(),
        kind: EventType::ItineraryCreated,
        key: Some(format!("trip-{n}")),
        received_at: Timestamp::now(),
        traceparent: None,
        correlation_id: None,
        ess_topic: None,
        quarantine: None,
        content: vec![b'x'; 850].into(),
    }
}
