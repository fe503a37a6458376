//! Signals reach the process, its end is told, its clock can be moved.

use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;

use crate::support::process::{Process, run, shift_clock};
use crate::support::wait;

const LIMIT: Duration = Duration::from_secs(10);

fn sleeper(dir: &std::path::Path) -> Process {
    Process::start(Command::new("sleep").arg("60"), &dir.join("log")).unwrap()
}

#[test]
fn a_stopped_process_stays_until_it_is_continued_and_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = sleeper(dir.path());
    let state = |process: &Process| {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap();
        stat.rsplit(") ").next().unwrap().chars().next().unwrap()
    };
    process.signal(Signal::STOP).unwrap();
    wait::until_true(LIMIT, "the process to stop", || state(&process) == 'T').unwrap();
    process.signal(Signal::CONT).unwrap();
    wait::until_true(LIMIT, "the process to go on", || state(&process) == 'S').unwrap();
    assert!(process.resident_kib().unwrap() > 0);
    process.kill9().unwrap();
    assert!(
        process.wait_exit(LIMIT).is_err(),
        "a signal is no exit code"
    );
}

#[test]
fn an_exit_code_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(
        Command::new("sh").args(["-c", "echo bye; exit 4"]),
        &dir.path().join("log"),
    )
    .unwrap();
    assert_eq!(process.wait_exit(LIMIT).unwrap(), 4);
    assert_eq!(process.output(), "bye\n");
}

#[test]
fn a_shifted_clock_is_two_hours_ahead_and_still_sleeps() {
    let mut command = Command::new("sh");
    if let Err(reason) = shift_clock(command.args(["-c", "sleep 0.1; date +%s"]), "+2h") {
        println!("skipped: {reason}");
        let required = std::env::var("CONCUR_BRIDGE_REQUIRE").unwrap_or_default();
        assert!(
            !required.split(',').any(|word| word.trim() == "faults"),
            "required: {reason}"
        );
        return;
    }
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let there: u64 = run(&mut command).unwrap().trim().parse().unwrap();
    assert!(there.abs_diff(now + 7_200) < 60, "{there} and {now}");
}
