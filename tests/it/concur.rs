//! Does the bridge ask Concur in Concur's own words, and say what is wrong when Concur says no?

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use concur_bridge::concur::notifications::{Change, Feature, Level};
use concur_bridge::concur::oauth::ClientCredentials;
use concur_bridge::concur::subscriptions::{Access, SubscriptionId, Subscriptions};
use concur_bridge::concur::{BaseUrl, CallError, Client, Patience};
use concur_bridge::secret::Token;

use crate::fake_http::{FakeHttp, Reply, reply};

/// A token with characters that encodings change.
const TOKEN: &str = "nqp8/WxIs+Z1lZ3uR7=";

const QUICK: Patience = Patience {
    tries: 3,
    total: Duration::from_secs(2),
    backoff: Duration::from_millis(10),
};

fn client(server: &FakeHttp) -> Client {
    Client::new(BaseUrl::parse(&server.url("")).unwrap(), QUICK).unwrap()
}

async fn subscribe(server: &FakeHttp) -> Result<(), CallError> {
    let token = Token::new(TOKEN.to_owned());
    client(server)
        .notify(Change::Subscribe, Level::Company, Feature::Fop, &token)
        .await
}

#[tokio::test]
async fn every_example_request_of_the_page_is_sent_byte_for_byte() {
    // (request line and header as the page quotes them, change, level, type)
    let page = [
        (
            "POST http://www.concursolutions.com/api/company/v1.0/subscribe?type=itinerary HTTP/1.1",
            Change::Subscribe,
            Level::Company,
            Feature::Itinerary,
        ),
        (
            "POST https://www.concursolutions.com/api/company/v1.0/subscribe?type=fop HTTP/1.1",
            Change::Subscribe,
            Level::Company,
            Feature::Fop,
        ),
        (
            "POST https://www.concursolutions.com/api/company/v1.0/subscribe?type=profile HTTP/1.1",
            Change::Subscribe,
            Level::Company,
            Feature::Profile,
        ),
        (
            "POST https://www.concursolutions.com/api/company/v1.0/unsubscribe?type=itinerary HTTP/1.1",
            Change::Unsubscribe,
            Level::Company,
            Feature::Itinerary,
        ),
        (
            "POST https://www.concursolutions.com/api/company/v1.0/unsubscribe?type=fop HTTP/1.1",
            Change::Unsubscribe,
            Level::Company,
            Feature::Fop,
        ),
        (
            "POST https://www.concursolutions.com/api/company/v1.0/unsubscribe?type=profile HTTP/1.1",
            Change::Unsubscribe,
            Level::Company,
            Feature::Profile,
        ),
        (
            "POST https://www.concursolutions.com/api/user/v1.0/subscribe?type=itinerary HTTP/1.1",
            Change::Subscribe,
            Level::User,
            Feature::Itinerary,
        ),
        (
            "POST https://www.concursolutions.com/api/user/v1.0/subscribe?type=fop HTTP/1.1",
            Change::Subscribe,
            Level::User,
            Feature::Fop,
        ),
        (
            "POST https://www.concursolutions.com/api/user/v1.0/unsubscribe?type=profile HTTP/1.1",
            Change::Unsubscribe,
            Level::User,
            Feature::Profile,
        ),
    ];
    let server = FakeHttp::start(|_, _| reply("200 OK", "", "")).await;
    for (quoted, change, level, feature) in page {
        let token = Token::new(TOKEN.to_owned());
        client(&server)
            .notify(change, level, feature, &token)
            .await
            .unwrap();
        let request = server.requests().pop().unwrap();
        // The page writes the absolute form; on the wire the authority is the Host header (RFC 9112 §3.2.1).
        let path = quoted.split_once(".com").unwrap().1;
        assert_eq!(request.line(), format!("POST {path}"), "{quoted}");
        assert!(
            request
                .head
                .lines()
                .any(|line| line == format!("Authorization: OAuth {TOKEN}")),
            "{}",
            request.head
        );
        assert!(
            request
                .head
                .lines()
                .any(|line| line == "Content-Type: application/xml"),
            "{}",
            request.head
        );
        assert_eq!(request.header("content-length"), Some("0"));
        assert_eq!(request.header("host").unwrap(), server.address.to_string());
        assert!(request.body.is_empty());
    }
    assert_eq!(server.requests().len(), page.len());
}

