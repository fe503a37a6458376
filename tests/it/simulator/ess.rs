//! Webhooks: retry rules, signatures, subscriptions, mutual TLS.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use concur_bridge::concur::oauth::ClientCredentials;
use concur_bridge::concur::subscriptions::{Access, SubscriptionId, Subscriptions};
use concur_bridge::concur::{BaseUrl, Client, Patience};
use concur_bridge::config;
use concur_bridge::secret::Token;
use concur_bridge::simulator::{
    CLIENT_NAME, Certificates, Faults, Salt, SigningKey, Simulator, Summary, Target, Trust,
};
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rsa::Padding;
use openssl::sign::{RsaPssSaltlen, Verifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;

use super::{finish, receiver, simulator, until};
use crate::fake_http::{FakeHttp, Reply, Request, reply};

fn webhooks(receiver: &FakeHttp, count: u64) -> Simulator {
    Simulator {
        target: None,
        ess_target: Some(Target::parse(&receiver.url("/ess")).unwrap()),
        ..simulator(receiver, count)
    }
}

fn envelope(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

#[tokio::test]
async fn an_event_is_sent_again_until_it_is_taken_or_refused_for_good() {
    // Again and again once, then each once: the pauses grow.
    let answers = [
        "503", "503", "200", "401", "200", "403", "200", "429", "200", "close", "200", "400", "200",
    ];
    let receiver = FakeHttp::start(
        move |number, _| match answers[number.min(answers.len() - 1)] {
            "close" => Reply::Close,
            status => reply(&format!("{status} x"), "", ""),
        },
    )
    .await;
    let mut simulator = webhooks(&receiver, 7);
    simulator.connections = 1;
    let summary = finish(simulator).await;
    let ids: Vec<_> = receiver
        .requests()
        .iter()
        .map(|request| envelope(request)["id"].to_string())
        .collect();
    // The same event until it is taken, and 400 is final.
    let events: Vec<usize> = ids
        .chunk_by(|left, right| left == right)
        .map(<[_]>::len)
        .collect();
    assert_eq!(events, [3, 2, 2, 2, 2, 1, 1], "{ids:?}");
    assert_eq!(
        (
            summary.sent,
            summary.retried,
            summary.unanswered,
            summary.undelivered
        ),
        (7, 6, 1, 0)
    );
}

#[tokio::test]
async fn what_is_not_taken_when_the_run_ends_is_counted() {
    let receiver = FakeHttp::start(|_, _| reply("503 Service Unavailable", "", "")).await;
    let mut simulator = webhooks(&receiver, 1);
    simulator.connections = 1;
    let running = simulator.start().await.unwrap();
    until(|| running.summary().retried >= 2).await;
    let Summary {
        sent, undelivered, ..
    } = running.stop().await;
    assert_eq!((sent, undelivered), (1, 1));
}

#[tokio::test]
async fn every_webhook_is_signed_over_its_body_even_a_malformed_one() {
    let receiver = FakeHttp::start(|_, request| {
        let is_json = serde_json::from_slice::<Value>(&request.body).is_ok();
        if is_json {
            reply("200 OK", "", "")
        } else {
            reply("400 Bad Request", "", "")
        }
    })
    .await;
    let key = SigningKey::generate(Salt::Maximum).unwrap();
    let public = PKey::public_key_from_pem(&key.public_pem().unwrap()).unwrap();
    let mut simulator = webhooks(&receiver, 60);
    (simulator.signing, simulator.prepare) = (Some(key), true);
    simulator.faults = Faults {
        malformed: 0.3,
        duplicate: 0.2,
        slow: 0.0,
    };
    let summary = finish(simulator).await;
    assert_eq!(
        summary.answered_in(2) + summary.answered_in(4),
        summary.sent + summary.duplicates
    );
    assert!(
        summary.malformed > 0 && summary.answered_in(4) >= summary.malformed,
        "{summary:?}"
    );
    for request in receiver.requests() {
        assert_eq!(request.line(), "POST /ess HTTP/1.1");
        assert!(request.header("concur-correlationid").is_some());
        let signature = STANDARD
            .decode(request.header("concur-signature").unwrap())
            .unwrap();
        let mut verifier = Verifier::new(MessageDigest::sha256(), &public).unwrap();
        verifier.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
        verifier.set_rsa_mgf1_md(MessageDigest::sha256()).unwrap();
        verifier
            .set_rsa_pss_saltlen(RsaPssSaltlen::MAXIMUM_LENGTH)
            .unwrap();
        assert!(verifier.verify_oneshot(&signature, &request.body).unwrap());
    }
}

#[tokio::test]
async fn a_subscription_made_through_the_api_is_posted_to_filtered_and_ended() {
    let receiver = receiver().await;
    let mut simulator = webhooks(&receiver, 0);
    (simulator.count, simulator.ess_target) = (None, None);
    let running = simulator.start().await.unwrap();
    let base = BaseUrl::parse(&format!("http://{}", running.address().unwrap())).unwrap();
    let secret = Token::new("secret".to_owned());
    let access = Access::Credentials(ClientCredentials {
        id: "app".to_owned(),
        secret,
    });
    let concur = Subscriptions::new(Client::new(base, Patience::default()).unwrap(), access);

    assert_eq!(
        concur.topics().await.unwrap()[0],
        "public.concur.travel.itinerary"
    );
    let wanted = config::Subscription {
        id: "trips.test".to_owned(),
        topic: "public.concur.travel.itinerary".to_owned(),
        filter: "ItineraryCreated|ItineraryCancelled".to_owned(),
        endpoint: receiver.url("/ess/secret"),
    };
    assert_eq!(
        concur.put(&wanted).await.unwrap(),
        "Subscription 'trips.test' saved successfully"
    );
    until(|| receiver.requests().len() > 50).await;
    for request in receiver.requests() {
        assert_eq!(request.line(), "POST /ess/secret HTTP/1.1");
        assert_ne!(envelope(&request)["eventType"], "ItineraryUpdated");
    }
    let id = SubscriptionId::parse("trips.test").unwrap();
    assert_eq!(
        concur.get(&id).await.unwrap().unwrap().endpoint(),
        wanted.endpoint
    );
    let bad = config::Subscription {
        filter: "^x$".to_owned(),
        ..wanted.clone()
    };
    assert_eq!(concur.put(&bad).await.unwrap_err().status().unwrap(), 400);
    concur.delete(&id).await.unwrap();
    assert_eq!(concur.list().await.unwrap(), []);
    assert_eq!(concur.get(&id).await.unwrap_err().status().unwrap(), 404);
    running.stop().await;
}

#[tokio::test]
async fn mutual_tls_shows_concurs_name_and_trusts_the_same_authority() {
    let directory = tempfile::tempdir().unwrap();
    let certificates = Certificates::open(&directory.path().join("mtls")).unwrap();
    let authority = std::fs::read(certificates.authority()).unwrap();
    let receiver = receiver().await;
    let (address, names) = tls_in_front_of(&receiver, &certificates).await;

    let mut simulator = webhooks(&receiver, 20);
    simulator.ess_target =
        Some(Target::parse(&format!("https://localhost:{}/ess", address.port())).unwrap());
    // Opened again: what is there is kept.
    let again = Certificates::open(&directory.path().join("mtls")).unwrap();
    assert_eq!(std::fs::read(again.authority()).unwrap(), authority);
    simulator.trust = Trust {
        authorities: None,
        certificates: Some(again),
    };
    let summary = finish(simulator).await;
    assert_eq!((summary.answered_in(2), summary.unanswered), (20, 0));
    let names = names.lock().unwrap().clone();
    assert!(
        !names.is_empty() && names.iter().all(|name| name.contains(CLIENT_NAME)),
        "{names:?}"
    );
}

/// Ends TLS, demands a client certificate, and passes the bytes on. Tells the names of the clients.
async fn tls_in_front_of(
    receiver: &FakeHttp,
    certificates: &Certificates,
) -> (std::net::SocketAddr, Arc<std::sync::Mutex<Vec<String>>>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(certificates.authority()).unwrap())
        .unwrap();
    let (chain, key) = certificates.server();
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots),
        Arc::clone(&provider),
    );
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(
            vec![CertificateDer::from_pem_file(chain).unwrap()],
            PrivateKeyDer::from_pem_file(key).unwrap(),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let names = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (behind, seen) = (receiver.address, Arc::clone(&names));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = acceptor.accept(stream).await.unwrap();
            let certificate = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
            let certificate = openssl::x509::X509::from_der(&certificate).unwrap();
            seen.lock()
                .unwrap()
                .push(format!("{:?}", certificate.subject_name()));
            tokio::spawn(async move {
                let mut behind = tokio::net::TcpStream::connect(behind).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut behind).await;
            });
        }
    });
    (address, names)
}
