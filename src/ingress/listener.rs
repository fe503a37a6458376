//! Where connections come from: TCP sockets in production, memory in tests.
//!
//! The accept loop and everything behind it know only bytes, a peer address and the failure to get a connection.
//! What only a socket has (its options, the kernel's queue, errors of a client that already left) stays here.

use std::future::Future;
use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use super::BindError;

/// Maximum number of connections that wait in the kernel to be accepted. The system's own limit may be lower.
const BACKLOG: i32 = 4096;

/// Hands out new connections, as axum's trait of this name does. Unlike axum's it reports errors, because a process
/// without free descriptors must evict a connection and not just wait. Dropping a listener refuses newcomers.
pub trait Listener: Send + 'static {
    /// The bytes of one connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Waits for the next connection and returns it with the address of its peer.
    ///
    /// Cancel safe: a connection that was not returned is returned by the next call.
    ///
    /// # Errors
    /// The system has no connection to give, usually for want of file descriptors. The caller may try again.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;
}

/// A TCP port that this process listens on.
pub struct BoundPort {
    socket: TcpListener,
    /// With the port that the system chose when 0 was asked for.
    pub(super) address: SocketAddr,
}

impl Listener for BoundPort {
    type Stream = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        loop {
            match self.socket.accept().await {
                Ok((stream, peer)) => {
                    // Answers are small and whole: never wait for more to fill a packet. It fails when the client has left.
                    if stream.set_nodelay(true).is_ok() {
                        return Ok((stream, peer));
                    }
                }
                Err(failure) if is_of_the_client(&failure) => {}
                Err(failure) => return Err(failure),
            }
        }
    }
}

impl BoundPort {
    /// Must run inside a tokio runtime.
    pub(super) fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let bound = || -> io::Result<Self> {
            let socket = Socket::new(
                Domain::for_address(address),
                Type::STREAM,
                Some(Protocol::TCP),
            )?;
            // A restart must not wait for the sockets of the previous process to leave TIME_WAIT.
            socket.set_reuse_address(true)?;
            socket.set_nonblocking(true)?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            let socket = TcpListener::from_std(socket.into())?;
            let address = socket.local_addr()?;
            Ok(Self { socket, address })
        };
        bound().map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { address },
            _ => BindError::Address { address, source },
        })
    }
}

/// Failures that concern one connection, whose client left before it was accepted.
fn is_of_the_client(failure: &io::Error) -> bool {
    matches!(
        failure.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
