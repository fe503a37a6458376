//! A TCP proxy in front of one broker that knows Kafka's framing well enough to strike the *reply* of a chosen API
//! after the broker has applied the request: to cut the connection instead of delivering it, to drop it, or to hold it.
//!
//! A request is `size: i32, api_key: i16, api_version: i16, correlation_id: i32, …`, a reply is `size: i32,
//! correlation_id: i32, …`; nothing else of the protocol is looked at. The broker must advertise the proxy's address,
//! else clients go round it.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::failure::Outcome;
use super::patience::patience;
use super::wait;

/// `Produce`
pub const PRODUCE: i16 = 0;
/// `InitProducerId`
pub const INIT_PRODUCER_ID: i16 = 22;
/// `AddPartitionsToTxn`
pub const ADD_PARTITIONS_TO_TXN: i16 = 24;
/// `EndTxn`
pub const END_TXN: i16 = 26;

/// What happens to a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strike {
    /// The connection is cut instead.
    Cut,
    /// It is swallowed; the connection lives on.
    Drop,
    /// It, and all behind it on its connection, come this much later.
    Hold(Duration),
}

/// A rule: the next `times` replies of `api` are struck.
#[derive(Clone, Copy, Debug)]
struct Rule {
    api: i16,
    strike: Strike,
    times: u32,
}

#[derive(Default)]
struct Shared {
    upstream: Mutex<Option<SocketAddr>>,
    rules: Mutex<Vec<Rule>>,
    struck: AtomicU64,
    replies: Mutex<HashMap<i16, u64>>,
    connections: Mutex<Vec<TcpStream>>,
    closed: AtomicBool,
}

/// A proxy that listens until it is dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Proxy {
    /// Listens on a free port; the broker behind it is named later, because it must be told this address first.
    pub fn listen() -> Outcome<Self> {
        Self::on(TcpListener::bind(("127.0.0.1", 0))?)
    }

    /// As [`Self::listen`], on a socket that listens already.
    pub fn on(listener: TcpListener) -> Outcome<Self> {
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Ok(Self { address, shared })
    }

    /// Forwards new connections to this broker.
    pub fn forward_to(&self, broker: SocketAddr) {
        *locked(&self.shared.upstream) = Some(broker);
    }

    /// The address that the broker must advertise.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Strikes the next `times` replies of `api`.
    pub fn strike(&self, api: i16, strike: Strike, times: u32) {
        locked(&self.shared.rules).push(Rule { api, strike, times });
    }

    /// Forgets all rules.
    pub fn calm(&self) {
        locked(&self.shared.rules).clear();
    }

    /// Replies struck until now.
    pub fn struck(&self) -> u64 {
        self.shared.struck.load(Ordering::SeqCst)
    }

    /// Waits until `count` replies have been struck.
    pub fn wait_struck(&self, count: u64, limit: Duration) -> Outcome {
        wait::until_true(limit, &format!("{count} replies to be struck"), || {
            self.struck() >= count
        })
    }

    /// Replies of `api` delivered until now.
    pub fn replies(&self, api: i16) -> u64 {
        locked(&self.shared.replies)
            .get(&api)
            .copied()
            .unwrap_or_default()
    }

    /// Cuts every connection; new ones are served.
    pub fn cut_all(&self) {
        for stream in locked(&self.shared.connections).drain(..) {
            // An error says that it is closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        // Wakes the listener up, so that it sees that it is closed.
        let _ = TcpStream::connect(self.address);
        self.cut_all();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.closed.load(Ordering::SeqCst) {
            return;
        }
        // A broker that is down refuses, and so does its proxy: by closing.
        let Some(upstream) = *locked(&shared.upstream) else {
            continue;
        };
        let (Ok(client), Ok(broker)) = (
            client,
            TcpStream::connect_timeout(&upstream, patience(Duration::from_secs(5))),
        ) else {
            continue;
        };
        if serve(client, broker, shared).is_err() {
            continue;
        }
    }
}

/// Starts a thread for each direction of one connection.
fn serve(client: TcpStream, broker: TcpStream, shared: &Arc<Shared>) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    broker.set_nodelay(true)?;
    locked(&shared.connections).push(client.try_clone()?);
    // Which API a reply belongs to, by its correlation id.
    let waiting: Arc<Mutex<HashMap<i32, i16>>> = Arc::default();
    std::thread::spawn({
        let (mut from, mut to) = (client.try_clone()?, broker.try_clone()?);
        let waiting = Arc::clone(&waiting);
        move || {
            let end = requests(&mut from, &mut to, &waiting);
            close(&from, &to);
            end
        }
    });
    std::thread::spawn({
        let shared = Arc::clone(shared);
        let (mut from, mut to) = (broker, client);
        move || {
            let end = replies(&mut from, &mut to, &waiting, &shared);
            close(&from, &to);
            end
        }
    });
    Ok(())
}

fn close(a: &TcpStream, b: &TcpStream) {
    let _ = a.shutdown(Shutdown::Both);
    let _ = b.shutdown(Shutdown::Both);
}

/// One frame, size included.
fn frame(from: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut size = [0; 4];
    from.read_exact(&mut size)?;
    let length = u32::from_be_bytes(size) as usize;
    let mut frame = vec![0; 4 + length];
    frame[..4].copy_from_slice(&size);
    from.read_exact(&mut frame[4..])?;
    Ok(frame)
}

fn requests(
    from: &mut TcpStream,
    to: &mut TcpStream,
    waiting: &Mutex<HashMap<i32, i16>>,
) -> std::io::Result<()> {
    loop {
        let frame = frame(from)?;
        if let [_, _, _, _, k0, k1, _, _, c0, c1, c2, c3, ..] = frame[..] {
            locked(waiting).insert(
                i32::from_be_bytes([c0, c1, c2, c3]),
                i16::from_be_bytes([k0, k1]),
            );
        }
        to.write_all(&frame)?;
    }
}

fn replies(
    from: &mut TcpStream,
    to: &mut TcpStream,
    waiting: &Mutex<HashMap<i32, i16>>,
    shared: &Shared,
) -> std::io::Result<()> {
    loop {
        let frame = frame(from)?;
        let api = match frame[..] {
            [_, _, _, _, c0, c1, c2, c3, ..] => {
                locked(waiting).remove(&i32::from_be_bytes([c0, c1, c2, c3]))
            }
            _ => None,
        };
        match api.and_then(|api| struck(shared, api)) {
            None => {}
            Some(Strike::Cut) => return Ok(()),
            Some(Strike::Drop) => continue,
            Some(Strike::Hold(time)) => wait::pause(time),
        }
        to.write_all(&frame)?;
        if let Some(api) = api {
            *locked(&shared.replies).entry(api).or_default() += 1;
        }
    }
}

/// The first rule for `api`, used up once.
fn struck(shared: &Shared, api: i16) -> Option<Strike> {
    let mut rules = locked(&shared.rules);
    let rule = rules
        .iter_mut()
        .find(|rule| rule.api == api && rule.times > 0)?;
    rule.times -= 1;
    let strike = rule.strike;
    shared.struck.fetch_add(1, Ordering::SeqCst);
    Some(strike)
}
