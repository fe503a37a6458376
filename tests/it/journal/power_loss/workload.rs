//! What is recorded: a few lives of a journal, in a process of its own.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use nix::errno::Errno;
use tokio::task::JoinSet;

use super::super::*;
use super::tracer::{self, Event};

/// The directory of the workload: `journal/` and `acks`.
const DIRECTORY: &str = "POWER_LOSS_DIRECTORY";
/// Receipt time of the first record.
const BASE: &str = "POWER_LOSS_BASE_MS";

/// Times that the journal is opened.
const LIVES: u64 = 4;
/// Rounds of a life: one record alone, then several at once.
const ROUNDS: u64 = 8;
/// Records of a round at once.
const AT_ONCE: u64 = 4;
/// Batches that are acknowledged one after the other.
pub(super) const BATCHES: usize = (LIVES * ROUNDS * 2) as usize;
/// Records of all lives.
pub(super) const RECORDS: usize = (LIVES * ROUNDS * (1 + AT_ONCE)) as usize;

/// Small limits, so that a short workload checkpoints and deletes.
pub(super) fn config(dir: &Path) -> config::Journal {
    config::Journal {
        max_size_bytes: 4 << 20,
        retain_for: Duration::ZERO,
        ..super::super::config(dir)
    }
}

/// The n-th record: small, of several pages, or a quarantined request.
pub(super) fn record_of(n: u64, base_ms: i64) -> Record {
    let mut record = match n % 5 {
        4 => quarantined(n, "bad_xml", 3_000),
        _ => record(n),
    };
    if n % 7 == 3 {
        record.content = vec![b'0' + u8::try_from(n % 10).unwrap(); 9_000].into();
    }
    record.received_at = Timestamp::from_millisecond(base_ms + i64::try_from(n).unwrap()).unwrap();
    record
}

/// The number of the record with this id.
pub(super) fn number_of(id: &str) -> Option<u64> {
    id.rsplit_once('-')?.1.parse().ok()
}

/// Every third record is an ESS delivery.
pub(super) fn claim_of(n: u64) -> Option<Claim> {
    (n % 3 == 1 && n % 5 != 4).then(|| claim(&record_of(n, 0).id, 1))
}

/// Runs the workload in `directory`, traced. An error when this machine lets no process trace another.
pub(super) fn traced(directory: &Path) -> Result<Vec<Event>, Errno> {
    std::fs::create_dir_all(directory.join("journal")).unwrap();
    let mut program = Command::new(std::env::current_exe().unwrap());
    program
        .args([
            "--exact",
            "journal::power_loss::workload::live",
            "--ignored",
            "--nocapture",
        ])
        .env(DIRECTORY, directory)
        .env(BASE, Timestamp::now().as_millisecond().to_string());
    let (events, exit_code) = tracer::trace(&program)?;
    assert_eq!(exit_code, 0, "the workload failed, see above");
    Ok(events)
}

/// Writes a line between the recorded calls.
fn note(acks: &File, line: std::fmt::Arguments<'_>) {
    // One write call a line.
    (&*acks).write_all(format!("{line}\n").as_bytes()).unwrap();
}

#[test]
#[ignore = "started, traced, by the test beside it"]
fn live() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    let directory = PathBuf::from(directory);
    let base_ms: i64 = std::env::var(BASE).unwrap().parse().unwrap();
    let acks = Arc::new(File::create(directory.join("acks")).unwrap());
    note(&acks, format_args!("base {base_ms}"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let mut numbers = 1..;
    for life in 0..LIVES {
        let journal = Journal::open(options(config(&directory.join("journal")))).unwrap();
        let mut backlog = journal.backlog().unwrap();
        for round in 0..ROUNDS {
            for count in [1, AT_ONCE] {
                let numbers: Vec<u64> = numbers.by_ref().take(count as usize).collect();
                runtime.block_on(append(&journal, &acks, numbers, base_ms));
            }
            if round % 3 == 2 {
                // Kafka is always a little behind.
                let published = journal.status().durable.0 - 3;
                note(&acks, format_args!("released {published}"));
                backlog.mark_published(Position(published), Some(1));
            }
        }
        drop(backlog);
        // The last life is cut off: the process ends with the journal open.
        if life + 1 < LIVES {
            runtime.block_on(journal.close());
        }
    }
}

/// Appends records at once, and notes each acknowledgement as it comes.
async fn append(journal: &Journal, acks: &Arc<File>, numbers: Vec<u64>, base_ms: i64) {
    let mut tasks = JoinSet::new();
    for n in numbers {
        let (journal, acks) = (journal.clone(), Arc::clone(acks));
        tasks.spawn(async move {
            let appended = journal.append(record_of(n, base_ms), claim_of(n)).await;
            let Ok(Appended::Durable(position)) = appended else {
                panic!("{n}: {appended:?}");
            };
            note(&acks, format_args!("acked {} {n}", position.0));
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}