#[tokio::test]
async fn refusals_are_final_and_shown_in_concurs_words_without_the_token() {
    for (status, words, advice) in [
        ("400 Bad Request", "wrong type", "check the arguments"),
        ("401 Unauthorized", "invalid token", "get a new one"),
        ("403 Forbidden", "no right", "Company Administrator"),
        ("404 Not Found", "no such page", "check --base-url"),
        ("201 Created", "done?", "check --base-url"),
    ] {
        let body =
            format!("<Error><Message>{words} {TOKEN} nqp8%2FWxIs%2bZ1lZ3uR7%3D</Message></Error>");
        let server = FakeHttp::start(move |_, _| reply(status, "", &body)).await;
        let error = subscribe(&server).await.unwrap_err();
        let said = error.to_string();
        assert!(
            said.contains(words) && said.contains("[token] [token]") && !said.contains("nqp8"),
            "{said}"
        );
        assert!(
            error.advice().contains(advice),
            "{status}: {}",
            error.advice()
        );
        assert_eq!(server.requests().len(), 1, "{status} is final");
    }
}

#[tokio::test]
async fn passing_faults_are_tried_three_times() {
    for status in [
        "429 Too Many Requests",
        "500 Internal Server Error",
        "502 Bad Gateway",
        "503 Service Unavailable",
    ] {
        let server = FakeHttp::start(move |number, _| {
            if number < 2 {
                reply(status, "", "")
            } else {
                reply("200 OK", "", "")
            }
        })
        .await;
        subscribe(&server).await.unwrap();
        assert_eq!(server.requests().len(), 3, "{status}");

        let server = FakeHttp::start(move |_, _| {
            reply(status, "", "<html><body><h1>Down</h1></body></html>")
        })
        .await;
        let error = subscribe(&server).await.unwrap_err();
        assert!(
            matches!(error, CallError::Busy { tries: 3, .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains(": Down"), "{error}");
        assert_eq!(server.requests().len(), 3, "{status}");
    }
}

#[tokio::test]
async fn a_broken_connection_is_tried_again() {
    let server = FakeHttp::start(|number, _| {
        if number == 0 {
            Reply::Close
        } else {
            reply("200 OK", "", "")
        }
    })
    .await;
    subscribe(&server).await.unwrap();
    assert_eq!(server.requests().len(), 2);
    let server = FakeHttp::start(|_, _| Reply::Close).await;
    assert!(matches!(
        subscribe(&server).await,
        Err(CallError::Unreachable { tries: 3, .. })
    ));
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let server = FakeHttp::start(|number, _| match number {
        0 => reply("429 Too Many Requests", "Retry-After: 1\r\n", ""),
        _ => reply("200 OK", "", ""),
    })
    .await;
    let started = Instant::now();
    subscribe(&server).await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_pause_longer_than_the_time_left_ends_the_errand_at_once() {
    let server =
        FakeHttp::start(|_, _| reply("503 Service Unavailable", "Retry-After: 3600\r\n", "")).await;
    let error = subscribe(&server).await.unwrap_err();
    assert!(error.to_string().contains("asks to wait 3600 s"), "{error}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn silence_ends_within_the_time_for_all() {
    let server = FakeHttp::start(|_, _| Reply::Hang).await;
    let started = Instant::now();
    let error = subscribe(&server).await.unwrap_err();
    assert!(
        matches!(error, CallError::Silent { tries: 3, .. }),
        "{error:?}"
    );
    assert!(started.elapsed() < QUICK.total + Duration::from_secs(1));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = FakeHttp::start(|_, _| reply("200 OK", "", "")).await;
    let location = format!("Location: {}?t={TOKEN}\r\n", elsewhere.url("/x"));
    let server = FakeHttp::start(move |_, _| reply("302 Found", &location, "")).await;
    let error = subscribe(&server).await.unwrap_err();
    assert!(matches!(error, CallError::Redirected { .. }), "{error:?}");
    assert!(!error.to_string().contains("nqp8"), "{error}");
    assert!(elsewhere.requests().is_empty());
}

/// Runs the command; exit code, stdout and stderr together.
async fn run(arguments: &[&str], token: Option<&str>) -> (i32, String) {
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

/// A Concur with ESS: gives tokens that are good for `uses` calls each, and keeps subscriptions as text.
async fn ess(uses: usize, list: &'static str) -> FakeHttp {
    let calls = std::sync::atomic::AtomicUsize::new(0);
    let grants = std::sync::atomic::AtomicUsize::new(0);
    FakeHttp::start(move |_, request| {
        use std::sync::atomic::Ordering::SeqCst;
        if request.line() == "POST /oauth2/v0/token HTTP/1.1" {
            let grant = grants.fetch_add(1, SeqCst) + 1;
            calls.store(0, SeqCst);
            return reply(
                "200 OK",
                "",
                &format!(r#"{{"expires_in":"3600","access_token":"jwt-{grant}"}}"#),
            );
        }
        let token = format!("Bearer jwt-{}", grants.load(SeqCst));
        if request.header("authorization") != Some(&token) || calls.fetch_add(1, SeqCst) >= uses {
            return reply(
                "401 Unauthorized",
                "",
                &format!(r#"{{"message":"{token} is over"}}"#),
            );
        }
        match request.line().split(' ').collect::<Vec<_>>()[..2] {
            ["GET", "/events/v4/topics"] => reply("200 OK", "", r#"["public.test"]"#),
            ["PUT", _] => reply(
                "200 OK",
                "",
                r#"{"message":"Subscription 'a' saved successfully"}"#,
            ),
            ["DELETE", _] => reply(
                "200 OK",
                "",
                r#"{"message":"Subscription 'a' marked for deletion"}"#,
            ),
            _ => reply("200 OK", "", list),
        }
    })
    .await
}

fn subscriptions(server: &FakeHttp) -> Subscriptions {
    let secret = Token::new("s3cr3t&+/".to_owned());
    Subscriptions::new(
        client(server),
        Access::Credentials(ClientCredentials {
            id: "app-1".to_owned(),
            secret,
        }),
    )
}

#[tokio::test]
async fn ess_calls_are_made_as_the_page_shows_them_with_one_token() {
    let server = ess(100, "[]").await;
    let concur = subscriptions(&server);
    let id = SubscriptionId::parse("my-unique-subscription-id").unwrap();
    assert_eq!(concur.topics().await.unwrap(), ["public.test"]);
    assert_eq!(concur.list().await.unwrap(), []);
    assert_eq!(concur.get(&id).await.unwrap(), None);
    let wanted = concur_bridge::config::Subscription {
        id: "my-unique-subscription-id".to_owned(),
        topic: "public.test".to_owned(),
        filter: ".*".to_owned(),
        endpoint: "https://my-valid-endpoint".to_owned(),
    };
    assert_eq!(
        concur.put(&wanted).await.unwrap(),
        "Subscription 'a' saved successfully"
    );
    assert_eq!(
        concur.delete(&id).await.unwrap(),
        "Subscription 'a' marked for deletion"
    );

    let requests = server.requests();
    let lines: Vec<_> = requests.iter().map(|request| request.line()).collect();
    assert_eq!(
        lines,
        [
            "POST /oauth2/v0/token HTTP/1.1",
            "GET /events/v4/topics HTTP/1.1",
            "GET /events/v4/subscriptions HTTP/1.1",
            "GET /events/v4/subscriptions/my-unique-subscription-id HTTP/1.1",
            "PUT /events/v4/subscriptions/webhook HTTP/1.1",
            "DELETE /events/v4/subscriptions/my-unique-subscription-id HTTP/1.1",
        ]
    );
    assert_eq!(
        requests[0].header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
    assert_eq!(
        requests[0].body,
        b"client_id=app-1&client_secret=s3cr3t%26%2B%2F&grant_type=client_credentials"
    );
    // The page's body, but for blanks.
    let page = r#"{"id":"my-unique-subscription-id","filter":".*","topic":"public.test","webHookConfig":{"endpoint":"https://my-valid-endpoint"}}"#;
    assert_eq!(String::from_utf8_lossy(&requests[4].body), page);
    assert_eq!(requests[4].header("content-type"), Some("application/json"));
    assert!(
        requests[1..]
            .iter()
            .all(|request| request.header("authorization") == Some("Bearer jwt-1"))
    );
    assert!(
        requests[1..]
            .iter()
            .all(|request| request.header("concur-correlationid") == Some(concur.correlation_id()))
    );
}

#[tokio::test]
async fn a_token_that_was_revoked_is_replaced_once() {
    let server = ess(1, "[]").await;
    let concur = subscriptions(&server);
    concur.topics().await.unwrap();
    concur.topics().await.unwrap();
    let lines: Vec<_> = server
        .requests()
        .iter()
        .map(|request| request.line().split(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(lines, ["POST", "GET", "GET", "POST", "GET"]);

    let server = ess(0, "[]").await;
    let error = subscriptions(&server).topics().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Concur answered 401 Unauthorized: Bearer [token] is over"
    );
    assert_eq!(
        server.requests().len(),
        2,
        "a fresh token that is refused is not replaced"
    );
}

#[tokio::test]
async fn check_prints_the_drift_with_the_commands_that_mend_it() {
    let server = ess(
        100,
        r#"[{"id":"old","topic":"t","filter":".*","webHookConfig":{"endpoint":"https://x"}}]"#,
    )
    .await;
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("bridge.toml");
    let text = "[[subscriptions]]\nid = \"trips\"\ntopic = \"public.concur.travel.itinerary\"\nfilter = \".*\"\nendpoint = \"https://bridge.example/ess\"\n";
    std::fs::write(&config, text).unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "s3cr3t\n").unwrap();
    let (config, secret, base) = (
        config.to_str().unwrap(),
        secret.to_str().unwrap(),
        server.url(""),
    );
    let caller = [
        "--client-id",
        "app-1",
        "--client-secret-file",
        secret,
        "--base-url",
        &base,
    ];
    let check = [
        ["subscriptions", "check", "--config", config].as_slice(),
        &caller,
    ]
    .concat();
    let (code, said) = run(&check, None).await;
    assert_eq!(code, 1, "{said}");
    let common = format!("--base-url {base} --client-id app-1 --client-secret-file {secret}");
    let expected = format!(
        "trips is not subscribed\n  concur-bridge subscriptions put --id trips --topic public.concur.travel.itinerary \
         --filter '.*' --endpoint https://bridge.example/ess {common}\n\
         old is subscribed, but not configured\n  concur-bridge subscriptions delete old {common}\n"
    );
    assert_eq!(said, expected);

    let none = directory.path().join("none.toml");
    std::fs::write(&none, "").unwrap();
    let server = ess(100, "[]").await;
    let base = server.url("");
    let caller = [
        "--client-id",
        "app-1",
        "--client-secret-file",
        secret,
        "--base-url",
        &base,
    ];
    let check = [
        ["subscriptions", "check", "--config", none.to_str().unwrap()].as_slice(),
        &caller,
    ]
    .concat();
    assert_eq!(
        run(&check, None).await,
        (0, "0 subscriptions, all as configured\n".to_owned())
    );
}

#[tokio::test]
async fn ess_commands_take_a_ready_token_too() {
    let server = FakeHttp::start(|_, _| reply("200 OK", "", r#"["public.test"]"#)).await;
    let (code, said) = run(
        &["subscriptions", "topics", "--base-url", &server.url("")],
        Some(TOKEN),
    )
    .await;
    assert_eq!((code, said.as_str()), (0, "public.test\n"));
    assert_eq!(
        server.requests()[0].header("authorization"),
        Some(format!("Bearer {TOKEN}").as_str())
    );
    for arguments in [
        ["subscriptions", "delete", ".."],
        ["subscriptions", "get", ""],
    ] {
        let (code, said) = run(
            &[arguments.as_slice(), &["--base-url", &server.url("")]].concat(),
            Some(TOKEN),
        )
        .await;
        assert_eq!(code, 2, "{said}");
    }
    assert_eq!(server.requests().len(), 1);
}
