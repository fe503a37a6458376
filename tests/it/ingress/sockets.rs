//! What only a real socket can show: the port, the kernel's buffers and resets, both ends of TCP.

use std::fs;

use concur_bridge::config::{Guard, Tls};
use concur_bridge::ingress::Drained;
use openssl::ssl::{SslConnector, SslMethod};
use tokio::io::AsyncWriteExt;

use super::bench::{Setup, postback, request, until};
use crate::support::bridge::exchange_over;

#[tokio::test]
async fn requests_on_one_connection_are_answered_and_the_peer_is_the_clients_address() {
    let mut setup = Setup::default();
    setup.auth.v1 = Guard {
        allow_from: vec!["127.0.0.0/8".parse().unwrap()],
        ..Guard::default()
    };
    setup.auth.ess = Guard {
        allow_from: vec!["192.0.2.0/24".parse().unwrap()],
        ..Guard::default()
    };
    let bench = setup.bind().unwrap();
    let mut client = bench.connect().await;
    for _ in 0..3 {
        assert_eq!(client.ask(postback("/postback")).await.unwrap().status, 200);
        assert_eq!(client.ask(postback("/ess")).await.unwrap().status, 401);
    }
    assert_eq!(bench.seen().len(), 3);
}

#[tokio::test]
async fn a_client_that_closes_its_sending_half_still_gets_its_answer() {
    let bench = Setup::default().bind().unwrap();
    let mut client = bench.connect().await;
    client.send(request("/postback", "", "<x/>")).await;
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.answer().await.unwrap().status, 200);
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_sends_a_large_body() {
    let bench = Setup::default().bind().unwrap();
    let body = "x".repeat(900_000);
    for _ in 0..20 {
        let mut client = bench.connect().await;
        let answer = client.ask(request("/postback", "", &body)).await.unwrap();
        assert_eq!(answer.status, 413);
    }
}

#[tokio::test]
async fn a_port_in_use_is_a_clear_error() {
    let bench = Setup::default().bind().unwrap();
    let mut setup = Setup::default();
    setup.ingress.listen = bench.address();
    let error = setup.bind().err().unwrap().to_string();
    assert!(
        error.contains("in use") && error.contains(&bench.address().to_string()),
        "{error}"
    );
}

#[tokio::test]
async fn stopping_refuses_newcomers_and_answers_who_is_owed() {
    let setup = Setup {
        held: true,
        ..Setup::default()
    };
    let bench = setup.bind().unwrap();
    let mut owed = bench.connect().await;
    owed.send(postback("/postback")).await;
    until(|| bench.seen().len() == 1).await;
    bench.stop();
    until(|| std::net::TcpStream::connect(bench.address()).is_err()).await;
    bench.release();
    assert_eq!(owed.answer().await.unwrap().status, 200);
    assert!(owed.is_closed().await);
    assert_eq!(bench.ended().await, Drained::Complete);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_openssl_client_posts_over_tls() {
    let identity = rcgen::generate_simple_self_signed(["bridge".to_owned()]).unwrap();
    let files = tempfile::tempdir().unwrap();
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| files.path().join(name));
    fs::write(&certificate, identity.cert.pem()).unwrap();
    fs::write(&key, identity.signing_key.serialize_pem()).unwrap();
    let mut setup = Setup::default();
    setup.ingress.tls = Some(Tls {
        certificate: certificate.clone(),
        key,
        client_ca: None,
        client_names: Vec::new(),
    });
    let bench = setup.bind().unwrap();

    let mut connector = SslConnector::builder(SslMethod::tls()).unwrap();
    connector.set_ca_file(&certificate).unwrap();
    let connector = connector.build();
    let address = bench.address();
    let asking = tokio::task::spawn_blocking(move || {
        let stream = std::net::TcpStream::connect(address).unwrap();
        let stream = connector.connect("bridge", stream).unwrap();
        exchange_over(
            stream,
            &request("/postback", "connection: close\r\n", "<x/>"),
        )
    });
    assert_eq!(asking.await.unwrap().status, 200);
    assert_eq!(bench.seen().len(), 1);
}
