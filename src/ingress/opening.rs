//! What a connection begins with, before HTTP: nothing yet.

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::Accept;
use super::auth::Peer;
use super::connection;
use super::handler::{Caller, Handler};
use super::meters::Ending;
use super::pace::Pace;

/// How connections open.
pub(super) struct Opening {}

impl Opening {
    /// Serves one connection to its end. Returns why it ended, when that was early.
    pub(super) async fn serve<A: Accept>(
        &self,
        stream: TcpStream,
        handler: &Arc<Handler<A>>,
        pace: Arc<Pace>,
        stop: CancellationToken,
    ) -> Option<Ending> {
        // Answers are small and whole: never wait for more to fill a packet.
        stream.set_nodelay(true).ok()?;
        let socket = stream.peer_addr().ok()?.ip();
        let caller = Caller {
            handler: Arc::clone(handler),
            pace,
            peer: Peer {
                socket,
                proxied: None,
            },
            named: true,
        };
        connection::serve(stream, Arc::new(caller), stop).await
    }
}
