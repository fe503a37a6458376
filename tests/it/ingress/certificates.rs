//! TLS, and client certificates by name, purpose, time and authority.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use concur_bridge::config::Tls;
use concur_bridge::ingress::Drained;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::DuplexStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::bench::{Bench, HEADER_TIMEOUT, Setup, postback, replace_file, request, within};
use super::client::Client;

const NAME: &str = "webhook.api.concursolutions.com";

/// An authority that signs what is asked of it.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key, PEM.
#[derive(Clone)]
struct Identity {
    certificate: String,
    key: String,
}

/// What a certificate says.
struct Wanted {
    common: &'static str,
    alternative: &'static [&'static str],
    purpose: ExtendedKeyUsagePurpose,
    years: (i32, i32),
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            common: NAME,
            alternative: &[],
            purpose: ExtendedKeyUsagePurpose::ClientAuth,
            years: (2020, 2120),
        }
    }
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "test authority");
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    fn sign(&self, wanted: &Wanted) -> Identity {
        let names: Vec<String> = wanted.alternative.iter().map(|&name| name.into()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, wanted.common);
        params.extended_key_usages = vec![wanted.purpose.clone()];
        params.not_before = date_time_ymd(wanted.years.0, 1, 1);
        params.not_after = date_time_ymd(wanted.years.1, 1, 1);
        let key = KeyPair::generate().unwrap();
        Identity {
            certificate: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    fn server(&self) -> Identity {
        self.sign(&Wanted {
            common: "bridge",
            alternative: &["bridge.example"],
            purpose: ExtendedKeyUsagePurpose::ServerAuth,
            years: (2020, 2120),
        })
    }
}

fn write(dir: &Path, identity: &Identity) {
    replace_file(&dir.join("cert.pem"), &identity.certificate);
    replace_file(&dir.join("key.pem"), &identity.key);
}

fn bench(dir: &Path, server: &Identity, client_ca: Option<&str>) -> Bench {
    write(dir, server);
    let client_ca = client_ca.map(|pem| {
        let path = dir.join("ca.pem");
        fs::write(&path, pem).unwrap();
        path
    });
    let mut setup = Setup::default();
    setup.ingress.tls = Some(Tls {
        certificate: dir.join("cert.pem"),
        key: dir.join("key.pem"),
        client_ca,
        client_names: vec![NAME.into()],
    });
    setup.start()
}

/// A client that trusts `authority` and shows `identity`.
async fn connect(
    bench: &Bench,
    authority: &Authority,
    identity: Option<&Identity>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> std::io::Result<Client<TlsStream<DuplexStream>>> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap())
        .unwrap();
    let builder =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap(),
            )
            .unwrap(),
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = bench.connect().await.stream;
    let name = ServerName::try_from("bridge.example").unwrap();
    let stream = within(TlsConnector::from(Arc::new(config)).connect(name, stream)).await?;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    Ok(Client::new(stream))
}

/// The status of a postback; `None` when the handshake or the connection failed instead.
async fn status(bench: &Bench, authority: &Authority, identity: Option<&Identity>) -> Option<u16> {
    let connected = connect(bench, authority, identity, rustls::ALL_VERSIONS).await;
    let answer = connected.ok()?.ask(postback("/postback")).await?;
    Some(answer.status)
}

#[tokio::test(start_paused = true)]
async fn postbacks_come_over_tls_1_2_and_1_3() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let bench = bench(dir.path(), &authority.server(), None);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut client = connect(&bench, &authority, None, &[version]).await.unwrap();
        for _ in 0..2 {
            assert_eq!(client.ask(postback("/postback")).await.unwrap().status, 200);
        }
        let large = request("/postback", "", &"x".repeat(400_000));
        assert_eq!(client.ask(large).await.unwrap().status, 413);
    }
}

#[tokio::test(start_paused = true)]
async fn plain_http_on_a_tls_listener_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let bench = bench(dir.path(), &Authority::new().server(), None);
    let mut client = bench.connect().await;
    client.send(postback("/postback")).await;
    let mut rest = Vec::new();
    let _ = within(tokio::io::AsyncReadExt::read_to_end(
        &mut client.stream,
        &mut rest,
    ))
    .await;
    assert!(!rest.starts_with(b"HTTP"));
    assert!(bench.seen().is_empty());
}

