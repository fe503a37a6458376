//! Can a power loss, at any moment, make the journal lose what it acknowledged, or not start?
//!
//! One real workload runs under strace, which writes down every call on the journal's directory with all of its bytes, and each
//! acknowledgement between them ([`recording`]). From that the directory is put together as a power loss may leave it
//! ([`disk`]): at every moment with all that was written, with nothing but what was synced, and with random halves, sectors
//! torn, of what was not. The real journal opens each. Nothing here knows the files or their format.
//!
//! A failure keeps the recording and names the case; `POWER_LOSS_TRACE=FILE` runs on a kept one instead of a new one.

mod disk;
mod recording;
mod workload;

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use self::disk::{Dice, Loss};
use self::recording::Recording;
use super::*;

/// Random states for each moment, besides the two that are not random.
const RANDOM_STATES: usize = 4;

/// No more states are begun after this; the moments are visited in an order that leaves no part of the workload out.
const TIME: Duration = Duration::from_secs(40);

/// Fewer than this prove little.
const LEAST_STATES: usize = 100;

#[test]
fn no_power_loss_takes_what_was_acknowledged_or_keeps_the_journal_from_starting() {
    let scratch = tempfile::tempdir().unwrap();
    let trace = match std::env::var_os("POWER_LOSS_TRACE") {
        Some(kept) => kept.into(),
        None => match workload::traced(scratch.path()) {
            Ok(trace) => trace,
            Err(reason) => return skipped(&reason),
        },
    };
    let recording = Recording::read(&trace);
    let acked = recording.acked.len();
    assert!(acked >= workload::RECORDS, "{acked} acknowledgements");
    assert!(recording.syncs() > 50, "{} syncs", recording.syncs());

    // A stride prime to the number of moments visits each once, and any part of the time is spread over all of them.
    let moments = recording.moments();
    let count = moments.len();
    let stride = (count * 5 / 8..)
        .find(|stride| coprime(*stride, count))
        .unwrap();
    let losses = [Loss::Nothing, Loss::AllUnsynced]
        .into_iter()
        .chain([Loss::Some; RANDOM_STATES]);
    let cases: Vec<(usize, Loss)> = (0..count)
        .flat_map(|turn| losses.clone().map(move |loss| (turn, loss)))
        .map(|(turn, loss)| (moments[turn * stride % count], loss))
        .collect();
    let (began, next, done) = (Instant::now(), AtomicUsize::new(0), AtomicUsize::new(0));
    let failures = std::thread::scope(|scope| {
        let worker = || {
            let mut failures = Vec::new();
            while began.elapsed() < TIME || done.load(Ordering::Relaxed) < LEAST_STATES {
                let case = next.fetch_add(1, Ordering::Relaxed);
                let Some((moment, loss)) = cases.get(case) else {
                    break;
                };
                if let Err(what) = survives(&recording, case, *moment, *loss) {
                    failures.push(format!("after line {moment}, losing {loss:?}: {what}"));
                    break;
                }
                done.fetch_add(1, Ordering::Relaxed);
            }
            failures
        };
        let workers = [scope.spawn(worker), scope.spawn(worker)];
        workers.map(|worker| worker.join().unwrap()).concat()
    });
    let done = done.into_inner();
    println!(
        "{done} of {} states after power loss: {acked} acknowledgements, {} moments, {:.0?}",
        cases.len(),
        count,
        began.elapsed()
    );
    if !failures.is_empty() {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("power-loss.trace");
        std::fs::copy(&trace, &kept).unwrap();
        panic!(
            "{}\nthe recording is {}",
            failures.join("\n"),
            kept.display()
        );
    }
}

fn skipped(reason: &str) {
    let required = std::env::var("CONCUR_BRIDGE_REQUIRE").unwrap_or_default();
    assert!(
        !required.split(',').any(|name| name == "strace"),
        "required, but: {reason}"
    );
    // Past the test harness, which shows nothing of a test that passes.
    let _ = writeln!(std::io::stderr(), "skipped: {reason}");
}

fn coprime(mut a: usize, mut b: usize) -> bool {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a == 1
}

/// Puts one state on disk, opens the journal on it and looks for everything that was acknowledged by then.
fn survives(recording: &Recording, case: usize, moment: usize, loss: Loss) -> Result<(), String> {
    // Memory, where there is some: an fsync there costs nothing.
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    };
    disk::lay_out(
        recording,
        moment,
        loss,
        &mut Dice::new(case as u64),
        dir.path(),
    );
    let (options, ends) = watched(workload::config(dir.path()));
    let journal = Journal::open(options).map_err(|error| format!("does not start: {error}"))?;
    let outcome = block_on(async {
        holds_all(recording, moment, &journal)?;
        let next = journal.status().durable.0 + 1;
        let appended = journal
            .append(workload::record_of(0, recording.base_ms), None)
            .await;
        if appended != Ok(Appended::Durable(Position(next))) {
            return Err(format!("position {next} is not taken next: {appended:?}"));
        }
        if let Some((_, n)) = recording
            .acked_by(moment)
            .rfind(|(_, n)| workload::claim_of(*n).is_some())
        {
            let record = workload::record_of(*n, recording.base_ms);
            let id = record.id.clone();
            let again = journal.append(record, workload::claim_of(*n)).await;
            if again != Ok(Appended::Repeated { id }) {
                return Err(format!("delivery {n} is not known any more: {again:?}"));
            }
        }
        journal.close().await;
        Ok(())
    });
    match ends.try_recv() {
        Ok(fatal) => Err(format!("ended: {fatal}")),
        Err(_) => outcome,
    }
}

fn holds_all(recording: &Recording, moment: usize, journal: &Journal) -> Result<(), String> {
    let released = recording.released_by(moment);
    let kept = read_all(journal);
    let mut ids = HashSet::new();
    for (before, placed) in kept.iter().enumerate() {
        let position = placed.position.0;
        if position != kept[0].position.0 + before as u64 {
            return Err(format!("a hole before position {position}"));
        }
        if !ids.insert(&placed.record.id) {
            return Err(format!("{} is there twice", placed.record.id));
        }
        let Some(n) = workload::number_of(&placed.record.id) else {
            return Err(format!("{} was never appended", placed.record.id));
        };
        let expected = workload::record_of(n, recording.base_ms);
        // The body of a quarantined request may go once it is published.
        let is_evicted = position <= released && placed.record.content.is_empty();
        if placed.record != expected && !is_evicted {
            return Err(format!("position {position} is not as appended"));
        }
    }
    let first = kept.first().map_or(1, |placed| placed.position.0);
    if first > released + 1 {
        return Err(format!("begins at {first}, with {released} published"));
    }
    for (position, n) in recording.acked_by(moment) {
        let Some(index) = position.checked_sub(first) else {
            continue; // published and deleted
        };
        let found = kept.get(usize::try_from(index).unwrap());
        let id = found.map(|placed| placed.record.id.as_str());
        if id.and_then(workload::number_of) != Some(*n) {
            return Err(format!(
                "position {position}, acknowledged for {n}, is {id:?}"
            ));
        }
    }
    Ok(())
}
