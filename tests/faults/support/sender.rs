//! The sender: Concur's side of the oracle. Workers with a kept-alive connection each post as fast as they are
//! answered, or at a rate, and log every request with what became of it.
//!
//! A worker owns its keys and sends one request at a time, so the n-th of a key is never sent before the fate of the
//! one before it is known. A v1 postback is sent once whatever happens; an ESS delivery is repeated, with a pause,
//! until it is answered 2xx.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::failure::{Failure, Outcome};
use super::http::{Answer, Connection};
use super::patience::patience;
use super::rng::Rng;
use super::traffic::{self, Form, Key, Tag};
use super::wait;

/// Where to send: a bridge that is started anew listens elsewhere.
#[derive(Clone, Default)]
pub struct Target(Arc<Mutex<Option<SocketAddr>>>);

impl Target {
    /// Sends go there from now on.
    pub fn set(&self, address: SocketAddr) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
    }

    fn get(&self) -> Option<SocketAddr> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// 200, with this event id.
    Accepted(Id),
    /// 503 with `Retry-After`: not kept, as far as the sender is told.
    Shed,
    /// No answer: cut off, refused, or none in time.
    Unanswered,
    /// An answer that this traffic must never get.
    Wrong(u16),
}

/// An event id: all of the traffic's are UUIDs.
pub type Id = u128;

/// One line of the log.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// What was sent.
    pub tag: Tag,
    /// What became of it.
    pub fate: Fate,
    /// When it was sent, since the start of the load.
    pub at: Duration,
    /// How long the answer took.
    pub took: Duration,
}

impl Sent {
    /// The same, as if no answer had come: for what a line excuses from being read.
    pub fn unanswered(self) -> Self {
        Self {
            fate: Fate::Unanswered,
            ..self
        }
    }
}

/// How to send.
#[derive(Clone)]
pub struct Load {
    /// Distinguishes the keys of several loads of one line.
    pub run: u32,
    /// Seed of the choice of keys.
    pub seed: u64,
    /// Workers, each with a connection of its own.
    pub connections: u32,
    /// Keys of a worker.
    pub keys: u32,
    /// The forms that keys take in turn.
    pub forms: &'static [Form],
    /// Requests per second over all workers; none: as fast as they are answered.
    pub rate: Option<u32>,
    /// Smallest body, in bytes.
    pub body_bytes: usize,
    /// How long an answer may take before the sender gives up; stretched by `TEST_PATIENCE`.
    pub patience: Duration,
    /// How long a worker rests after a request that was not accepted.
    pub rest: Duration,
}

impl Load {
    /// Eight connections with four keys each, all forms of v1, as fast as they are answered.
    pub fn new(run: u32, seed: u64) -> Self {
        Self {
            run,
            seed,
            connections: 8,
            keys: 4,
            forms: &[Form::Itinerary, Form::Profile, Form::Itinerary, Form::Fop],
            rate: None,
            body_bytes: 0,
            patience: Duration::from_secs(30),
            rest: Duration::from_millis(5),
        }
    }

    /// At this many requests per second.
    pub fn at_rate(mut self, rate: u32) -> Self {
        self.rate = Some(rate);
        self
    }

    /// Over this many connections.
    pub fn over(mut self, connections: u32) -> Self {
        self.connections = connections;
        self
    }

    /// Starts the workers.
    pub fn start(self, target: &Target) -> Sender {
        let shared = Arc::new(Shared::default());
        let start = Instant::now();
        let workers = (0..self.connections)
            .map(|worker| {
                let (load, target, shared) = (self.clone(), target.clone(), Arc::clone(&shared));
                std::thread::Builder::new()
                    .stack_size(128 * 1024)
                    .spawn(move || Worker::new(load, worker, target, shared, start).run())
            })
            .collect();
        Sender {
            workers,
            shared,
            start,
        }
    }
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    accepted: AtomicU64,
    shed: AtomicU64,
}

impl Shared {
    /// What is neither is for the verdict.
    fn count(&self, fate: Fate) {
        match fate {
            Fate::Accepted(_) => self.accepted.fetch_add(1, Ordering::Relaxed),
            Fate::Shed => self.shed.fetch_add(1, Ordering::Relaxed),
            Fate::Unanswered | Fate::Wrong(_) => 0,
        };
    }
}

/// A load that runs.
pub struct Sender {
    workers: Vec<std::io::Result<JoinHandle<Vec<Sent>>>>,
    shared: Arc<Shared>,
    start: Instant,
}

impl Sender {
    /// Requests answered 200 until now.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Requests answered 503 until now.
    pub fn shed(&self) -> u64 {
        self.shared.shed.load(Ordering::Relaxed)
    }

