//! Whether slow clients that take every connection keep honest ones from their answers. What they cost in memory is for
//! `dev/bench attacks`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::LazyLock;
use std::time::Duration;

use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};

use crate::support::bridge::{Bridge, Home, exchange_over};
use crate::support::wait::wait_until;

/// Connections that the bridge allows.
const CAP: &str = "40";

/// Slow ones: as many as that, and some that push others out.
const CONNECTIONS: usize = 60;

const PATIENCE: Duration = Duration::from_secs(60);

const HONEST: &str = "/postback?type=itinerary&oauth_token_key=nqp8WxIsZ1lZ3uR7";
const NOTIFICATION: &[u8] = b"<Notification><TripId>abc</TripId></Notification>";

/// Makes TLS connections to whoever.
static CONNECTOR: LazyLock<SslConnector> = LazyLock::new(|| {
    let mut connector = SslConnector::builder(SslMethod::tls()).unwrap();
    connector.set_verify(SslVerifyMode::NONE);
    connector.build()
});

/// What is spoken below HTTP.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layer {
    Tcp,
    /// TLS is expected, and a client never gets beyond the beginning of a handshake.
    HalfTls,
    Tls,
}

/// What one slow client does once it is connected.
struct Attack {
    name: &'static str,
    layer: Layer,
    /// Sent once.
    sends: Vec<u8>,
    /// Whether an answer to that is waited for before the client falls silent.
    answered: bool,
}

fn attacks() -> Vec<Attack> {
    let attack = |name, layer, sends: &[u8], answered| Attack {
        name,
        layer,
        sends: sends.to_vec(),
        answered,
    };
    let post = |length: usize, body: &[u8]| {
        let head = format!("POST {HONEST} HTTP/1.1\r\nhost: b\r\ncontent-length: {length}\r\n\r\n");
        [head.as_bytes(), body].concat()
    };
    let beginning = b"POST /postback HTTP/1.1\r\nhost: b\r\nx-slow: ";
    let long = [&beginning[..], &[b'a'; 14_000]].concat();
    let refused = b"POST /nowhere HTTP/1.1\r\nhost: b\r\ncontent-length: 0\r\n\r\n";
    let unwanted = b"POST /nowhere HTTP/1.1\r\nhost: b\r\ncontent-length: 9\r\n\r\n";
    let body = post(200_000, b"<Notif");
    let mut attacks = vec![
        attack(
            "says nothing where TLS is spoken",
            Layer::HalfTls,
            b"",
            false,
        ),
        attack(
            "begins a handshake",
            Layer::HalfTls,
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            false,
        ),
    ];
    for layer in [Layer::Tcp, Layer::Tls] {
        attacks.extend([
            attack("says nothing", layer, b"", false),
            attack("begins a head", layer, beginning, false),
            attack("begins a long head", layer, &long, false),
            attack("begins a body", layer, &body, false),
            attack("is idle after a refusal", layer, refused, true),
            attack(
                "announces a body where nobody wants it",
                layer,
                unwanted,
                false,
            ),
        ]);
    }
    attacks
}

#[test]
fn slow_clients_that_take_every_connection_cost_no_honest_client_its_answer() {
    let identity = rcgen::generate_simple_self_signed(["bridge".to_owned()]).unwrap();
    let files = tempfile::tempdir().unwrap();
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| files.path().join(name));
    std::fs::write(&certificate, identity.cert.pem()).unwrap();
    std::fs::write(&key, identity.signing_key.serialize_pem()).unwrap();

    for attack in attacks() {
        // None of them may go because its time is up.
        let mut settings = vec![
            ("INGRESS__MAX_CONNECTIONS", CAP),
            ("INGRESS__HEADER_TIMEOUT", "10m"),
            ("INGRESS__BODY_TIMEOUT", "10m"),
            ("INGRESS__IDLE_TIMEOUT", "10m"),
        ];
        if attack.layer != Layer::Tcp {
            settings.push(("INGRESS__TLS__CERTIFICATE", certificate.to_str().unwrap()));
            settings.push(("INGRESS__TLS__KEY", key.to_str().unwrap()));
        }
        let home = Home::new(&settings);
        let bridge = home.serve();
        let mut held = Vec::with_capacity(CONNECTIONS);
        for number in 0..CONNECTIONS {
            held.push(attack.begin(&bridge));
            if number % 20 == 0 {
                attack.lets_others_through(&bridge);
            }
        }
        wait_until(attack.name, PATIENCE, || {
            metric(&bridge, "concur_bridge_ingress_connections ") > 10.0
        });
        attack.lets_others_through(&bridge);
        assert_eq!(bridge.stop(), 0, "{}", attack.name);
    }
}

/// A connection, with TLS or without.
trait Client: Read + Write {}

impl<T: Read + Write> Client for T {}

impl Attack {
    /// `None`: the attacker was made to go meanwhile, which is what is hoped for.
    fn begin(&self, bridge: &Bridge) -> Option<Box<dyn Client>> {
        let mut client = connect(bridge, self.layer)?;
        client.write_all(&self.sends).ok()?;
        if self.answered {
            let read = client.read(&mut [0; 4096]).ok()?;
            (read > 0).then_some(())?;
        }
        Some(client)
    }

    fn lets_others_through(&self, bridge: &Bridge) {
        let layer = match self.layer {
            Layer::Tcp => Layer::Tcp,
            Layer::HalfTls | Layer::Tls => Layer::Tls,
        };
        let head = format!(
            "POST {HONEST} HTTP/1.1\r\nhost: b\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            NOTIFICATION.len()
        );
        let client =
            connect(bridge, layer).unwrap_or_else(|| panic!("{}: no handshake", self.name));
        let answer = exchange_over(client, &[head.as_bytes(), NOTIFICATION].concat());
        assert_eq!(answer.status, 200, "{}: {answer:?}", self.name);
    }
}

/// `None`: the handshake failed.
fn connect(bridge: &Bridge, layer: Layer) -> Option<Box<dyn Client>> {
    let stream = TcpStream::connect(bridge.ingress()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    if layer != Layer::Tls {
        return Some(Box::new(stream));
    }
    let stream = CONNECTOR.connect("bridge", stream).ok()?;
    Some(Box::new(stream))
}

fn metric(bridge: &Bridge, name: &str) -> f64 {
    let metrics = bridge.ask("/metrics", "").body;
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0.0, |value| value.parse().unwrap())
}
