//! A running ingress with a fake acceptor behind it.
//!
//! Connections are in memory, with a peer address of the test's choosing, and tests run with tokio's time paused: it moves
//! only when every task waits for it, so a test sees when exactly something happened and nothing depends on the machine.
//! [`Setup::bind`] is for the few tests that need sockets.

use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use concur_bridge::accept::{Accepted, Refusal};
use concur_bridge::config::{
    AcknowledgeAfter, Auth, Guard, Ingress as IngressConfig, SignatureMode,
};
use concur_bridge::ingress::{Accept, BindError, Drained, Ingress, Listener};
use concur_bridge::postback::Postback;
use concur_bridge::reload::{LoadError, Reloader};
use tokio::io::DuplexStream;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::client::Client;

/// More than any configured time here; reaching it is a failure.
const DEADLINE: Duration = Duration::from_secs(60);

/// Times that a test does not set for itself.
pub(super) const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(20);
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(40);

/// Bytes that either side of a connection in memory may write before the other reads.
const PIPE_BYTES: usize = 64 * 1024;

/// Connections that wait in memory to be accepted, at most.
const BACKLOG: usize = 4096;

/// Where connections in memory come from, unless the test says otherwise.
pub(super) const PEER: &str = "127.0.0.1";

type Script = Arc<dyn Fn(&Postback) -> Result<Accepted, Refusal> + Send + Sync>;

/// Accepts as scripted, remembers what it saw, and holds answers back while told to.
#[derive(Clone)]
pub(super) struct FakeAcceptor {
    script: Script,
    seen: Arc<Mutex<Vec<Postback>>>,
    open: Arc<Semaphore>,
}

impl Accept for FakeAcceptor {
    async fn accept(&self, postback: Postback) -> Result<Accepted, Refusal> {
        let answer = (self.script)(&postback);
        self.seen.lock().unwrap().push(postback);
        let _held = self.open.acquire().await.unwrap();
        answer
    }
}

/// A running ingress. `D` is the way in.
pub(super) struct Bench<D = Memory> {
    door: D,
    seen: Arc<Mutex<Vec<Postback>>>,
    open: Arc<Semaphore>,
    pub(super) reloader: Reloader,
    stop: CancellationToken,
    served: JoinHandle<Drained>,
}

type Accepting = io::Result<(DuplexStream, SocketAddr)>;

/// The way in through memory.
pub(super) struct Memory(mpsc::Sender<Accepting>);

/// What the ingress has instead of a TCP port.
pub(super) struct MemoryListener(mpsc::Receiver<Accepting>);

impl Listener for MemoryListener {
    type Stream = DuplexStream;

    async fn accept(&mut self) -> Accepting {
        match self.0.recv().await {
            Some(accepting) => accepting,
            None => pending().await,
        }
    }
}

/// How an ingress is set up; [`Setup::start`] starts it.
pub(super) struct Setup {
    pub(super) ingress: IngressConfig,
    pub(super) auth: Auth,
    pub(super) script: Script,
    pub(super) held: bool,
    pub(super) drain_deadline: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            ingress: ingress_config(),
            auth: auth_config(),
            script: Arc::new(|_| Ok(Accepted { id: "id-1".into() })),
            held: false,
            drain_deadline: DEADLINE / 2,
        }
    }
}

impl Setup {
    pub(super) fn script(
        mut self,
        script: impl Fn(&Postback) -> Result<Accepted, Refusal> + Send + Sync + 'static,
    ) -> Self {
        self.script = Arc::new(script);
        self
    }

    /// Starts on memory.
    pub(super) fn start(self) -> Bench {
        self.try_start().unwrap()
    }

    /// Starts on memory, or says why not.
    pub(super) fn try_start(self) -> Result<Bench, LoadError> {
        self.launch(|setup, acceptor, reloader| {
            let (sender, receiver) = mpsc::channel(BACKLOG);
            let listener = MemoryListener(receiver);
            let ingress = Ingress::on(
                listener,
                &setup.ingress,
                &setup.auth,
                acceptor,
                None,
                reloader,
            )?;
            Ok((ingress, Memory(sender)))
        })
    }

    /// Starts on a TCP port, or says why not.
    pub(super) fn bind(self) -> Result<Bench<SocketAddr>, BindError> {
        self.launch(|setup, acceptor, reloader| {
            let ingress = Ingress::bind(&setup.ingress, &setup.auth, acceptor, None, reloader)?;
            let address = ingress.local_addr();
            Ok((ingress, address))
        })
    }

