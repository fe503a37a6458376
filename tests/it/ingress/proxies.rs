//! PROXY protocol v2 in front of HTTP.

use std::time::Duration;

use concur_bridge::config::Guard;
use tokio::time::sleep;

use super::bench::{Bench, HEADER_TIMEOUT, Setup, postback};

const MOMENT: Duration = Duration::from_millis(100);

fn header(command: u8, client: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend_from_slice(&[command, 0x11, 0, 15]);
    header.extend_from_slice(&client);
    header.extend_from_slice(&[127, 0, 0, 1, 0x10, 0, 0, 80]);
    // An extension that nobody asked for.
    header.extend_from_slice(&[0x04, 0, 0]);
    header
}

fn bench(trusted: &str) -> Bench {
    let mut setup = Setup::default();
    setup.ingress.proxy_protocol = true;
    setup.auth.v1 = Guard {
        allow_from: vec!["192.0.2.0/24".parse().unwrap()],
        trusted_proxies: vec![trusted.parse().unwrap()],
        ..Guard::default()
    };
    setup.start()
}

#[tokio::test(start_paused = true)]
async fn the_client_that_a_trusted_proxy_names_is_the_one_that_is_checked() {
    let bench = bench("127.0.0.0/8");
    for (command, client, expected) in [
        (0x21, [192, 0, 2, 1], 200),
        (0x21, [198, 51, 100, 1], 401),
        (0x20, [192, 0, 2, 1], 401),
    ] {
        let mut connection = bench.connect().await;
        let mut bytes = header(command, client);
        bytes.extend(postback("/postback"));
        assert_eq!(connection.ask(bytes).await.unwrap().status, expected);
        // The header is for the connection, not for each request.
        assert_eq!(
            connection.ask(postback("/postback")).await.unwrap().status,
            expected
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_header_in_pieces_is_read() {
    let bench = bench("127.0.0.0/8");
    let mut connection = bench.connect().await;
    for byte in header(0x21, [192, 0, 2, 1]) {
        connection.send([byte]).await;
        sleep(MOMENT).await;
    }
    assert_eq!(
        connection.ask(postback("/postback")).await.unwrap().status,
        200
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_header_or_from_an_untrusted_peer_the_connection_is_closed() {
    let mut whole = header(0x21, [192, 0, 2, 1]);
    whole.extend(postback("/postback"));
    let trusting = bench("127.0.0.0/8");
    let wary = bench("10.0.0.0/8");
    let version_1 = b"PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r\n".to_vec();
    for (bench, bytes, after) in [
        (&trusting, postback("/postback"), Duration::ZERO),
        (&trusting, version_1, Duration::ZERO),
        (&trusting, whole[..20].to_vec(), HEADER_TIMEOUT),
        (&trusting, Vec::new(), HEADER_TIMEOUT),
        (&wary, whole.clone(), Duration::ZERO),
    ] {
        let mut connection = bench.connect().await;
        connection.send(bytes).await;
        assert_eq!(connection.closed_after().await, after);
    }
    assert!(trusting.seen().is_empty() && wary.seen().is_empty());
}

#[tokio::test(start_paused = true)]
async fn dripping_a_header_byte_by_byte_buys_no_time_and_neither_the_head_after_it() {
    let bench = bench("127.0.0.0/8");
    let mut connection = bench.connect().await;
    let pace = HEADER_TIMEOUT / 10;
    let header = header(0x21, [192, 0, 2, 1]);
    assert_eq!(connection.drip(&header, pace).await, HEADER_TIMEOUT);

    let mut connection = bench.connect().await;
    connection.send(header).await;
    sleep(pace).await;
    let rest = connection.drip(&[b'P'; 100], pace).await;
    assert_eq!(rest, HEADER_TIMEOUT - pace);
}

#[tokio::test(start_paused = true)]
async fn a_header_that_was_not_asked_for_is_no_request() {
    let bench = Bench::start();
    let mut connection = bench.connect().await;
    let mut bytes = header(0x21, [192, 0, 2, 1]);
    bytes.extend(postback("/postback"));
    let answer = connection.ask(bytes).await.unwrap();
    assert_eq!(answer.status, 400);
    assert!(connection.is_closed().await);
    assert!(bench.seen().is_empty());
}