#[tokio::test(start_paused = true)]
async fn client_certificates_are_told_apart_by_name_purpose_time_and_authority() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let bench = bench(dir.path(), &authority.server(), Some(&authority.pem));
    let client = |wanted: Wanted| authority.sign(&wanted);
    let default = Wanted::default;
    let cases = [
        ("right common name", Some(client(default())), Some(200)),
        (
            "right alternative name",
            Some(client(Wanted {
                common: "x",
                alternative: &[NAME],
                ..default()
            })),
            Some(200),
        ),
        (
            "wrong name",
            Some(client(Wanted {
                common: "x",
                ..default()
            })),
            Some(401),
        ),
        (
            "name as a suffix",
            Some(client(Wanted {
                common: "evil.webhook.api.concursolutions.com",
                ..default()
            })),
            Some(401),
        ),
        (
            "meant for servers",
            Some(client(Wanted {
                purpose: ExtendedKeyUsagePurpose::ServerAuth,
                ..default()
            })),
            None,
        ),
        (
            "expired",
            Some(client(Wanted {
                years: (2020, 2021),
                ..default()
            })),
            None,
        ),
        (
            "not yet valid",
            Some(client(Wanted {
                years: (2110, 2120),
                ..default()
            })),
            None,
        ),
        (
            "of another authority",
            Some(Authority::new().sign(&default())),
            None,
        ),
        ("none", None, None),
    ];
    for (case, identity, expected) in &cases {
        let seen = bench.seen().len();
        assert_eq!(
            status(&bench, &authority, identity.as_ref()).await,
            *expected,
            "{case}"
        );
        let kept = bench.seen().len() - seen;
        assert_eq!(kept, usize::from(*expected == Some(200)), "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_certificate_is_for_new_connections_and_an_invalid_one_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (Authority::new(), Authority::new());
    let mut bench = bench(dir.path(), &old.server(), None);
    let mut open = connect(&bench, &old, None, rustls::ALL_VERSIONS)
        .await
        .unwrap();
    assert_eq!(open.ask(postback("/postback")).await.unwrap().status, 200);

    // The key of one and the certificate of the other do not go together.
    let next = new.server();
    replace_file(&dir.path().join("cert.pem"), &next.certificate);
    bench.reloader.look();
    assert_eq!(status(&bench, &old, None).await, Some(200));
    replace_file(&dir.path().join("key.pem"), &next.key);
    bench.reloader.look();
    assert_eq!(status(&bench, &new, None).await, Some(200));
    assert_eq!(status(&bench, &old, None).await, None);

    assert_eq!(open.ask(postback("/postback")).await.unwrap().status, 200);
    replace_file(&dir.path().join("cert.pem"), "junk");
    bench.reloader.look();
    assert_eq!(status(&bench, &new, None).await, Some(200));
}

#[tokio::test(start_paused = true)]
async fn handshakes_that_stall_are_ended_and_stopping_does_not_wait_for_them() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let bench = bench(dir.path(), &authority.server(), None);
    let hello = [0x16, 0x03, 0x01];
    for beginning in [&hello[..], b""] {
        let mut stalled = bench.connect().await;
        stalled.send(beginning).await;
        assert_eq!(status(&bench, &authority, None).await, Some(200));
        assert_eq!(stalled.closed_after().await, HEADER_TIMEOUT);
    }
    let mut dripping = bench.connect().await;
    let record = [&hello[..], &[0x02; 200]].concat();
    let pace = HEADER_TIMEOUT / 100;
    assert_eq!(dripping.drip(&record, pace).await, HEADER_TIMEOUT);

    let mut stalled = bench.connect().await;
    stalled.send(hello).await;
    bench.stop();
    assert_eq!(stalled.closed_after().await, Duration::ZERO);
    assert_eq!(bench.ended().await, Drained::Complete);
}
