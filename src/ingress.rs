//! Ingress: the listener that Concur posts to.
//!
//! **What it does.** Accepts connections, lets in who may post, reads one request after the other into a
//! [`Postback`], hands it to an [`Accept`] and answers when that did: 200 with the event's id when it is durable, a
//! problem document otherwise.
//!
//! **Promises.** A 2xx is never sent for what the acceptor did not accept. Whatever a client sends, or fails to send,
//! costs at most one connection with [`limits::MAX_HEAD_BYTES`] of head and `ingress.max_body` of body, for a bounded
//! time and within the `budget` of all, and no honest client its answer. Nothing of a request is in any log line, metric label or error body.
//!
//! **When it fails.** [`Ingress::bind`] says in one sentence why nothing can be served. After that nothing here ends
//! the process: the accept loop waits when it gets no connection, files that become invalid leave the old ones in force.
//!
//! **Left to others.** What a postback means and where it is kept ([`accept`](crate::accept)).
//!
//! **Layout**, in the order of a connection's way: `listener` hands over connections, `accept_loop` owns them, `opening` unwraps PROXY header and TLS,
//! `connection` waits for an `arrival` and runs HTTP under the clock of `pace` on a `wire`, `handler` makes the checks of `head`,
//! `auth`, `body` and `signature`, `refused` and `answer` say what comes of it.

mod accept_loop;
mod answer;
mod arrival;
mod auth;
mod body;
mod budget;
mod connection;
mod descriptors;
mod expiry;
mod exposure;
mod handler;
mod head;
pub mod limits;
mod listener;
mod meters;
mod opening;
mod pace;
#[doc(hidden)]
pub mod proxy_protocol;
mod refused;
#[doc(hidden)]
pub mod signature;
mod tls;
mod wire;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::accept_loop::AcceptLoop;
pub use self::accept_loop::Drained;
pub use self::exposure::{Exposed, advice, check_exposed};
pub use self::listener::{BoundPort, Listener};
pub use self::meters::Ending;
pub use self::refused::{Cause, Refused};
use crate::accept::{Accepted, Acceptor, Refusal};
use crate::config;
use crate::postback::{Dialect, Postback};
use crate::reload::{LoadError, Reloader};
use crate::traces::Traces;

/// What makes a postback durable. Faked by tests.
pub trait Accept: Send + Sync + 'static {
    /// Accepts a postback; the answer goes out when the future is ready.
    fn accept(&self, postback: Postback) -> impl Future<Output = Result<Accepted, Refusal>> + Send;
}

impl Accept for Acceptor {
    async fn accept(&self, postback: Postback) -> Result<Accepted, Refusal> {
        Acceptor::accept(self, postback).await
    }
}

/// The ingress, with the listener that its connections come from: a TCP port, or memory in tests.
pub struct Ingress<A, L = BoundPort> {
    accept_loop: AcceptLoop<A>,
    listener: L,
}

/// Why nothing can be served.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process has the port.
    #[error(
        "ingress.listen: {address} is in use by another process; stop it or choose another port"
    )]
    InUse {
        /// The configured address.
        address: SocketAddr,
    },
    /// The system refuses the address.
    #[error("ingress.listen: cannot listen on {address}: {source}")]
    Address {
        /// The configured address.
        address: SocketAddr,
        /// What it said.
        source: io::Error,
    },
    /// A secret, key or certificate cannot serve.
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl<A: Accept> Ingress<A> {
    /// Reads secrets, keys and certificates, has `reloader` follow them, and binds `ingress.listen`. Must run inside a
    /// tokio runtime.
    ///
    /// # Errors
    /// See [`BindError`]; nothing is bound then.
    pub fn bind(
        ingress: &config::Ingress,
        auth: &config::Auth,
        acceptor: A,
        traces: Option<Traces>,
        reloader: &mut Reloader,
    ) -> Result<Self, BindError> {
        let mut accept_loop = load(ingress, auth, acceptor, traces, reloader)?;
        let listener = BoundPort::bind(ingress.listen)?;
        accept_loop.max_connections = descriptors::room_for(ingress.max_connections);
        Ok(Self {
            accept_loop,
            listener,
        })
    }

    /// The bound address, with the port the system chose when 0 was configured.
    pub fn local_addr(&self) -> SocketAddr {
        self.listener.address
    }
}