    fn launch<L: Listener, D, E>(
        self,
        open: impl FnOnce(
            &Self,
            FakeAcceptor,
            &mut Reloader,
        ) -> Result<(Ingress<FakeAcceptor, L>, D), E>,
    ) -> Result<Bench<D>, E> {
        let acceptor = FakeAcceptor {
            script: Arc::clone(&self.script),
            seen: Arc::default(),
            open: Arc::new(Semaphore::new(if self.held {
                0
            } else {
                Semaphore::MAX_PERMITS
            })),
        };
        let mut reloader = Reloader::default();
        let (ingress, door) = open(&self, acceptor.clone(), &mut reloader)?;
        let stop = CancellationToken::new();
        let served = tokio::spawn(ingress.serve(stop.clone(), self.drain_deadline));
        Ok(Bench {
            door,
            seen: acceptor.seen,
            open: acceptor.open,
            reloader,
            stop,
            served,
        })
    }
}

impl Bench {
    pub(super) fn start() -> Self {
        Setup::default().start()
    }

    pub(super) async fn connect(&self) -> Client<DuplexStream> {
        self.connect_from(PEER).await
    }

    /// Connects from an address.
    pub(super) async fn connect_from(&self, peer: &str) -> Client<DuplexStream> {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let peer = SocketAddr::new(peer.parse().unwrap(), 40_000);
        self.door.0.send(Ok((far, peer))).await.unwrap();
        Client::new(near)
    }

    /// Has the system refuse to hand over a connection, once.
    pub(super) async fn fail_to_accept(&self) {
        let exhausted = io::Error::other("too many open files");
        self.door.0.send(Err(exhausted)).await.unwrap();
    }

    /// Whether nobody can connect any more.
    pub(super) fn is_shut(&self) -> bool {
        self.door.0.is_closed()
    }
}

impl Bench<SocketAddr> {
    pub(super) fn address(&self) -> SocketAddr {
        self.door
    }

    pub(super) async fn connect(&self) -> Client<TcpStream> {
        Client::new(TcpStream::connect(self.door).await.unwrap())
    }
}

impl<D> Bench<D> {
    /// What reached the acceptor.
    pub(super) fn seen(&self) -> Vec<Postback> {
        self.seen.lock().unwrap().clone()
    }

    /// Lets held answers go.
    pub(super) fn release(&self) {
        self.open.add_permits(1_000_000);
    }

    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits for the orderly end.
    pub(super) async fn ended(self) -> Drained {
        within(self.served).await.unwrap()
    }
}

/// Fails the test when it takes too long.
pub(super) async fn within<F: Future>(future: F) -> F::Output {
    timeout(DEADLINE, future)
        .await
        .expect("not within the deadline")
}

/// Waits for a condition.
pub(super) async fn until(mut condition: impl FnMut() -> bool) {
    within(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// A well-formed fop postback.
pub(super) fn postback(path: &str) -> Vec<u8> {
    request(path, "", "")
}

/// A POST with further header lines (each ended by CRLF) and a body.
pub(super) fn request(path: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path}?type=fop&oauth_token_key=t HTTP/1.1\r\nhost: bridge\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn ingress_config() -> IngressConfig {
    IngressConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        path: "/postback".into(),
        ess_path: "/ess".into(),
        max_body_bytes: 256 * 1024,
        header_timeout: HEADER_TIMEOUT,
        body_timeout: BODY_TIMEOUT,
        idle_timeout: IDLE_TIMEOUT,
        max_connections: 4096,
        max_in_flight: 8192,
        acknowledge_after: AcknowledgeAfter::Journal,
        kafka_ack_timeout: Duration::from_secs(5),
        insecure_allow_unauthenticated: false,
        proxy_protocol: false,
        tls: None,
    }
}

fn auth_config() -> Auth {
    Auth {
        v1: Guard::default(),
        ess: Guard::default(),
        signature: SignatureMode::Off,
        signature_keys: Vec::new(),
    }
}

/// Replaces a file the way careful writers do, and makes sure that it looks changed.
pub(super) fn replace_file(path: &std::path::Path, text: &str) {
    let aside = path.with_extension("new");
    std::fs::write(&aside, text).unwrap();
    std::fs::rename(&aside, path).unwrap();
}