    /// The clock of [`Sent::at`].
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Ends the load: requests in flight are finished, the log is returned.
    pub fn finish(self) -> Outcome<Vec<Sent>> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut log = Vec::new();
        for worker in self.workers {
            log.extend(
                worker?
                    .join()
                    .map_err(|_| Failure::not_shown("a worker of the sender panicked"))?,
            );
        }
        Ok(log)
    }
}

struct Worker {
    load: Load,
    worker: u32,
    target: Target,
    shared: Arc<Shared>,
    start: Instant,
    connection: Option<(SocketAddr, Connection)>,
    log: Vec<Sent>,
}

impl Worker {
    fn new(load: Load, worker: u32, target: Target, shared: Arc<Shared>, start: Instant) -> Self {
        Self {
            load,
            worker,
            target,
            shared,
            start,
            connection: None,
            log: Vec::new(),
        }
    }

    fn run(mut self) -> Vec<Sent> {
        let mut rng = Rng::new(self.load.seed).fork(u64::from(self.worker) + 1);
        let mut numbers = vec![0; self.load.keys as usize];
        let pace = self
            .load
            .rate
            .map(|rate| Duration::from_secs(1) * self.load.connections / rate.max(1));
        let mut due = pace
            .map(|pace| pace.mul_f64(f64::from(self.worker) / f64::from(self.load.connections)));
        while !self.stopping() {
            if let (Some(at), Some(pace)) = (due, pace) {
                wait::pause(
                    at.saturating_sub(self.start.elapsed())
                        .min(Duration::from_millis(100)),
                );
                if self.start.elapsed() < at {
                    continue;
                }
                due = Some(at + pace);
            }
            let index = rng.below(u64::from(self.load.keys)) as usize;
            numbers[index] += 1;
            let form = self.load.forms[index % self.load.forms.len()];
            let key = Key {
                form,
                run: self.load.run,
                worker: self.worker,
                index: index as u32,
            };
            self.deliver(Tag {
                key,
                n: numbers[index],
            });
        }
        self.log
    }

    fn stopping(&self) -> bool {
        self.shared.stop.load(Ordering::Relaxed)
    }

    /// Sends `tag` as often as its form is sent, and logs the last fate; nothing when no byte of it ever left.
    fn deliver(&mut self, tag: Tag) {
        let request = traffic::request(tag, self.load.body_bytes);
        let mut last = None;
        loop {
            let at = self.start.elapsed();
            if let Some(fate) = self.post(&request) {
                let took = self.start.elapsed().saturating_sub(at);
                self.shared.count(fate);
                last = Some(Sent {
                    tag,
                    fate,
                    at,
                    took,
                });
            }
            let over = match last.map(|sent| sent.fate) {
                None => false,
                Some(Fate::Accepted(_)) => break,
                Some(Fate::Wrong(_)) => true,
                Some(Fate::Shed | Fate::Unanswered) => tag.key.form != Form::Ess,
            };
            wait::pause(self.load.rest);
            if over || self.stopping() {
                break;
            }
        }
        self.log.extend(last);
    }

    /// `None` when no byte of the request left: the connection could not be made.
    fn post(&mut self, request: &[u8]) -> Option<Fate> {
        let address = self.target.get()?;
        if self
            .connection
            .as_ref()
            .is_none_or(|(to, _)| *to != address)
        {
            self.connection = Some((
                address,
                Connection::open(address, patience(self.load.patience)).ok()?,
            ));
        }
        let (_, connection) = self.connection.as_mut()?;
        let answer = connection.exchange(request);
        if answer
            .as_ref()
            .map_or(true, |answer| answer.header("connection") == Some("close"))
        {
            self.connection = None;
        }
        Some(answer.map_or(Fate::Unanswered, |answer| fate(&answer)))
    }
}

/// What an answer says.
pub(super) fn fate(answer: &Answer) -> Fate {
    match answer.status {
        200 => serde_json::from_slice::<serde_json::Value>(&answer.body)
            .ok()
            .and_then(|body| parse_id(body.get("id")?.as_str()?))
            .map_or(Fate::Wrong(200), Fate::Accepted),
        503 if answer.header("retry-after").is_some() => Fate::Shed,
        status => Fate::Wrong(status),
    }
}

/// The number of a UUID.
pub fn parse_id(text: &str) -> Option<Id> {
    uuid::Uuid::parse_str(text).ok().map(|id| id.as_u128())
}

/// The `q`-quantile of how long accepted requests took, among those sent within `[from, to)`.
pub fn quantile(log: &[Sent], from: Duration, to: Duration, q: f64) -> Duration {
    let mut took: Vec<Duration> = log
        .iter()
        .filter(|sent| matches!(sent.fate, Fate::Accepted(_)) && sent.at >= from && sent.at < to)
        .map(|sent| sent.took)
        .collect();
    took.sort_unstable();
    let last = took.len().saturating_sub(1);
    took.get((last as f64 * q).round() as usize)
        .copied()
        .unwrap_or_default()
}
