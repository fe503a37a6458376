//! The proxy before a broker of three lines: it counts the requests it has "applied" and answers each at once.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::support::patience::patience;
use crate::support::proxy::{END_TXN, PRODUCE, Proxy, Strike};
use crate::support::wait;

const LIMIT: Duration = Duration::from_secs(60);

/// A broker that answers a request with its correlation id and its API key.
fn broker() -> (SocketAddr, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let applied = Arc::new(AtomicU32::new(0));
    std::thread::spawn({
        let applied = Arc::clone(&applied);
        move || {
            for stream in listener.incoming() {
                let (mut stream, applied) = (stream.unwrap(), Arc::clone(&applied));
                std::thread::spawn(move || {
                    let mut request = [0; 14];
                    while stream.read_exact(&mut request).is_ok() {
                        applied.fetch_add(1, Ordering::SeqCst);
                        let mut reply = vec![0, 0, 0, 6];
                        reply.extend_from_slice(&request[8..12]);
                        reply.extend_from_slice(&request[4..6]);
                        stream.write_all(&reply).unwrap();
                    }
                });
            }
        }
    });
    (address, applied)
}

struct Client(TcpStream);

impl Client {
    fn open(proxy: &Proxy) -> Self {
        let stream = TcpStream::connect(proxy.address()).unwrap();
        stream.set_read_timeout(Some(patience(LIMIT))).unwrap();
        Self(stream)
    }

    fn send(&mut self, api: i16, correlation: i32) {
        let mut request = vec![0, 0, 0, 10];
        request.extend_from_slice(&api.to_be_bytes());
        request.extend_from_slice(&[0, 3]);
        request.extend_from_slice(&correlation.to_be_bytes());
        request.extend_from_slice(&[0xff, 0xff]);
        self.0.write_all(&request).unwrap();
    }

    /// The correlation id of the next reply, or that the connection ended.
    fn receive(&mut self) -> std::io::Result<i32> {
        let mut reply = [0; 10];
        self.0.read_exact(&mut reply)?;
        Ok(i32::from_be_bytes(reply[4..8].try_into().unwrap()))
    }
}

fn proxied() -> (Proxy, Arc<AtomicU32>) {
    let (address, applied) = broker();
    let proxy = Proxy::listen().unwrap();
    proxy.forward_to(address);
    (proxy, applied)
}

#[test]
fn replies_pass_and_are_counted_by_api() {
    let (proxy, _) = proxied();
    let mut client = Client::open(&proxy);
    for correlation in 1..=3 {
        client.send(PRODUCE, correlation);
        assert_eq!(client.receive().unwrap(), correlation);
    }
    wait::until_true(LIMIT, "the counter", || proxy.replies(PRODUCE) == 3).unwrap();
    assert_eq!(proxy.replies(END_TXN), 0);
}

#[test]
fn a_cut_reply_ends_the_connection_after_the_broker_applied_the_request() {
    let (proxy, applied) = proxied();
    proxy.strike(END_TXN, Strike::Cut, 1);
    let mut client = Client::open(&proxy);
    client.send(PRODUCE, 1);
    assert_eq!(client.receive().unwrap(), 1, "another API is not struck");
    client.send(END_TXN, 2);
    assert!(client.receive().is_err());
    assert_eq!(applied.load(Ordering::SeqCst), 2);
    assert_eq!(proxy.struck(), 1);
    let mut client = Client::open(&proxy);
    client.send(END_TXN, 3);
    assert_eq!(client.receive().unwrap(), 3, "the rule is used up");
}

#[test]
fn a_dropped_reply_leaves_the_connection_alive() {
    let (proxy, applied) = proxied();
    proxy.strike(PRODUCE, Strike::Drop, 1);
    let mut client = Client::open(&proxy);
    client.send(PRODUCE, 1);
    client.send(PRODUCE, 2);
    assert_eq!(client.receive().unwrap(), 2);
    assert_eq!(applied.load(Ordering::SeqCst), 2);
}

#[test]
fn a_held_reply_comes_late_and_whole() {
    let (proxy, applied) = proxied();
    let hold = Duration::from_millis(300);
    proxy.strike(PRODUCE, Strike::Hold(hold), 1);
    let mut client = Client::open(&proxy);
    let start = Instant::now();
    client.send(PRODUCE, 1);
    wait::until_true(LIMIT, "the request to be applied", || {
        applied.load(Ordering::SeqCst) == 1
    })
    .unwrap();
    assert_eq!(client.receive().unwrap(), 1);
    assert!(start.elapsed() >= hold);
}

#[test]
fn cutting_all_connections_lets_new_ones_in() {
    let (proxy, _) = proxied();
    let mut client = Client::open(&proxy);
    client.send(PRODUCE, 1);
    assert_eq!(client.receive().unwrap(), 1);
    proxy.cut_all();
    assert!(client.receive().is_err());
    let mut client = Client::open(&proxy);
    client.send(PRODUCE, 2);
    assert_eq!(client.receive().unwrap(), 2);
}
