//! Every row of the table of answers.

use std::time::Duration;

use concur_bridge::accept::{Accepted, Refusal, Unavailable};
use concur_bridge::normalise::{Malformed, Reason};
use concur_bridge::postback::Dialect;
use tokio::time::Instant;

use super::bench::{Bench, Setup, postback, request, until};

/// How long a refusal waits for the rest of a small body, so that the connection can be used again.
const DISCARD_TIME: Duration = Duration::from_millis(250);

fn problem(word: &str) -> String {
    format!("urn:concur-bridge:problem:{word}")
}

#[tokio::test(start_paused = true)]
async fn a_postback_is_answered_200_with_its_id_and_handed_over_as_it_came() {
    let bench = Bench::start();
    let mut client = bench.connect().await;
    let answer = client
        .ask(request(
            "/postback",
            "x-kept: 1\r\nexpect: nothing\r\n",
            "<x/>",
        ))
        .await
        .unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.json(), serde_json::json!({ "id": "id-1" }));
    assert_eq!(client.ask(postback("/ess")).await.unwrap().status, 200);

    let seen = bench.seen();
    assert_eq!(seen[0].dialect, Dialect::V1);
    assert_eq!(seen[0].query, "type=fop&oauth_token_key=t");
    assert_eq!(&seen[0].body[..], b"<x/>");
    assert_eq!(seen[0].headers["x-kept"], "1");
    assert_eq!(seen[0].received_at.subsec_nanosecond() % 1_000_000, 0);
    assert_eq!(seen[1].dialect, Dialect::Ess);
}

#[tokio::test(start_paused = true)]
async fn a_malformed_postback_is_answered_400_with_its_reason_and_quarantine_id() {
    let bench = Setup::default()
        .script(|_| {
            Err(Refusal::Malformed {
                malformed: Malformed::new(Reason::Doctype, "a DOCTYPE is not allowed"),
                quarantine_id: "q-7".into(),
            })
        })
        .start();
    let mut client = bench.connect().await;
    let answer = client.ask(postback("/postback")).await.unwrap();
    assert_eq!(answer.status, 400);
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(answer.json()["type"], problem("doctype"));
    assert_eq!(answer.json()["status"], 400);
    assert_eq!(answer.json()["quarantineId"], "q-7");
    assert_eq!(client.ask(postback("/postback")).await.unwrap().status, 400);
}

