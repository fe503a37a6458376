//! The command: summary, address, signals, exit codes, files.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{receiver, until};

fn simulate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_concur-bridge"));
    command.arg("simulate").args(arguments).stdin(Stdio::null());
    command
}

/// Exit code, stdout, stderr.
async fn run(arguments: &[&str]) -> (i32, String, String) {
    let mut command = simulate(arguments);
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap()
        .unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (output.status.code().unwrap(), out, err)
}

#[tokio::test]
async fn a_run_ends_at_its_count_with_a_summary_on_stdout() {
    let receiver = receiver().await;
    let target = receiver.url("/postback/secret");
    let (code, out, err) = run(&[
        "--target", &target, "--count", "40", "--rate", "0", "--level", "both", "--json",
    ])
    .await;
    assert_eq!(code, 0, "{err}");
    let summary: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&summary["sent"], &summary["answered"]["200"]),
        (&40.into(), &40.into())
    );
    let ready: Value = serde_json::from_str(&err).unwrap();
    assert_eq!(ready["message"], "ready");
    assert!(
        ready["simulator"]
            .as_str()
            .unwrap()
            .starts_with("127.0.0.1:")
    );
    assert!(!err.contains("secret") && !out.contains("secret"));
    assert_eq!(receiver.requests().len(), 40);
}

#[tokio::test]
async fn a_run_ends_at_its_time() {
    let receiver = receiver().await;
    let (code, out, _) = run(&[
        "--target",
        &receiver.url("/"),
        "--rate",
        "50",
        "--for",
        "300ms",
    ])
    .await;
    assert!(
        out.starts_with("sent ") && out.contains("latency p50"),
        "{out}"
    );
    // On a busy machine the time may be up before the first answer.
    let sent_nothing = out.starts_with("sent 0 ");
    let unanswered = out.contains("answered nothing");
    assert_eq!(code, i32::from(unanswered && !sent_nothing), "{out}");
    assert_eq!(receiver.requests().is_empty(), unanswered, "{out}");
}

#[tokio::test]
async fn nothing_answered_is_exit_code_1() {
    // Bound and never accepted from once dropped: nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let target = format!("http://127.0.0.1:{port}/");
    let (code, out, err) =
        run(&["--target", &target, "--count", "3", "--rate", "0", "--json"]).await;
    assert_eq!(code, 1);
    assert!(err.contains("--target"), "{err}");
    assert_eq!(
        serde_json::from_str::<Value>(&out).unwrap()["unanswered"],
        3
    );
}

#[tokio::test]
async fn an_address_in_use_is_exit_code_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, _, err) = run(&["--listen", &address, "--count", "0"]).await;
    assert_eq!(code, 1);
    assert!(err.contains(&address), "{err}");
}

#[tokio::test]
async fn wrong_usage_is_exit_code_2() {
    for arguments in [
        vec!["--target", "bridge:8080"],
        vec!["--types", "none,fop"],
        vec!["--types", "expense"],
        vec!["--duplicate", "101%"],
        vec!["--rate", "-1"],
        vec!["--for", "soon"],
        vec!["--connections", "0"],
        vec!["--ess"],
        vec!["--prepare"],
        vec![
            "--target",
            "https://127.0.0.1:1/",
            "--target-ca",
            "/nonexistent",
        ],
        vec![
            "--basic-file",
            "/nonexistent",
            "--target",
            "http://127.0.0.1:1/",
        ],
        vec!["--signing-key", "/dev/null"],
    ] {
        let (code, out, err) = run(&arguments).await;
        assert_eq!(code, 2, "{arguments:?}: {out}{err}");
        assert!(!err.is_empty(), "{arguments:?}");
    }
}

#[tokio::test]
async fn keys_and_certificates_are_written_before_anything_is_sent() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (private, public, mtls) = (file("private.pem"), file("public.pem"), file("mtls"));
    let arguments = [
        "--count",
        "0",
        "--signing-key",
        &private,
        "--write-signing-key",
        &public,
        "--mtls-dir",
        &mtls,
    ];
    for _ in 0..2 {
        let (code, _, err) = run(&arguments).await;
        assert_eq!(code, 0, "{err}");
    }
    assert!(
        std::fs::read_to_string(&public)
            .unwrap()
            .starts_with("-----BEGIN PUBLIC KEY-----")
    );
    for name in [&private, &file("mtls/client.key"), &file("mtls/server.key")] {
        assert_eq!(
            std::fs::metadata(name).unwrap().permissions().mode() & 0o777,
            0o600,
            "{name}"
        );
    }
}

/// Ends with the test, whatever becomes of it.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_signal_ends_a_run_with_its_summary() {
    for signal in [Signal::TERM, Signal::INT] {
        let receiver = receiver().await;
        let mut command = simulate(&["--target", &receiver.url("/"), "--rate", "100", "--json"]);
        let mut child = Killed(
            command
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        );
        until(|| !receiver.requests().is_empty()).await;
        kill_process(Pid::from_child(&child.0), signal).unwrap();
        let out = child.0.stdout.take().unwrap();
        let line = tokio::task::spawn_blocking(move || BufReader::new(out).lines().next())
            .await
            .unwrap();
        let summary: Value = serde_json::from_str(&line.unwrap().unwrap()).unwrap();
        assert!(summary["sent"].as_u64().unwrap() >= 1);
        assert!(child.0.wait().unwrap().success());
    }
}
