//! What a connection begins with, before HTTP: the PROXY header, then the TLS handshake, each when configured.
//!
//! Both together must be done within `ingress.header_timeout`. How many handshakes are in progress is counted, so that
//! the accept loop can let the slowest go when there are too many: a handshake is the most work that a client can ask
//! for before anything is known about it.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::Accept;
use super::auth::{Peer, network};
use super::budget::{Budget, Held, SESSION_BYTES};
use super::connection;
use super::expiry::Expiry;
use super::handler::{Caller, Handler};
use super::limits::InFlight;
use super::meters::Ending;
use super::pace::Pace;
use super::proxy_protocol;
use super::tls::TlsOpening;

/// A TLS connection after its handshake.
struct Session<T> {
    stream: Box<TlsStream<BufReader<T>>>,
    /// Whether the client certificate bears one of the names asked for, if any are.
    named: bool,
    held: Held,
}

/// How connections open.
pub(super) struct Opening {
    /// The proxies whose header is believed; `None`: connections have no PROXY header.
    pub(super) proxies: Option<Vec<IpNet>>,
    pub(super) tls: Option<TlsOpening>,
    pub(super) handshakes: InFlight,
    pub(super) time: Duration,
}

impl Opening {
    /// Serves one connection to its end. Returns why it ended, when that was early.
    pub(super) async fn serve<A, T>(
        &self,
        mut stream: T,
        socket: IpAddr,
        handler: &Arc<Handler<A>>,
        pace: Arc<Pace>,
        stop: CancellationToken,
    ) -> Option<Ending>
    where
        A: Accept,
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let due = Instant::now() + self.time;
        let proxied = match &self.proxies {
            None => None,
            Some(proxies) => match self.proxied(&mut stream, socket, proxies, due, &stop).await {
                Ok(proxied) => proxied,
                Err(ending) => return ending,
            },
        };
        let caller = |named| {
            Arc::new(Caller {
                handler: Arc::clone(handler),
                pace,
                peer: Peer { socket, proxied },
                named,
            })
        };
        let Some(tls) = &self.tls else {
            return connection::serve(stream, caller(true), stop).await;
        };
        // On the heap, so that a connection without TLS does not take its room.
        match Box::pin(self.handshake(tls, stream, due, &handler.budget, &stop)).await {
            Ok(Session {
                stream,
                named,
                held: _held,
            }) => {
                handler.meters.handshakes.increment(1);
                connection::serve(stream, caller(named), stop).await
            }
            Err(ending) => ending,
        }
    }

    /// `Err`: the connection is over, and why, when that was early.
    async fn handshake<T>(
        &self,
        tls: &TlsOpening,
        stream: T,
        due: Instant,
        budget: &Budget,
        stop: &CancellationToken,
    ) -> Result<Session<T>, Option<Ending>>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let opened = async {
            // A client that says nothing costs no session and no place: wait for its first byte. The buffer holds only that
            // byte; everything after it goes straight to rustls.
            let mut stream = BufReader::with_capacity(1, stream);
            stream.fill_buf().await?;
            // The cap is the accept loop's to keep; without a place the handshake is only not counted.
            let _counted = self.handshakes.enter();
            let held = budget.hold(SESSION_BYTES);
            let (stream, named) = Box::pin(tls.accept(stream)).await?;
            Ok::<_, io::Error>(Session {
                stream: Box::new(stream),
                named,
                held,
            })
        };
        tokio::select! {
            () = stop.cancelled() => Err(None),
            opened = timeout_at(due, opened) => match opened {
                Ok(Ok(session)) => Ok(session),
                Ok(Err(_)) | Err(_) => Err(Some(Ending::Handshake)),
            },
        }
    }

    /// The address that a proxy speaks for. `Err`: the connection is over, and why, when that was early.
    async fn proxied<T: AsyncRead + Unpin>(
        &self,
        stream: &mut T,
        socket: IpAddr,
        proxies: &[IpNet],
        due: Instant,
        stop: &CancellationToken,
    ) -> Result<Option<IpAddr>, Option<Ending>> {
        if !network::contain(proxies, socket) {
            return Err(Some(Ending::ProxyHeader));
        }
        let header = timeout_at(due, proxy_protocol::read(stream));
        tokio::select! {
            () = stop.cancelled() => Err(None),
            header = header => match header {
                Ok(Ok(client)) => Ok(client),
                Ok(Err(_)) | Err(_) => Err(Some(Ending::ProxyHeader)),
            },
        }
    }

    /// Whether another handshake would be one too many.
    pub(super) fn is_crowded(&self) -> bool {
        self.handshakes.is_full()
    }

    /// The certificates whose end is to be reminded of.
    pub(super) fn expiries(&self) -> Vec<Expiry> {
        self.tls.iter().flat_map(TlsOpening::expiries).collect()
    }
}
