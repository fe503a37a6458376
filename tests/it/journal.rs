//! Does the journal keep what it acknowledged, say so when it cannot, and refuse before it must?

mod damage;
mod flips;
mod golden;
mod house;
mod inspecting;
mod keeping;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod power_loss;
mod repair;

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use concur_bridge::clock::{ManualClock, SystemClock};
use concur_bridge::config;
use concur_bridge::event::EventType;
use concur_bridge::journal::{AppendError, Appended, Claim, Fatal, Journal, OpenError, Options};
use concur_bridge::publish::Backlog as _;
use concur_bridge::record::{Placed, Position, QuarantineFacts, Record};
use jiff::Timestamp;

/// A runtime for the handles; the journal's own threads need none.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(async { tokio::time::timeout(Duration::from_secs(60), future).await })
        .expect("the journal answers within a minute")
}

/// Limits that no test meets by accident.
fn config(dir: &Path) -> config::Journal {
    config::Journal {
        dir: dir.to_owned(),
        max_size_bytes: 1 << 30,
        min_free_bytes: 0,
        quarantine_max_size_bytes: 1 << 20,
        retain_for: Duration::from_secs(3600),
        retain_size_bytes: 1 << 30,
        dedup_for: Duration::from_secs(3600),
    }
}

fn options(config: config::Journal) -> Options {
    Options {
        config,
        instance: Some("bridge-0".into()),
        transactional_prefix: "concur-bridge".into(),
        fatal: Box::new(|fatal| {
            // Once: it is told of its own panic, too, and a second would end the process.
            assert!(std::thread::panicking(), "the journal ended: {fatal}");
        }),
        clock: Arc::new(SystemClock),
    }
}

/// A journal for which time passes as the test says.
fn open_on(clock: &Arc<ManualClock>, config: config::Journal) -> Journal {
    Journal::open(Options {
        clock: clock.clone(),
        ..options(config)
    })
    .unwrap()
}

/// Options whose end is told to the test instead of failing it.
fn watched(config: config::Journal) -> (Options, mpsc::Receiver<Fatal>) {
    let (told, ends) = mpsc::sync_channel(8);
    let options = Options {
        // A test that is over listens no more.
        fatal: Box::new(move |fatal| drop(told.send(fatal.clone()))),
        ..options(config)
    };
    (options, ends)
}

fn open(dir: &Path) -> Journal {
    Journal::open(options(config(dir))).unwrap()
}

fn refused(dir: &Path) -> OpenError {
    match Journal::open(options(config(dir))) {
        Ok(_) => panic!("the journal should not open"),
        Err(error) => error,
    }
}

fn record(n: u64) -> Record {
    Record {
        id: format!("event-{n}"),
        kind: EventType::ItineraryCreated,
        key: Some(format!("trip-{}", n % 7)),
        received_at: Timestamp::from_millisecond(Timestamp::now().as_millisecond()).unwrap(),
        traceparent: None,
        correlation_id: None,
        ess_topic: None,
        quarantine: None,
        content: format!("{{\"n\":{n},\"filler\":\"{}\"}}", "x".repeat(500)).into(),
    }
}

fn quarantined(n: u64, reason: &str, size: usize) -> Record {
    Record {
        id: format!("quarantined-{n}"),
        kind: EventType::Quarantined,
        key: None,
        quarantine: Some(QuarantineFacts {
            reason: reason.into(),
            detail: "it is wrong".into(),
            size: size as u64,
        }),
        content: vec![b'q'; size].into(),
        ..record(n)
    }
}

fn claim(sender_id: &str, body: u8) -> Claim {
    Claim {
        topic: "public.concur.travel.itinerary".into(),
        sender_id: sender_id.into(),
        sha256: [body; 32],
        second: false,
    }
}

/// Appends `records` one after the other; each must become durable at the next position.
async fn append_all(journal: &Journal, records: impl IntoIterator<Item = Record>) -> Vec<Position> {
    let mut positions = Vec::new();
    for record in records {
        match journal.append(record, None).await.unwrap() {
            Appended::Durable(position) => positions.push(position),
            repeated @ Appended::Repeated { .. } => panic!("{repeated:?}"),
        }
    }
    positions
}

fn read_all(journal: &Journal) -> Vec<Placed> {
    let mut backlog = journal.backlog().unwrap();
    let mut all = Vec::new();
    let mut after = Position(journal.status().first.0 - 1);
    loop {
        let batch = backlog.read(after, 100, 1 << 20).unwrap();
        match batch.last() {
            None => return all,
            Some(last) => after = last.position,
        }
        all.extend(batch);
    }
}