impl<A: Accept, L: Listener> Ingress<A, L> {
    /// As [`Ingress::bind`], for connections that come from `listener` instead of `ingress.listen`.
    ///
    /// # Errors
    /// A secret, key or certificate cannot serve.
    pub fn on(
        listener: L,
        ingress: &config::Ingress,
        auth: &config::Auth,
        acceptor: A,
        traces: Option<Traces>,
        reloader: &mut Reloader,
    ) -> Result<Self, LoadError> {
        Ok(Self {
            accept_loop: load(ingress, auth, acceptor, traces, reloader)?,
            listener,
        })
    }

    /// Serves until `stop`; then accepts nothing more, closes idle connections and gives the answers in progress until
    /// `drain_deadline` has passed.
    ///
    /// Cancel safety: dropping the future cuts every connection at once.
    pub async fn serve(self, stop: CancellationToken, drain_deadline: Duration) -> Drained {
        let Self {
            accept_loop,
            listener,
        } = self;
        let mut expiries = accept_loop.opening.expiries();
        expiries.extend(accept_loop.handler.signatures.expiry());
        tokio::select! {
            drained = accept_loop.serve(listener, stop, drain_deadline) => drained,
            never = expiry::remind_daily(expiries) => match never {},
        }
    }
}

/// Reads secrets, keys and certificates and has `reloader` follow them. Binds nothing.
fn load<A: Accept>(
    ingress: &config::Ingress,
    auth: &config::Auth,
    acceptor: A,
    traces: Option<Traces>,
    reloader: &mut Reloader,
) -> Result<AcceptLoop<A>, LoadError> {
    let route = |dialect, path: &str, guard, reloader: &mut Reloader| {
        auth::Gate::new(guard, dialect, reloader).map(|gate| head::Route {
            dialect,
            path: path.to_owned(),
            gate,
        })
    };
    let routes = [
        route(Dialect::V1, &ingress.path, &auth.v1, reloader)?,
        route(Dialect::Ess, &ingress.ess_path, &auth.ess, reloader)?,
    ];
    let handler = handler::Handler {
        acceptor,
        traces,
        routes,
        signatures: signature::Signatures::new(auth, reloader)?,
        max_body_bytes: ingress.max_body_bytes,
        in_flight: limits::InFlight::new(ingress.max_in_flight),
        budget: budget::Budget::default(),
        meters: meters::Meters::new(),
        refusals: Arc::new(meters::Refusals::new()),
    };
    let proxies = [&auth.v1, &auth.ess].map(|guard| guard.trusted_proxies.clone());
    let opening = opening::Opening {
        proxies: ingress.proxy_protocol.then(|| proxies.concat()),
        tls: ingress
            .tls
            .as_ref()
            .map(|tls| tls::TlsOpening::new(tls, reloader))
            .transpose()?,
        handshakes: limits::InFlight::new(limits::MAX_HANDSHAKES),
        time: ingress.header_timeout,
    };
    if let Some(sentence) = advice(ingress, auth) {
        warn!("{sentence}");
    }
    Ok(AcceptLoop {
        handler: Arc::new(handler),
        opening: Arc::new(opening),
        patience: pace::Patience {
            head: ingress.header_timeout,
            body: ingress.body_timeout,
            idle: ingress.idle_timeout,
        },
        max_connections: ingress.max_connections,
    })
}

/// Everything that is wrong with secrets, keys and certificates, each file by itself. Binds nothing.
pub fn check(ingress: &config::Ingress, auth: &config::Auth) -> Vec<LoadError> {
    let mut faults = auth::faults(&auth.v1);
    faults.extend(auth::faults(&auth.ess));
    faults.extend(signature::faults(auth));
    faults.extend(ingress.tls.iter().flat_map(tls::faults));
    faults
}
