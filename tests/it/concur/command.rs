//! The commands: usage, exit codes, what is said.

use std::process::{Command, Stdio};

use super::TOKEN;
use crate::fake_http::{FakeHttp, reply};

/// Runs the command; exit code, stdout and stderr together.
pub(super) async fn run(arguments: &[&str], token: Option<&str>) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_concur-bridge"));
    command
        .args(arguments)
        .env_remove("CONCUR_ACCESS_TOKEN")
        .env_remove("CONCUR_CLIENT_ID")
        .stdin(Stdio::null());
    if let Some(token) = token {
        command.env("CONCUR_ACCESS_TOKEN", token);
    }
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(text).unwrap(),
    )
}

#[tokio::test]
async fn wrong_usage_is_exit_code_2_and_nothing_is_sent() {
    let server = FakeHttp::start(|_, _| reply("200 OK", "", "")).await;
    let base = server.url("");
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty");
    std::fs::write(&empty, " \n").unwrap();
    let spaced = directory.path().join("spaced");
    std::fs::write(&spaced, "two words").unwrap();
    for (arguments, token) in [
        (
            vec!["subscribe", "--type", "fop", "--base-url", &base],
            None,
        ),
        (
            vec!["subscribe", "--type", "fop", "--base-url", &base],
            Some("  "),
        ),
        (
            vec![
                "subscribe",
                "--type",
                "fop",
                "--base-url",
                "http://www.concursolutions.com",
            ],
            Some(TOKEN),
        ),
        (
            vec!["subscribe", "--type", "expense", "--base-url", &base],
            Some(TOKEN),
        ),
        (vec!["subscribe", "--base-url", &base], Some(TOKEN)),
        (
            vec![
                "subscribe",
                "--type",
                "fop",
                "--level",
                "world",
                "--base-url",
                &base,
            ],
            Some(TOKEN),
        ),
        (
            vec![
                "subscribe",
                "--type",
                "fop",
                "--timeout",
                "61s",
                "--base-url",
                &base,
            ],
            Some(TOKEN),
        ),
        (
            vec![
                "unsubscribe",
                "--all",
                "--token-file",
                empty.to_str().unwrap(),
                "--base-url",
                &base,
            ],
            Some(TOKEN),
        ),
        (
            vec![
                "unsubscribe",
                "--all",
                "--token-file",
                spaced.to_str().unwrap(),
                "--base-url",
                &base,
            ],
            Some(TOKEN),
        ),
        (
            vec![
                "unsubscribe",
                "--all",
                "--token-file",
                "/nonexistent",
                "--base-url",
                &base,
            ],
            Some(TOKEN),
        ),
    ] {
        let (code, text) = run(&arguments, token).await;
        assert_eq!(code, 2, "{arguments:?}: {text}");
        assert!(!text.is_empty() && !text.contains(TOKEN), "{text}");
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn subscribe_all_asks_for_each_type_and_tells_so() {
    let server = FakeHttp::start(|_, _| reply("200 OK", "", "")).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let base = server.url("/");
    let arguments = [
        "subscribe",
        "--all",
        "--level",
        "user",
        "--token-file",
        file.to_str().unwrap(),
        "--base-url",
        &base,
        "--json",
    ];
    let (code, text) = run(&arguments, None).await;
    assert_eq!(code, 0, "{text}");
    let result: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(result["results"].as_array().unwrap().len(), 3);
    assert!(
        result["results"]
            .as_array()
            .unwrap()
            .iter()
            .all(|result| result["ok"] == true)
    );
    let lines: Vec<_> = server
        .requests()
        .iter()
        .map(|request| request.line().to_owned())
        .collect();
    assert_eq!(
        lines,
        ["itinerary", "fop", "profile"]
            .map(|kind| format!("POST /api/user/v1.0/subscribe?type={kind} HTTP/1.1"))
    );
}

#[tokio::test]
async fn a_refusal_is_exit_code_1_with_concurs_words_and_what_to_do() {
    let body = format!("{{\"message\":\"bad \\u001b[31mtoken {TOKEN}\"}}");
    let server = FakeHttp::start(move |_, _| reply("401 Unauthorized", "", &body)).await;
    let (code, text) = run(
        &["subscribe", "--all", "--base-url", &server.url("")],
        Some(TOKEN),
    )
    .await;
    assert_eq!(code, 1);
    assert!(
        text.contains("bad [31mtoken [token]") && text.contains("get a new one"),
        "{text}"
    );
    assert!(!text.contains(TOKEN) && !text.contains('\u{1b}'), "{text}");
    assert_eq!(
        server.requests().len(),
        1,
        "the other types would be refused as well"
    );
}
