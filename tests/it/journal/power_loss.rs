//! Can a power loss, at any moment, make the journal lose what it acknowledged, or not start?
//!
//! One real workload runs under a tracer ([`tracer`]), which writes down every call on the journal's directory with all of its
//! bytes ([`calls`]), and each acknowledgement between them ([`recording`]). From that the directory is put together as a
//! power loss may leave it ([`disk`]): at every moment with all that was written, with nothing but what was synced, and with
//! random halves, sectors torn, of what was not. The real journal opens each. Nothing here knows the files or their format.
//!
//! Why a tracer of our own: a VFS below SQLite sees neither `journal.mark` nor what the real VFS does; strace's text has no total
//! order when each thread has a file of its own, and cuts calls into halves when all share one. ptrace gives both, in numbers.
//!
//! A failure keeps the recording and names the case. `POWER_LOSS_TRACE=FILE` runs on a kept recording instead of a new one,
//! `POWER_LOSS_CASES=N` tries another number of states, `POWER_LOSS_SEED=N` other random ones.

mod calls;
mod disk;
mod recording;
mod tracer;
mod workload;

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

use self::disk::{Dice, Loss};
use self::recording::Recording;
use self::tracer::Event;
use super::*;

/// Random states for each moment, besides the two that are not random.
const RANDOM_STATES: usize = 4;

/// States that are tried: about half a minute's worth. The moments are visited in an order that leaves no part of the workload
/// out.
const CASES: usize = 2000;

/// What happened in a directory.
#[derive(Serialize, Deserialize)]
struct Trace {
    directory: PathBuf,
    events: Vec<Event>,
}

#[test]
fn no_power_loss_takes_what_was_acknowledged_or_keeps_the_journal_from_starting() {
    let seed = number("POWER_LOSS_SEED", 1);
    let scratch = tempfile::tempdir().unwrap();
    let trace = match std::env::var_os("POWER_LOSS_TRACE") {
        Some(kept) => serde_json::from_slice(&std::fs::read(kept).unwrap()).unwrap(),
        None => {
            let directory = scratch.path().canonicalize().unwrap();
            match workload::traced(&directory) {
                Ok(events) => Trace { directory, events },
                Err(error) => return skipped(&format!("no process may be traced here: {error}")),
            }
        }
    };
    let recording = Recording::of(&trace.directory, &trace.events);
    let acked: HashSet<u64> = recording.acked.iter().map(|(_, (_, n))| *n).collect();
    assert_eq!(acked.len(), workload::RECORDS, "{acked:?}");

    // A stride prime to the number of moments visits each once, and any part of the cases is spread over all of them.
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
        .take(usize::try_from(number("POWER_LOSS_CASES", CASES as u64)).unwrap())
        .collect();
    let next = AtomicUsize::new(0);
    let failures = std::thread::scope(|scope| {
        let worker = || {
            loop {
                let case = next.fetch_add(1, Ordering::Relaxed);
                let (moment, loss) = cases.get(case)?;
                let mut dice = Dice::new(seed + case as u64);
                if let Err(what) = survives(&recording, &mut dice, *moment, *loss) {
                    return Some(format!(
                        "case {case}, after event {moment}, losing {loss:?}: {what}"
                    ));
                }
            }
        };
        let workers = [scope.spawn(worker), scope.spawn(worker)];
        workers.map(|worker| worker.join().unwrap())
    });
    let failures: Vec<String> = failures.into_iter().flatten().collect();
    println!(
        "{} of {} states after power loss, seed {seed}: {} acknowledgements, {count} moments, {} syncs",
        cases.len(),
        count * (2 + RANDOM_STATES),
        acked.len(),
        recording.syncs,
    );
    if !failures.is_empty() {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("power-loss.trace");
        std::fs::write(&kept, serde_json::to_vec(&trace).unwrap()).unwrap();
        panic!(
            "{}\nthe recording is {}, the seed {seed}",
            failures.join("\n"),
            kept.display()
        );
    }
    assert!(
        recording.syncs >= workload::BATCHES,
        "{} syncs for {} batches",
        recording.syncs,
        workload::BATCHES
    );
}

/// A number from the environment.
fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
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
fn survives(
    recording: &Recording,
    dice: &mut Dice,
    moment: usize,
    loss: Loss,
) -> Result<(), String> {
    // Memory, where there is some: an fsync there costs nothing.
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    };
    disk::lay_out(recording, moment, loss, dice, dir.path());
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
