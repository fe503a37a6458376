//! Signals reach the process, its end is told, its clock can be moved.

use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;

use crate::support::process::{Process, run, shift_clock};
use crate::support::wait;

const LIMIT: Duration = Duration::from_secs(60);

fn sleeper(dir: &std::path::Path) -> Process {
    Process::start(Command::new("sleep").arg("60"), &dir.join("log")).unwrap()
}

#[test]
fn a_stopped_process_stays_until_it_is_continued_and_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = sleeper(dir.path());
    process.stop_whole(LIMIT).unwrap();
    assert!(process.is_stopped());
    process.signal(Signal::CONT).unwrap();
    wait::until_true(LIMIT, "the process to go on", || !process.is_stopped()).unwrap();
    assert!(process.resident_kib().unwrap() > 0);
    process.kill9().unwrap();
    assert!(
        process.wait_exit(LIMIT).is_err(),
        "a signal is no exit code"
    );
}

/// Threads that write all the time: as a bridge under load, they are still on their way when the signal was sent.
#[test]
fn a_process_that_is_stopped_as_a_whole_writes_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    let script = r#"
        use threads; use IO::Handle;
        my @threads = map { my $n = $_; threads->create(sub {
            open(my $f, ">", "$ARGV[0]/$n") or die;
            for (my $i = 0; ; $i++) { seek($f, 0, 0); print $f chr(33 + $i % 90) x 4096; $f->flush; $f->sync }
        }) } 0 .. 7;
        $_->join for @threads;
    "#;
    let files = dir.path().join("files");
    std::fs::create_dir(&files).unwrap();
    let mut process = Process::start(
        Command::new("perl").args(["-e", script]).arg(&files),
        &dir.path().join("log"),
    )
    .unwrap();
    let contents = || -> Vec<Vec<u8>> {
        (0..8)
            .filter_map(|n| std::fs::read(files.join(n.to_string())).ok())
            .collect()
    };
    wait::until_true(LIMIT, "all threads to write", || {
        contents()
            .iter()
            .filter(|content| content.len() == 4096)
            .count()
            == 8
    })
    .unwrap();
    for _ in 0..50 {
        process.stop_whole(LIMIT).unwrap();
        let before = contents();
        wait::pause(Duration::from_millis(5));
        assert!(contents() == before, "a thread was still at work");
        process.signal(Signal::CONT).unwrap();
    }
    process.kill9().unwrap();
}

#[test]
fn an_exit_code_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(
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
