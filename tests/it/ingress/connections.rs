//! Slow, idle, cut, too many and stopping connections.

use std::time::{Duration, Instant};

use concur_bridge::accept::Accepted;
use concur_bridge::ingress::Drained;
use tokio::io::AsyncWriteExt;

use super::bench::{Bench, Setup, postback, request, until};

const SHORT: Duration = Duration::from_millis(300);

/// Each of the three times, one at a time, is short.
fn impatient(set: impl Fn(&mut concur_bridge::config::Ingress)) -> Bench {
    let mut setup = Setup::default();
    set(&mut setup.ingress);
    setup.start()
}

#[tokio::test]
async fn a_head_that_does_not_come_in_time_closes_the_connection_without_an_answer() {
    let bench = impatient(|ingress| ingress.header_timeout = SHORT);
    for (before, beginning) in [
        (0, ""),
        (0, "POST /postback HTTP/1.1\r\nhost: b\r\n"),
        (2, "POST"),
    ] {
        let mut client = bench.connect().await;
        for _ in 0..before {
            assert_eq!(client.ask(postback("/postback")).await.unwrap().status, 200);
        }
        let began = Instant::now();
        client.send(beginning).await;
        assert!(client.is_closed().await, "{beginning}");
        assert!(began.elapsed() >= SHORT - Duration::from_millis(5));
    }
}

#[tokio::test]
async fn dripping_a_head_byte_by_byte_buys_no_time() {
    let bench = impatient(|ingress| ingress.header_timeout = SHORT);
    let mut client = bench.connect().await;
    let began = Instant::now();
    while began.elapsed() < SHORT * 20 {
        if client.stream.write_all(b"P").await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(client.is_closed().await);
    assert!(began.elapsed() < SHORT * 10);
}

#[tokio::test]
async fn an_idle_connection_outlives_the_header_timeout_and_ends_at_its_own() {
    let bench = impatient(|ingress| {
        ingress.header_timeout = SHORT / 6;
        ingress.idle_timeout = SHORT;
    });
    let mut client = bench.connect().await;
    for _ in 0..2 {
        assert_eq!(client.ask(postback("/postback")).await.unwrap().status, 200);
        // Idle for longer than a head may take.
        tokio::time::sleep(SHORT / 3).await;
    }
    let began = Instant::now();
    assert!(client.is_closed().await);
    assert!(began.elapsed() < SHORT * 10);
}

#[tokio::test]
async fn a_body_that_is_late_or_cut_closes_the_connection_without_an_answer() {
    let bench = impatient(|ingress| ingress.body_timeout = SHORT);
    let head = "POST /postback?type=fop HTTP/1.1\r\nhost: b\r\ncontent-length: 10\r\n\r\n12345";
    let mut late = bench.connect().await;
    late.send(head).await;
    assert!(late.is_closed().await);

    let mut cut = bench.connect().await;
    cut.send(head).await;
    cut.stream.shutdown().await.unwrap();
    assert!(cut.is_closed().await);

    let mut chunks = bench.connect().await;
    chunks
        .send("POST /ess HTTP/1.1\r\nhost: b\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12")
        .await;
    chunks.stream.shutdown().await.unwrap();
    assert!(chunks.is_closed().await);
    assert!(bench.seen().is_empty());
}

#[tokio::test]
async fn a_client_that_closes_its_sending_half_still_gets_its_answer() {
    let bench = Bench::start();
    let mut client = bench.connect().await;
    client.send(request("/postback", "", "<x/>")).await;
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.answer().await.unwrap().status, 200);
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let bench = Bench::start();
    let mut client = bench.connect().await;
    let mut requests = request("/postback", "", "<x/>");
    requests.extend(request("/unknown", "", "12"));
    requests.extend(postback("/ess"));
    client.send(requests).await;
    for status in [200, 404, 200] {
        assert_eq!(client.answer().await.unwrap().status, status);
    }
}

