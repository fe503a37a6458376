//! The disk fills, fails, slows down and loses what was not synced, and nothing else.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::process::Command;
use std::time::Duration;

use crate::support::disk::{LoopDisk, Meddling, can_mount, can_trace};
use crate::support::failure::Outcome;
use crate::support::process::Process;

const LIMIT: Duration = Duration::from_secs(60);

/// Whether to go on; says why not, and fails where the fault suite is required.
fn possible(check: fn() -> Outcome) -> bool {
    let Err(reason) = check() else { return true };
    println!("skipped: {reason}");
    let required = std::env::var("CONCUR_BRIDGE_REQUIRE").unwrap_or_default();
    assert!(
        !required.split(',').any(|word| word.trim() == "faults"),
        "required: {reason}"
    );
    false
}

#[test]
fn a_power_cut_loses_what_was_not_synced_and_keeps_what_was() {
    if !possible(can_mount) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let disk = LoopDisk::make(dir.path(), 32).unwrap();
    let path = disk.path().join("file");
    let mut file = File::create(&path).unwrap();
    file.write_all(b"synced").unwrap();
    file.sync_all().unwrap();
    File::open(disk.path()).unwrap().sync_all().unwrap();
    file.write_all(b" and not").unwrap();
    disk.lose_power().unwrap();
    assert!(file.sync_all().is_err(), "nothing more gets to the disk");
    drop(file);
    disk.restore_power().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"synced");
}

#[test]
fn a_filled_disk_refuses_writes_until_it_is_relieved() {
    if !possible(can_mount) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let disk = LoopDisk::make(dir.path(), 32).unwrap();
    disk.fill(1 << 20).unwrap();
    assert!(disk.free().unwrap() <= 2 << 20);
    let write = |name: &str| File::create(disk.path().join(name))?.write_all(&vec![1; 4 << 20]);
    assert_eq!(write("a").unwrap_err().kind(), ErrorKind::StorageFull);
    disk.relieve().unwrap();
    write("b").unwrap();
}

/// A process that syncs a file ten times a second, and says so.
fn syncing(dir: &std::path::Path) -> Process {
    let script = r#"$| = 1; use IO::Handle; open(my $f, ">", $ARGV[0]) or die; for (1 .. 3000) { print $f "x"; $f->flush; print($f->sync ? "ok\n" : "failed: $!\n"); select(undef, undef, undef, 0.1); }"#;
    Process::start(
        Command::new("perl")
            .args(["-e", script])
            .arg(dir.join("file")),
        &dir.join("log"),
    )
    .unwrap()
}

#[test]
fn an_injected_error_fails_the_sync_of_a_running_process_until_it_is_lifted() {
    if !possible(can_trace) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut process = syncing(dir.path());
    let count = |process: &Process, word: &str| process.output().matches(word).count();
    let more = |process: &Process, word: &str| {
        let before = count(process, word);
        crate::support::wait::until_true(LIMIT, word, || count(process, word) > before).unwrap();
    };
    more(&process, "ok");
    let meddling =
        Meddling::on_everything(process.id(), "fsync:error=EIO", &dir.path().join("strace"))
            .unwrap();
    meddling.wait_injected(LIMIT).unwrap();
    more(&process, "failed: Input/output error");
    drop(meddling);
    more(&process, "ok");
    process.kill9().unwrap();
}

#[test]
fn an_injected_delay_slows_the_sync() {
    if !possible(can_trace) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let process = syncing(dir.path());
    let _meddling = Meddling::on_everything(
        process.id(),
        "fsync:delay_enter=300000",
        &dir.path().join("strace"),
    )
    .unwrap();
    let start = std::time::Instant::now();
    let count = || process.output().matches("ok").count();
    let before = count();
    crate::support::wait::until_true(LIMIT, "four syncs", || count() >= before + 4).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(3 * 300));
}
