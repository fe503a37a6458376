//! Path secrets, basic authentication and source networks: each method right, wrong, missing and rotated.

use std::fs;
use std::path::{Path, PathBuf};

use concur_bridge::config::Guard;
use concur_bridge::ingress::check_exposed;

use super::bench::{Bench, PEER, Setup, replace_file, request};

fn file(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    path
}

async fn status(bench: &Bench, path: &str, headers: &str) -> u16 {
    status_from(PEER, bench, path, headers).await
}

async fn status_from(peer: &str, bench: &Bench, path: &str, headers: &str) -> u16 {
    let mut client = bench.connect_from(peer).await;
    let answer = client.ask(request(path, headers, "<x/>")).await.unwrap();
    if answer.status == 401 {
        assert_eq!(
            answer.json()["type"],
            "urn:concur-bridge:problem:unauthorized"
        );
    }
    answer.status
}

#[tokio::test(start_paused = true)]
async fn a_path_secret_lets_in_who_knows_it_and_each_path_has_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut setup = Setup::default();
    setup.auth.v1.path_secret_file = Some(file(dir.path(), "v1", "old\nnew\n"));
    let bench = setup.start();
    for (path, expected) in [
        ("/postback/old", 200),
        ("/postback/new", 200),
        ("/postback/n%65w", 200),
        ("/postback", 401),
        ("/postback/", 401),
        ("/postback/wrong", 401),
        ("/postback/New", 401),
        ("/postback/new/", 401),
        ("/postback/new/new", 401),
        ("/postback/%2e/new", 401),
        ("/postbacknew", 404),
        ("/ess", 200),
        ("/ess/new", 404),
    ] {
        assert_eq!(status(&bench, path, "").await, expected, "{path}");
    }
    assert_eq!(bench.seen().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn the_path_secret_never_reaches_the_postback() {
    let dir = tempfile::tempdir().unwrap();
    let mut setup = Setup::default();
    setup.auth.ess.path_secret_file = Some(file(dir.path(), "ess", "s3cr3t\n"));
    let bench = setup.start();
    assert_eq!(status(&bench, "/ess/s3cr3t", "").await, 200);
    let wire = bench.seen()[0].to_wire();
    assert!(!wire.windows(6).any(|window| window == b"s3cr3t"));
}

#[tokio::test(start_paused = true)]
async fn basic_authentication_challenges_and_spares_concurs_own_oauth_header_on_v1_only() {
    let dir = tempfile::tempdir().unwrap();
    let users = file(dir.path(), "users", "concur:pass:word\nother:x\n");
    let mut setup = Setup::default();
    setup.auth.v1.basic_file = Some(users.clone());
    setup.auth.ess.basic_file = Some(users);
    let bench = setup.start();
    let right = "authorization: Basic Y29uY3VyOnBhc3M6d29yZA==\r\n";
    let other = "authorization: basic b3RoZXI6eA==\r\n";
    let wrong = "authorization: Basic b3RoZXI6eQ==\r\n";
    let oauth = "authorization: OAuth token\r\n";
    for (path, headers, expected) in [
        ("/postback", right, 200),
        ("/postback", other, 200),
        ("/postback", wrong, 401),
        ("/postback", "", 401),
        (
            "/postback",
            "authorization: Bearer Y29uY3VyOnBhc3M6d29yZA==\r\n",
            401,
        ),
        ("/postback", oauth, 200),
        ("/ess", right, 200),
        ("/ess", oauth, 401),
        ("/ess", "", 401),
    ] {
        assert_eq!(
            status(&bench, path, headers).await,
            expected,
            "{path} {headers}"
        );
    }
    let mut client = bench.connect().await;
    let answer = client.ask(request("/ess", "", "")).await.unwrap();
    assert!(
        answer
            .header("www-authenticate")
            .unwrap()
            .starts_with("Basic ")
    );
}

#[tokio::test(start_paused = true)]
async fn only_allowed_networks_get_in_and_only_trusted_proxies_name_their_client() {
    let guard = |allow: &str, proxies: &str| Guard {
        allow_from: vec![allow.parse().unwrap()],
        trusted_proxies: [proxies]
            .iter()
            .filter_map(|net| net.parse().ok())
            .collect(),
        ..Guard::default()
    };
    let inside = "x-forwarded-for: 192.0.2.1\r\n";
    let lied = "x-forwarded-for: 192.0.2.1, 203.0.113.9\r\n";
    let junk = "x-forwarded-for: junk\r\n";
    let (net, proxy_net) = ("192.0.2.0/24", "10.0.0.0/8");
    for (peer, allow, proxies, headers, expected) in [
        ("127.0.0.1", "127.0.0.0/8", "", "", 200),
        ("192.0.2.1", net, "", "", 200),
        ("::ffff:192.0.2.1", net, "", "", 200),
        ("198.51.100.1", net, "", "", 401),
        ("2001:db8::1", net, "", "", 401),
        ("2001:db8::1", "2001:db8::/32", "", "", 200),
        ("198.51.100.1", net, "", inside, 401),
        ("10.0.0.1", net, proxy_net, inside, 200),
        ("::ffff:10.0.0.1", net, proxy_net, inside, 200),
        ("198.51.100.1", net, proxy_net, inside, 401),
        ("10.0.0.1", net, proxy_net, lied, 401),
        ("10.0.0.1", net, proxy_net, "", 401),
        ("10.0.0.1", net, proxy_net, junk, 401),
    ] {
        let mut setup = Setup::default();
        setup.auth.v1 = guard(allow, proxies);
        let bench = setup.start();
        assert_eq!(
            status_from(peer, &bench, "/postback", headers).await,
            expected,
            "{peer} {allow} {proxies} {headers}"
        );
        assert_eq!(bench.seen().len(), usize::from(expected == 200));
    }
}

#[tokio::test(start_paused = true)]
async fn all_methods_that_are_named_must_pass() {
    let dir = tempfile::tempdir().unwrap();
    let mut setup = Setup::default();
    setup.auth.v1.path_secret_file = Some(file(dir.path(), "secret", "s\n"));
    setup.auth.v1.basic_file = Some(file(dir.path(), "users", "u:p\n"));
    let bench = setup.start();
    let basic = "authorization: Basic dTpw\r\n";
    for (path, headers, expected) in [
        ("/postback/s", basic, 200),
        ("/postback/s", "", 401),
        ("/postback", basic, 401),
        ("/postback", "", 401),
    ] {
        assert_eq!(
            status(&bench, path, headers).await,
            expected,
            "{path} {headers}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn rotated_secrets_are_taken_without_dropping_a_connection_and_an_invalid_file_changes_nothing()
 {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), "secrets", "first\n");
    let mut setup = Setup::default();
    setup.auth.v1.path_secret_file = Some(path.clone());
    let mut bench = setup.start();
    let mut client = bench.connect().await;
    for (text, first, second) in [
        ("first\n", 200, 401),
        ("first\nsecond\n", 200, 200),
        ("second\n", 401, 200),
        ("# empty\n", 401, 200),
        ("first\n", 200, 401),
    ] {
        replace_file(&path, text);
        bench.reloader.look();
        for (secret, expected) in [("first", first), ("second", second)] {
            let asked = client.ask(request(&format!("/postback/{secret}"), "", "<x/>"));
            assert_eq!(asked.await.unwrap().status, expected, "{text} {secret}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn credentials_are_checked_before_the_body_arrives() {
    let dir = tempfile::tempdir().unwrap();
    let mut setup = Setup::default();
    setup.auth.v1.path_secret_file = Some(file(dir.path(), "secret", "s\n"));
    let bench = setup.start();
    let mut client = bench.connect().await;
    client
        .send("POST /postback/x HTTP/1.1\r\nhost: b\r\ncontent-length: 200000\r\ncontent-encoding: gzip\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.unwrap().status, 401);
}

#[tokio::test(start_paused = true)]
async fn a_secret_file_that_cannot_serve_is_a_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut setup = Setup::default();
    setup.auth.ess.basic_file = Some(file(dir.path(), "users", "no colon here: but there\nnone"));
    let error = setup.try_start().err().unwrap().to_string();
    assert!(error.contains("users"), "{error}");
    assert!(!error.contains("colon here"), "{error}");
}

#[test]
fn a_listener_beyond_loopback_needs_a_method_for_each_path() {
    use concur_bridge::config::{SignatureMode, Tls};
    let secret = || Guard {
        path_secret_file: Some("s".into()),
        ..Guard::default()
    };
    let network = || Guard {
        allow_from: vec!["10.0.0.0/8".parse().unwrap()],
        ..Guard::default()
    };
    let tls = |client_ca: Option<&str>| {
        Some(Tls {
            certificate: "c".into(),
            key: "k".into(),
            client_ca: client_ca.map(Into::into),
            client_names: Vec::new(),
        })
    };
    let exposed = |listen: &str, set: &dyn Fn(&mut Setup)| {
        let mut setup = Setup::default();
        setup.ingress.listen = listen.parse().unwrap();
        set(&mut setup);
        check_exposed(&setup.ingress, &setup.auth).len()
    };
    assert_eq!(exposed("127.0.0.1:1", &|_| {}), 0);
    assert_eq!(exposed("[::1]:1", &|_| {}), 0);
    assert_eq!(exposed("0.0.0.0:1", &|_| {}), 2);
    assert_eq!(exposed("[::]:1", &|_| {}), 2);
    assert_eq!(
        exposed("0.0.0.0:1", &|setup| setup
            .ingress
            .insecure_allow_unauthenticated =
            true),
        0
    );
    assert_eq!(exposed("0.0.0.0:1", &|setup| setup.auth.v1 = secret()), 1);
    assert_eq!(
        exposed("0.0.0.0:1", &|setup| {
            setup.auth.v1 = secret();
            setup.auth.ess = network();
        }),
        0
    );
    let signed = |mode| {
        exposed("0.0.0.0:1", &|setup: &mut Setup| {
            setup.auth.v1 = network();
            setup.auth.signature = mode;
        })
    };
    assert_eq!(signed(SignatureMode::Enforce), 0);
    assert_eq!(signed(SignatureMode::Observe), 1);
    assert_eq!(
        exposed("0.0.0.0:1", &|setup| setup.ingress.tls = tls(Some("ca"))),
        0
    );
    assert_eq!(
        exposed("0.0.0.0:1", &|setup| setup.ingress.tls = tls(None)),
        2
    );
}
