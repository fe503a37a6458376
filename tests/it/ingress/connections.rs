//! Slow, idle, cut, too many and stopping connections.

use std::time::Duration;

use concur_bridge::accept::Accepted;
use concur_bridge::ingress::Drained;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

use super::bench::{
    BODY_TIMEOUT, Bench, HEADER_TIMEOUT, IDLE_TIMEOUT, Setup, postback, request, until,
};

/// How long a stopping process lets a connection wait for its client.
const STOPPING_GRACE: Duration = Duration::from_millis(500);

/// How long a closing connection swallows what its client still sends.
const LINGER_TIME: Duration = Duration::from_secs(1);

const MOMENT: Duration = Duration::from_millis(100);

/// The beginning of a request: a head and half of its body.
const HALF_A_BODY: &str =
    "POST /postback?type=fop HTTP/1.1\r\nhost: b\r\ncontent-length: 10\r\n\r\n12345";

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_in_time_closes_the_connection_without_an_answer() {
    let bench = Bench::start();
    for (before, beginning) in [
        (0, ""),
        (0, "POST /postback HTTP/1.1\r\nhost: b\r\n"),
        (2, "POST"),
    ] {
        let mut client = bench.connect().await;
        for _ in 0..before {
            assert_eq!(client.ask(postback("/postback")).await.unwrap().status, 200);
        }
        client.send(beginning).await;
        assert_eq!(client.closed_after().await, HEADER_TIMEOUT, "{beginning}");
    }
    assert_eq!(bench.seen().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_comes_in_the_last_moment_is_answered() {
    let bench = Bench::start();
    let mut client = bench.connect().await;
    client.send("POST /postback?type=fop ").await;
    sleep(HEADER_TIMEOUT - MOMENT).await;
    let rest = "HTTP/1.1\r\nhost: b\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(client.ask(rest).await.unwrap().status, 200);
}

#[tokio::test(start_paused = true)]
async fn dripping_a_head_byte_by_byte_buys_no_time() {
    let bench = Bench::start();
    let mut client = bench.connect().await;
    assert_eq!(client.drip(&[b'P'; 1000], MOMENT).await, HEADER_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn dripping_a_body_byte_by_byte_buys_no_time() {
    let bench = Bench::start();
    let mut client = bench.connect().await;
    client
        .send("POST /postback?type=fop HTTP/1.1\r\nhost: b\r\ncontent-length: 1000\r\n\r\n")
        .await;
    assert_eq!(client.drip(&[b'x'; 999], MOMENT).await, BODY_TIMEOUT);
    assert!(bench.seen().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_outlives_the_header_timeout_and_ends_at_its_own() {
    let bench = Bench::start();
    let mut client = bench.connect().await;
    for _ in 0..2 {
        assert_eq!(client.ask(postback("/postback")).await.unwrap().status, 200);
        sleep(IDLE_TIMEOUT - MOMENT).await;
    }
    assert_eq!(client.closed_after().await, MOMENT);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_late_or_cut_closes_the_connection_without_an_answer() {
    let bench = Bench::start();
    let mut late = bench.connect().await;
    late.send(HALF_A_BODY).await;
    assert_eq!(late.closed_after().await, BODY_TIMEOUT);

    let mut cut = bench.connect().await;
    cut.send(HALF_A_BODY).await;
    cut.stream.shutdown().await.unwrap();
    assert_eq!(cut.closed_after().await, Duration::ZERO);

    let mut chunks = bench.connect().await;
    chunks
        .send("POST /ess HTTP/1.1\r\nhost: b\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12")
        .await;
    chunks.stream.shutdown().await.unwrap();
    assert_eq!(chunks.closed_after().await, Duration::ZERO);
    assert!(bench.seen().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_owed_answer_has_no_deadline() {
    let setup = Setup {
        held: true,
        ..Setup::default()
    };
    let bench = setup.start();
    let mut client = bench.connect().await;
    client.send(postback("/postback")).await;
    sleep(HEADER_TIMEOUT + BODY_TIMEOUT + IDLE_TIMEOUT).await;
    bench.release();
    assert_eq!(client.answer().await.unwrap().status, 200);
    assert_eq!(client.closed_after().await, IDLE_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_closes_its_sending_half_still_gets_its_answer() {
    let bench = Bench::start();
    let mut client = bench.connect().await;
    client.send(request("/postback", "", "<x/>")).await;
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.answer().await.unwrap().status, 200);
    assert_eq!(client.closed_after().await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn after_a_refusal_the_sending_half_closes_and_what_still_comes_is_swallowed_for_a_while() {
    let bench = Bench::start();
    let mut client = bench.connect().await;
    let head = "POST /postback HTTP/1.1\r\nhost: b\r\ncontent-length: 900000\r\n\r\n";
    assert_eq!(client.ask(head).await.unwrap().status, 413);
    assert_eq!(client.stream.read(&mut [0]).await.unwrap(), 0);
    let answered = Instant::now();
    // More than lies in between: somebody reads it.
    client.stream.write_all(&[b'x'; 200_000]).await.unwrap();
    assert_eq!(answered.elapsed(), Duration::ZERO);
    sleep(LINGER_TIME - MOMENT).await;
    assert!(client.stream.write_all(b"x").await.is_ok());
    sleep(MOMENT * 2).await;
    assert!(client.stream.write_all(b"x").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_its_answers_ends_at_the_idle_timeout() {
    let bench = Bench::start();
    let mut client = bench.connect().await;
    // Their answers are more than the connection holds.
    let requests = postback("/postback").repeat(20_000);
    let asked = tokio::time::timeout(IDLE_TIMEOUT * 2, client.stream.write_all(&requests));
    assert!(asked.await.is_ok_and(|sent| sent.is_err()));
}

#[tokio::test(start_paused = true)]
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

#[tokio::test(start_paused = true)]
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
        sleep(MOMENT).await;
    }
    for client in &mut slow[..3] {
        assert_eq!(client.closed_after().await, Duration::ZERO);
    }
    assert_eq!(honest.ask(postback("/postback")).await.unwrap().status, 200);
    for client in &mut slow[3..] {
        client.send("host: b\r\ncontent-length: 0\r\n\r\n").await;
        assert_eq!(client.answer().await.unwrap().status, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn among_proven_clients_the_one_that_was_idle_for_longest_goes() {
    let mut setup = Setup::default();
    setup.ingress.max_connections = 2;
    let bench = setup.start();
    let mut clients = [bench.connect().await, bench.connect().await];
    for turn in [0, 1, 0] {
        let answer = clients[turn].ask(postback("/postback")).await.unwrap();
        assert_eq!(answer.status, 200);
        sleep(MOMENT).await;
    }
    let mut newcomer = bench.connect().await;
    let [mut first, mut second] = clients;
    assert_eq!(second.closed_after().await, Duration::ZERO);
    for client in [&mut first, &mut newcomer] {
        assert_eq!(client.ask(postback("/postback")).await.unwrap().status, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_system_has_no_connection_to_give_the_slowest_goes_and_accepting_goes_on() {
    let bench = Bench::start();
    let mut slow = bench.connect().await;
    let mut later = bench.connect().await;
    bench.fail_to_accept().await;
    assert_eq!(slow.closed_after().await, Duration::ZERO);
    assert_eq!(later.ask(postback("/postback")).await.unwrap().status, 200);
    let mut newcomer = bench.connect().await;
    assert_eq!(newcomer.ask(postback("/ess")).await.unwrap().status, 200);
}

#[tokio::test(start_paused = true)]
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
    // Until both were read: before that nothing is owed.
    sleep(MOMENT).await;
    let mut newcomer = bench.connect().await;
    newcomer.send(postback("/ess")).await;
    sleep(HEADER_TIMEOUT * 2).await;
    assert_eq!(bench.seen().len(), 2);
    bench.release();
    for client in &mut owed {
        assert_eq!(client.answer().await.unwrap().status, 200);
    }
    assert_eq!(newcomer.answer().await.unwrap().status, 200);
}

#[tokio::test(start_paused = true)]
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

#[tokio::test(start_paused = true)]
async fn stopping_closes_idle_connections_and_finishes_the_answers_in_progress() {
    let mut setup = Setup::default().script(|_| Ok(Accepted { id: "late".into() }));
    setup.held = true;
    let bench = setup.start();
    let mut idle = bench.connect().await;
    assert_eq!(idle.ask(postback("/unknown")).await.unwrap().status, 404);
    let mut half = bench.connect().await;
    half.send("POST /post").await;
    let mut slow = bench.connect().await;
    slow.send(HALF_A_BODY).await;
    let mut owed = bench.connect().await;
    owed.send(postback("/postback")).await;
    sleep(MOMENT).await;
    assert_eq!(bench.seen().len(), 1);

    bench.stop();
    assert_eq!(idle.closed_after().await, Duration::ZERO);
    assert!(bench.is_shut());
    assert_eq!(slow.closed_after().await, STOPPING_GRACE - MOMENT);
    assert_eq!(half.closed_after().await, Duration::ZERO);
    sleep(STOPPING_GRACE).await;
    bench.release();
    let answer = owed.answer().await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(owed.is_closed().await);
    assert_eq!(bench.ended().await, Drained::Complete);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_still_open_at_the_drain_deadline_is_reported() {
    let setup = Setup {
        held: true,
        drain_deadline: HEADER_TIMEOUT,
        ..Setup::default()
    };
    let bench = setup.start();
    let mut owed = bench.connect().await;
    owed.send(postback("/postback")).await;
    until(|| bench.seen().len() == 1).await;
    bench.stop();
    let stopped = Instant::now();
    assert_eq!(bench.ended().await, Drained::Cut { answers: 1 });
    assert_eq!(stopped.elapsed(), HEADER_TIMEOUT);
    assert!(owed.is_closed().await);
}