#[tokio::test]
async fn at_the_cap_a_newcomer_takes_the_place_of_the_slowest_unproven_client() {
    let mut setup = Setup::default();
    setup.ingress.max_connections = 3;
    let bench = setup.start();
    let mut honest = bench.connect().await;
    assert_eq!(honest.ask(postback("/postback")).await.unwrap().status, 200);
    let mut slow = Vec::new();
    for _ in 0..5 {
        let mut client = bench.connect().await;
        client.send("POST /postback HTTP/1.1\r\n").await;
        slow.push(client);
    }
    for client in &mut slow[..3] {
        assert!(client.is_closed().await);
    }
    assert_eq!(honest.ask(postback("/postback")).await.unwrap().status, 200);
    slow[4].send("host: b\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(slow[4].answer().await.unwrap().status, 200);
}

#[tokio::test]
async fn at_the_cap_nobody_who_is_owed_an_answer_goes_and_the_newcomer_waits() {
    let mut setup = Setup {
        held: true,
        ..Setup::default()
    };
    setup.ingress.max_connections = 2;
    let bench = setup.start();
    let mut owed = [bench.connect().await, bench.connect().await];
    for client in &mut owed {
        client.send(postback("/postback")).await;
    }
    until(|| bench.seen().len() == 2).await;
    let mut newcomer = bench.connect().await;
    newcomer.send(postback("/ess")).await;
    bench.release();
    for client in &mut owed {
        assert_eq!(client.answer().await.unwrap().status, 200);
    }
    assert_eq!(newcomer.answer().await.unwrap().status, 200);
}

#[tokio::test]
async fn an_honest_client_is_served_among_many_slow_ones() {
    let mut setup = Setup::default();
    setup.ingress.max_connections = 64;
    let bench = setup.start();
    let mut slow = Vec::new();
    for place in 0..300 {
        let mut client = bench.connect().await;
        client
            .send(
                [
                    "",
                    "POST",
                    "POST /postback HTTP/1.1\r\ncontent-length: 9\r\n\r\n1",
                ][place % 3],
            )
            .await;
        slow.push(client);
    }
    for _ in 0..20 {
        let mut honest = bench.connect().await;
        assert_eq!(honest.ask(postback("/postback")).await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn stopping_closes_idle_connections_and_finishes_the_answers_in_progress() {
    let mut setup = Setup::default().script(|_| Ok(Accepted { id: "late".into() }));
    setup.held = true;
    let bench = setup.start();
    let mut idle = bench.connect().await;
    assert_eq!(idle.ask(postback("/unknown")).await.unwrap().status, 404);
    let mut half = bench.connect().await;
    half.send("POST /post").await;
    let mut slow = bench.connect().await;
    slow.send("POST /postback HTTP/1.1\r\nhost: b\r\ncontent-length: 9\r\n\r\n1")
        .await;
    let mut owed = bench.connect().await;
    owed.send(postback("/postback")).await;
    until(|| bench.seen().len() == 1).await;

    bench.stop();
    assert!(slow.is_closed().await);
    assert!(idle.is_closed().await);
    assert!(half.is_closed().await);
    until(|| std::net::TcpStream::connect(bench.address).is_err()).await;
    bench.release();
    let answer = owed.answer().await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(owed.is_closed().await);
    assert_eq!(bench.ended().await, Drained::Complete);
}

#[tokio::test]
async fn an_answer_that_is_still_open_at_the_drain_deadline_is_reported() {
    let setup = Setup {
        held: true,
        drain_deadline: SHORT,
        ..Setup::default()
    };
    let bench = setup.start();
    let mut owed = bench.connect().await;
    owed.send(postback("/postback")).await;
    until(|| bench.seen().len() == 1).await;
    bench.stop();
    assert_eq!(bench.ended().await, Drained::Cut { answers: 1 });
    assert!(owed.is_closed().await);
}
