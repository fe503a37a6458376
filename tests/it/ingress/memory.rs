//! What thousands of slow connections cost the real process in memory, and honest clients in answers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::bridge::{Bridge, Home};
use crate::support::wait::wait_until;

/// How much the process may grow, whatever clients do.
const LIMIT_KIB: u64 = 32 * 1024;

/// As many connections as the default cap lets in, and some that have to push others out.
const CONNECTIONS: usize = 4_300;

/// Descriptors of the test beside the connections.
const SPARE: u64 = 400;

const PATIENCE: Duration = Duration::from_secs(60);

const HONEST: &str = "/postback?type=itinerary&oauth_token_key=nqp8WxIsZ1lZ3uR7";
const NOTIFICATION: &[u8] = b"<Notification><TripId>abc</TripId></Notification>";

/// What one slow client does once it is connected.
struct Attack {
    name: &'static str,
    /// Sent once.
    sends: Vec<u8>,
    /// Whether an answer to that is waited for before the client falls silent.
    answered: bool,
}

fn attacks() -> [Attack; 6] {
    let attack = |name, sends: &[u8], answered| Attack {
        name,
        sends: sends.to_vec(),
        answered,
    };
    let post = |length: usize, body: &[u8]| {
        let head = format!("POST {HONEST} HTTP/1.1\r\nhost: b\r\ncontent-length: {length}\r\n\r\n");
        [head.as_bytes(), body].concat()
    };
    let beginning = b"POST /postback HTTP/1.1\r\nhost: b\r\nx-slow: ";
    [
        attack("says nothing", b"", false),
        attack("begins a head", beginning, false),
        attack(
            "begins a long head",
            &[&beginning[..], &[b'a'; 14_000]].concat(),
            false,
        ),
        attack("begins a body", &post(200_000, b"<Notif"), false),
        attack(
            "is idle after a refusal",
            b"POST /nowhere HTTP/1.1\r\nhost: b\r\ncontent-length: 0\r\n\r\n",
            true,
        ),
        attack(
            "announces a body where nobody wants it",
            b"POST /nowhere HTTP/1.1\r\nhost: b\r\ncontent-length: 9\r\n\r\n",
            false,
        ),
    ]
}

#[test]
fn thousands_of_slow_connections_cost_less_than_32_mib_and_no_honest_client_its_answer() {
    raise_descriptors();
    for attack in attacks() {
        // None of them may go because its time is up.
        let home = Home::new(&[
            ("INGRESS__HEADER_TIMEOUT", "10m"),
            ("INGRESS__BODY_TIMEOUT", "10m"),
            ("INGRESS__IDLE_TIMEOUT", "10m"),
        ]);
        let bridge = home.serve();
        for _ in 0..20 {
            is_served(&bridge, attack.name);
        }
        let before = resident_kib(&bridge);
        let mut held = Vec::with_capacity(CONNECTIONS);
        let mut highest = before;
        for number in 0..CONNECTIONS {
            held.push(attack.begin(bridge.ingress()));
            if number % 500 == 0 {
                is_served(&bridge, attack.name);
                highest = highest.max(resident_kib(&bridge));
            }
        }
        wait_until(attack.name, PATIENCE, || {
            metric(&bridge, "concur_bridge_ingress_connections ") > 100.0
        });
        is_served(&bridge, attack.name);
        highest = highest.max(resident_kib(&bridge));
        let growth = highest.saturating_sub(before);
        println!(
            "a client that {}: {CONNECTIONS} of them cost {growth} KiB",
            attack.name
        );
        assert!(growth <= LIMIT_KIB, "{}: {growth} KiB", attack.name);
        assert_eq!(bridge.stop(), 0, "{}", attack.name);
    }
}

impl Attack {
    fn begin(&self, address: SocketAddr) -> TcpStream {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // An attacker that was made to go meanwhile is what is hoped for.
        let _ = stream.write_all(&self.sends);
        if self.answered {
            let _ = stream.read(&mut [0; 4096]);
        }
        stream
    }
}

fn is_served(bridge: &Bridge, during: &str) {
    let answer = bridge.post(HONEST, "", NOTIFICATION);
    assert_eq!(answer.status, 200, "{during}: {answer:?}");
}

fn resident_kib(bridge: &Bridge) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", bridge.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let word = line.and_then(|line| line.split_whitespace().nth(1));
    word.unwrap().parse().unwrap()
}

fn metric(bridge: &Bridge, name: &str) -> f64 {
    let metrics = bridge.ask("/metrics", "").body;
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0.0, |value| value.parse().unwrap())
}

/// Room for the connections in this process; the bridge inherits it.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = CONNECTIONS as u64 + SPARE;
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit {
            current: Some(wanted),
            maximum: limit.maximum,
        };
        setrlimit(Resource::Nofile, raised).expect("the hard limit of open files is 4,700 or more");
    }
}
