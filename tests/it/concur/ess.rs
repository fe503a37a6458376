//! Subscriptions of ESS: the page's calls, tokens that end, drift.

use concur_bridge::concur::oauth::ClientCredentials;
use concur_bridge::concur::subscriptions::{Access, SubscriptionId, Subscriptions};
use concur_bridge::secret::Token;

use super::command::run;
use super::{TOKEN, client};
use crate::fake_http::{FakeHttp, reply};

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