#[tokio::test(start_paused = true)]
async fn what_is_our_fault_is_answered_503_with_retry_after() {
    for unavailable in [
        Unavailable::JournalFull,
        Unavailable::QuarantineFull,
        Unavailable::QueueFull,
        Unavailable::Closing,
        Unavailable::JournalFailed,
        Unavailable::KafkaUnavailable,
    ] {
        let bench = Setup::default()
            .script(move |_| Err(Refusal::Unavailable(unavailable)))
            .start();
        let answer = bench.connect().await.ask(postback("/ess")).await.unwrap();
        assert_eq!(answer.status, 503);
        let seconds = answer
            .header("retry-after")
            .unwrap()
            .parse::<u32>()
            .unwrap();
        assert!((1..=60).contains(&seconds));
        assert_eq!(answer.json()["type"], problem(unavailable.reason()));
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_path_comes_before_a_wrong_method_and_both_before_the_body() {
    let bench = Bench::start();
    for (line, status, word) in [
        ("POST /", 404, "unknown_path"),
        ("GET /nothing", 404, "unknown_path"),
        ("POST /postback/", 404, "unknown_path"),
        ("POST /postback/x", 404, "unknown_path"),
        ("POST /postbackx", 404, "unknown_path"),
        ("POST //postback", 404, "unknown_path"),
        ("POST /post%62ack", 404, "unknown_path"),
        ("POST /POSTBACK", 404, "unknown_path"),
        ("GET /postback", 405, "method_not_allowed"),
        ("PUT /ess", 405, "method_not_allowed"),
        ("OPTIONS /ess", 405, "method_not_allowed"),
    ] {
        let mut client = bench.connect().await;
        // The body never comes: the answer does not wait for it.
        client
            .send(format!(
                "{line} HTTP/1.1\r\nhost: b\r\ncontent-length: 9999999\r\n\r\n"
            ))
            .await;
        let answer = client.answer().await.unwrap();
        assert_eq!(answer.status, status, "{line}");
        assert_eq!(answer.json()["type"], problem(word), "{line}");
        assert_eq!(
            answer.header("allow"),
            (status == 405).then_some("POST"),
            "{line}"
        );
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(client.is_closed().await);
    }
    assert!(bench.seen().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_encoded_body_is_415_and_one_over_the_limit_413() {
    let mut setup = Setup::default();
    setup.ingress.max_body_bytes = 8;
    let bench = setup.start();
    for (headers, body, status, word) in [
        (
            "content-encoding: gzip\r\n",
            "1234",
            415,
            "unsupported_encoding",
        ),
        (
            "content-encoding: gzip\r\n",
            "123456789",
            415,
            "unsupported_encoding",
        ),
        ("", "123456789", 413, "body_too_large"),
    ] {
        let answer = bench
            .connect()
            .await
            .ask(request("/postback", headers, body))
            .await;
        let answer = answer.unwrap();
        assert_eq!(answer.status, status);
        assert_eq!(answer.json()["type"], problem(word));
    }
    let answer = bench
        .connect()
        .await
        .ask("POST /ess HTTP/1.1\r\nhost: b\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\n4\r\n6789\r\n0\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(answer.status, 413);
    assert!(bench.seen().is_empty());

    let exact = request("/postback", "content-encoding: Identity\r\n", "12345678");
    assert_eq!(bench.connect().await.ask(exact).await.unwrap().status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_small_body_of_a_refused_request_is_dropped_and_the_connection_used_again() {
    let bench = Bench::start();
    let mut client = bench.connect().await;
    for _ in 0..3 {
        let answer = client
            .ask(request("/unknown", "", "0123456789"))
            .await
            .unwrap();
        assert_eq!(answer.status, 404);
        assert_eq!(answer.header("connection"), None);
    }
    assert_eq!(client.ask(postback("/postback")).await.unwrap().status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_small_body_that_does_not_come_delays_a_refusal_for_a_moment_only() {
    let bench = Bench::start();
    let mut client = bench.connect().await;
    client
        .send("POST /unknown HTTP/1.1\r\nhost: b\r\ncontent-length: 9\r\n\r\n1")
        .await;
    let asked = Instant::now();
    let answer = client.answer().await.unwrap();
    assert_eq!(answer.status, 404);
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(asked.elapsed(), DISCARD_TIME);
    assert!(client.is_closed().await);
}

#[tokio::test(start_paused = true)]
async fn a_large_body_is_refused_in_an_answer_that_the_client_can_read() {
    let bench = Bench::start();
    let mut client = bench.connect().await;
    let large = request("/postback", "", &"x".repeat(900_000));
    assert_eq!(client.ask(large).await.unwrap().status, 413);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_waits_to_be_asked_is_refused_before_it_sends_and_asked_when_welcome() {
    let bench = Bench::start();
    let mut client = bench.connect().await;
    let head = |path| {
        format!(
            "POST {path}?a HTTP/1.1\r\nhost: b\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n"
        )
    };
    assert_eq!(client.ask(head("/postback")).await.unwrap().status, 100);
    assert_eq!(client.ask("<x/>").await.unwrap().status, 200);
    assert_eq!(client.ask(head("/unknown")).await.unwrap().status, 404);
    assert!(client.is_closed().await);
}

#[tokio::test(start_paused = true)]
async fn the_postback_never_has_the_headers_of_the_connection() {
    let bench = Bench::start();
    let mut client = bench.connect().await;
    let answer = client
        .ask("POST /ess HTTP/1.1\r\nhost: b\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nConnection: close\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(answer.status, 200);
    let seen = bench.seen();
    let names: Vec<_> = seen[0].headers.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["host"]);
    assert_eq!(&seen[0].body[..], b"{}");
}

#[tokio::test(start_paused = true)]
async fn more_requests_in_flight_than_allowed_are_shed_and_the_connection_stays() {
    let mut setup = Setup::default().script(|_| Ok(Accepted { id: "x".into() }));
    setup.held = true;
    setup.ingress.max_in_flight = 2;
    let bench = setup.start();
    let (mut first, mut second) = (bench.connect().await, bench.connect().await);
    first.send(postback("/postback")).await;
    second.send(postback("/postback")).await;
    until(|| bench.seen().len() == 2).await;

    let mut third = bench.connect().await;
    let shed = third.ask(request("/postback", "", "<x/>")).await.unwrap();
    assert_eq!(shed.status, 503);
    assert_eq!(shed.json()["type"], problem("overloaded"));
    assert!(shed.header("retry-after").is_some());
    // Who would not be let in learns nothing about the load.
    assert_eq!(third.ask(postback("/unknown")).await.unwrap().status, 404);

    bench.release();
    assert_eq!(first.answer().await.unwrap().status, 200);
    assert_eq!(second.answer().await.unwrap().status, 200);
    assert_eq!(third.ask(postback("/postback")).await.unwrap().status, 200);
}
