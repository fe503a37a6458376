//! Which kind a failure is of, and what the runner makes of it.

use std::cell::RefCell;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::attempt::{Attempt, Ending, attempt_all, run};
use crate::support::failure::{Doing, Failure, Kind, Outcome, ensure, ensure_shown};
use crate::support::patience;
use crate::support::process::Process;
use crate::support::wait;

const LIMIT: Duration = Duration::from_secs(60);

fn passed() -> Ending {
    Ending::Passed("all well".into())
}

fn broken() -> Ending {
    Ending::Broken("lost 1".into())
}

fn not_shown() -> Ending {
    Ending::NotShown("waited in vain".into())
}

/// Attempts lines whose first and second attempt end like that; returns how each ended and which attempts were made.
fn attempted(lines: &[(Ending, Ending)]) -> (Vec<Ending>, Vec<(usize, Attempt)>) {
    let made = RefCell::new(Vec::new());
    let numbers: Vec<usize> = (0..lines.len()).collect();
    let endings = attempt_all(&numbers, |line, attempt| {
        made.borrow_mut().push((*line, attempt));
        let (first, second) = &lines[*line];
        Ok(match attempt {
            Attempt::First => first.clone(),
            Attempt::Second => second.clone(),
        })
    });
    (endings.unwrap(), made.into_inner())
}

#[test]
fn a_broken_promise_is_never_repeated() {
    let (endings, made) = attempted(&[(broken(), passed()), (passed(), passed())]);
    assert_eq!(endings, [broken(), passed()]);
    assert_eq!(made, [(0, Attempt::First), (1, Attempt::First)]);
}

#[test]
fn a_line_that_was_not_shown_runs_once_more_at_the_end_with_its_patience_doubled() {
    let (endings, made) = attempted(&[(not_shown(), passed()), (passed(), passed())]);
    assert_eq!(endings, [passed(), passed()]);
    let wanted = [
        (0, Attempt::First),
        (1, Attempt::First),
        (0, Attempt::Second),
    ];
    assert_eq!(made, wanted);
    assert_eq!(Attempt::Second.factor(), 2.0 * Attempt::First.factor());
}

#[test]
fn what_the_second_attempt_finds_is_final() {
    let (endings, made) = attempted(&[(not_shown(), not_shown()), (not_shown(), broken())]);
    assert_eq!(endings, [not_shown(), broken()]);
    assert_eq!(made.len(), 4);
}

/// A process that does what `script` says with the path of its result as `$1`.
fn process(dir: &Path, script: &str, limit: Duration) -> Ending {
    let result = dir.join("result.json");
    let _ = std::fs::remove_file(&result);
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(&result);
    run(&mut command, &result, limit).unwrap()
}

/// The shell command that leaves this ending.
fn leaving(ending: &Ending) -> String {
    let text = serde_json::to_string(ending).unwrap();
    format!("printf '%s' '{text}' > \"$1\"")
}

#[test]
fn the_ending_that_a_process_leaves_is_its_lines() {
    let dir = tempfile::tempdir().unwrap();
    for ending in [
        passed(),
        broken(),
        not_shown(),
        Ending::Skipped("no root".into()),
    ] {
        assert_eq!(process(dir.path(), &leaving(&ending), LIMIT), ending);
    }
}

#[test]
fn a_process_that_crashes_has_shown_nothing_and_the_other_lines_still_run() {
    let dir = tempfile::tempdir().unwrap();
    let well = leaving(&passed());
    let scripts = [
        "kill -SEGV $$".to_owned(),
        "kill -ABRT $$".to_owned(),
        // Torn down by a crash after it has passed, which is a crash all the same.
        format!("{well}; kill -SEGV $$"),
        "exit 101".to_owned(),
        "exit 0".to_owned(),
        well,
    ];
    let endings = attempt_all(&scripts, |script, _| Ok(process(dir.path(), script, LIMIT)));
    let endings = endings.unwrap();
    let (crashed, last) = endings.split_at(5);
    for ending in crashed {
        assert!(matches!(ending, Ending::NotShown(_)), "{ending:?}");
    }
    assert_eq!(last, [passed()]);
}

#[test]
fn a_broken_promise_that_was_found_before_a_crash_is_not_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!("{}; kill -SEGV $$", leaving(&broken()));
    assert_eq!(process(dir.path(), &script, LIMIT), broken());
}

#[test]
fn a_process_that_hangs_is_killed_with_all_that_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let pid = dir.path().join("pid");
    let script = format!("sleep 600 & echo $! > '{}'; wait", pid.display());
    let ending = process(dir.path(), &script, Duration::from_secs(2));
    assert!(matches!(ending, Ending::NotShown(_)), "{ending:?}");
    let pid = std::fs::read_to_string(pid).unwrap();
    let gone = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        stat.map_or(true, |stat| stat.contains(") Z "))
    };
    wait::until_true(LIMIT, "the sleeper to be gone", gone).unwrap();
}

fn kind<T>(outcome: Outcome<T>) -> Kind {
    outcome.map(drop).unwrap_err().kind
}

#[test]
fn the_kind_of_a_failure_is_kept_by_what_is_put_in_front_of_it() {
    let promise = ensure(false, || "exit 3 instead of 4".into());
    let tool: Outcome = Err(std::io::Error::other("no such tool").into());
    assert_eq!(kind(promise.doing("stopping")), Kind::BrokenPromise);
    assert_eq!(kind(tool.doing("mounting")), Kind::NotShown);
    assert_eq!(kind(ensure_shown(false, String::new)), Kind::NotShown);
    assert_eq!(kind(None::<()>.doing("no address")), Kind::NotShown);
    assert_eq!(
        Ending::of(Err(Failure::broken("lost 1"))),
        broken(),
        "the runner is told the kind, not a text"
    );
}

#[test]
fn a_deadline_that_passes_has_shown_nothing_and_a_look_that_fails_keeps_its_kind() {
    let soon = Duration::from_millis(1);
    assert_eq!(
        kind(wait::until_true(soon, "nothing", || false)),
        Kind::NotShown
    );
    let dead = wait::until::<()>(LIMIT, "the bridge", || Err(Failure::broken("it ended")));
    assert_eq!(kind(dead), Kind::BrokenPromise);
}

#[test]
fn a_process_that_dies_by_a_signal_nobody_sent_breaks_a_promise_and_one_that_stays_shows_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let start = |script: &str| {
        Process::start(
            Command::new("sh").args(["-c", script]),
            &dir.path().join("log"),
        )
        .unwrap()
    };
    assert_eq!(
        kind(start("kill -SEGV $$").wait_exit(LIMIT)),
        Kind::BrokenPromise
    );
    let stays = start("exec sleep 60");
    assert_eq!(
        kind(stays.wait_exit(Duration::from_millis(1))),
        Kind::NotShown
    );
}

#[test]
fn patience_stretches_a_limit() {
    let limit = Duration::from_secs(10);
    assert_eq!(patience::patience(limit), limit.mul_f64(patience::factor()));
}
