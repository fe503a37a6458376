//! Three replicas side by side behind a plain TCP balancer, killed in turn; one is gone for good and drained by another
//! process.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::arena::Arena;
use crate::runner::{Line, anywhere};
use crate::support::bridge::{Bridge, Replica};
use crate::support::failure::{Doing, Outcome, ensure};
use crate::support::oracle::Promises;
use crate::support::reader::Follower;
use crate::support::sender::{Load, Target};
use crate::support::wait;
use crate::trial::{examine, stop, unless_broken, wait_read};

pub(crate) const LINE: Line = Line {
    name: "replicas",
    promise: "Replicas share Kafka and nothing else; one that is gone is drained by another process",
    fault: "three replicas killed in turn, one never to return",
    how: "TCP balancer, kill -9 under load; then kill -9 with Kafka down and `serve --drain-only` on the directory",
    possible: anywhere,
    run,
};

const LIMIT: Duration = Duration::from_secs(120);

fn run(arena: &Arena) -> Outcome<String> {
    let mut rng = arena.rng("replicas");
    let kills = arena.cycles(6, 300);
    let mut replicas = Vec::new();
    for n in 0..3 {
        let mut replica = arena.replica("replicas", &format!("bridge-{n}"))?;
        let keys = arena.dir("replicas").join("bridge-0/keys");
        replica.set_text("tokens.key_file", keys.join("token.key").display());
        replica.set_text(
            "tokens.fingerprint_key_file",
            keys.join("fingerprint.key").display(),
        );
        replicas.push(replica);
    }
    let balancer = Balancer::listen()?;
    let mut bridges = Vec::new();
    for (n, replica) in replicas.iter().enumerate() {
        let bridge = replica.start()?;
        balancer.set(n, Some(bridge.ready()?.ingress));
        bridges.push(bridge);
    }
    let source = arena.source(&replicas[0], &arena.kafka()?.bootstrap)?;
    let follower = Follower::start(source.clone());
    let target = Target::default();
    target.set(balancer.address);
    let sender = Load::new(1, rng.next())
        .over(12)
        .at_rate(300)
        .start(&target);

    for _ in 0..kills {
        wait::pause(rng.between(Duration::from_millis(50), Duration::from_millis(500)));
        let n = rng.below(3) as usize;
        restart(&mut bridges[n], &replicas[n], &balancer, n)?;
    }

    // The third goes with a backlog, never to return.
    arena.kafka()?.tell("stop 1")?;
    let before = sender.accepted();
    wait::until_true(LIMIT, "a backlog", || sender.accepted() > before + 300)?;
    balancer.set(2, None);
    bridges[2].kill9()?;
    arena.kafka()?.tell("start 1")?;
    let mut drain = replicas[2].clone();
    drain.arguments.push("--drain-only".to_owned());
    let start = Instant::now();
    let drainer = drain.spawn()?;
    let code = drainer.process.wait_exit(LIMIT).doing("draining")?;
    let drained = start.elapsed();
    ensure(code == 0, || {
        format!("the drain ended with {code}: {}", drainer.last_words())
    })?;

    let log = sender.finish()?;
    let serving = &bridges[..2];
    let waited = wait_read(&follower, &log, || {
        serving.iter().try_for_each(Bridge::goes_on)
    });
    let waited = unless_broken(waited)?;
    let published = serving.iter().try_for_each(|bridge| {
        bridge.wait_published(LIMIT)?;
        stop(bridge).map(drop)
    });
    let published = unless_broken(published)?;
    // One that does not stop must not publish any more.
    drop(bridges);
    // The balancer spreads a key over replicas: order holds per journal, which the positions show.
    let promises = Promises {
        order: false,
        ..Promises::ALL
    };
    let verdict = examine(&source, follower, &log, promises, published.is_ok())?;
    published.and(waited)?;
    Ok(format!(
        "3 replicas, {kills} kills, one drained by another process in {} ms; {verdict}",
        drained.as_millis()
    ))
}

fn restart(bridge: &mut Bridge, replica: &Replica, balancer: &Balancer, n: usize) -> Outcome {
    balancer.set(n, None);
    bridge.kill9()?;
    *bridge = replica.start()?;
    balancer.set(n, Some(bridge.ready()?.ingress));
    Ok(())
}

/// Spreads connections over whoever is there, in turn.
struct Balancer {
    address: SocketAddr,
    shared: Arc<Backends>,
}

#[derive(Default)]
struct Backends {
    targets: Mutex<[Option<SocketAddr>; 3]>,
    next: AtomicUsize,
    closed: AtomicBool,
}

impl Balancer {
    fn listen() -> Outcome<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Backends::default());
        std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for client in listener.incoming() {
                    if shared.closed.load(Ordering::SeqCst) {
                        return;
                    }
                    // A client that cannot be served sees its connection closed, and tries again.
                    let (Ok(client), Some(target)) = (client, shared.pick()) else {
                        continue;
                    };
                    if let Ok(server) = TcpStream::connect_timeout(&target, Duration::from_secs(1))
                    {
                        let _ = join(&client, &server);
                    }
                }
            }
        });
        Ok(Self { address, shared })
    }

    fn set(&self, n: usize, target: Option<SocketAddr>) {
        self.shared
            .targets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)[n] = target;
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        // Wakes the listener up, so that it sees that it is closed.
        let _ = TcpStream::connect(self.address);
    }
}

impl Backends {
    fn pick(&self) -> Option<SocketAddr> {
        let targets: Vec<SocketAddr> = self
            .targets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .flatten()
            .copied()
            .collect();
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        targets.get(turn % targets.len().max(1)).copied()
    }
}

/// Copies both ways until one end closes.
fn join(client: &TcpStream, server: &TcpStream) -> std::io::Result<()> {
    for (from, to) in [(client, server), (server, client)] {
        let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
        std::thread::spawn(move || {
            let end = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(std::net::Shutdown::Both);
            let _ = from.shutdown(std::net::Shutdown::Both);
            end
        });
    }
    Ok(())
}
