//! Connections to receivers.

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::parcel::Content;
use super::target::Target;

/// Makes connections.
pub(super) struct Connector;

impl Connector {
    /// A new connection, ready for HTTP/1.1.
    ///
    /// # Errors
    /// In words.
    pub(super) async fn connect(&self, target: &Target) -> Result<SendRequest<Content>, String> {
        let cannot =
            |error: &dyn std::fmt::Display| format!("cannot connect to {target:?}: {error}");
        let stream = TcpStream::connect((target.host.as_str(), target.port))
            .await
            .map_err(|error| cannot(&error))?;
        stream.set_nodelay(true).map_err(|error| cannot(&error))?;
        if target.is_https {
            return Err(cannot(&"https is not configured"));
        }
        let handshake = http1::Builder::new()
            .title_case_headers(true)
            .handshake(TokioIo::new(stream))
            .await;
        let (sender, connection) = handshake.map_err(|error| cannot(&error))?;
        // It ends with the sender; its error also shows at the sender.
        tokio::spawn(connection);
        Ok(sender)
    }
}
