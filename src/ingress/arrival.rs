//! A connection that waits for its client: until the head of a request is whole.
//!
//! Whoever wants to exhaust the bridge holds connections in this state, so it is a cheap one: nothing is kept before the
//! first byte, then as much as came. Hyper, which takes about 15 KiB to begin with, is given the connection only when
//! there is something to answer: a whole head, one that is none, or one that is too large.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use super::budget::{Budget, Held};
use super::limits::{MAX_HEAD_BYTES, MAX_HEADERS};
use super::wire::Wire;

/// Bytes read at a time, on the stack: more than the postbacks that Concur documents.
const READ_BYTES: usize = 4096;

/// As long as a head is shorter than this it is parsed whenever something came, so that what is no HTTP is told so at
/// once. A longer one is parsed at its line ends only: dripping it byte by byte must not cost its length squared.
const EAGER_BYTES: usize = 1024;

/// What the client did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrived {
    /// There is something to answer. It waits in the wire.
    Head,
    /// The client went between two requests.
    Nobody,
    /// The connection failed.
    Failed,
}

/// Reads until hyper has something to do. What was read is given back to `wire`; until then it is held of the `budget`.
///
/// Cancel safety: what was read is lost, and so is the connection.
pub(super) async fn next_head<T: AsyncRead + Unpin>(
    wire: &mut Wire<T>,
    budget: &Budget,
) -> Arrived {
    let mut head = Vec::new();
    let mut held = budget.hold(0);
    poll_fn(|cx| poll_head(wire, &mut head, &mut held, cx)).await
}

/// Not `async`: its buffer and the parser's table stay on the stack.
fn poll_head<T: AsyncRead + Unpin>(
    wire: &mut Wire<T>,
    head: &mut Vec<u8>,
    held: &mut Held,
    cx: &mut Context<'_>,
) -> Poll<Arrived> {
    let mut chunk = [0; READ_BYTES];
    loop {
        let mut buffer = ReadBuf::new(&mut chunk);
        if ready!(Pin::new(&mut *wire).poll_read(cx, &mut buffer)).is_err() {
            return Poll::Ready(Arrived::Failed);
        }
        let read = buffer.filled();
        if read.is_empty() && head.is_empty() {
            return Poll::Ready(Arrived::Nobody);
        }
        let before = head.capacity();
        head.extend_from_slice(read);
        if read.is_empty() || (is_worth_parsing(head, read) && is_answerable(head)) {
            wire.give_back(std::mem::take(head).into());
            return Poll::Ready(Arrived::Head);
        }
        held.grow(head.capacity() - before);
    }
}

fn is_worth_parsing(head: &[u8], read: &[u8]) -> bool {
    head.len() < EAGER_BYTES || head.len() >= MAX_HEAD_BYTES || read.contains(&b'\n')
}

/// Whether hyper, which has the same parser, would not ask for more.
fn is_answerable(head: &[u8]) -> bool {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    head.len() >= MAX_HEAD_BYTES
        || !matches!(
            httparse::Request::new(&mut headers).parse(head),
            Ok(httparse::Status::Partial)
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hyper_is_asked_as_soon_as_it_has_something_to_say() {
        for (answerable, head) in [
            (false, &b""[..]),
            (false, b"POST /postback HTTP/1.1\r\nhost: b\r\n"),
            (false, b"\r\n\r\nPOST"),
            (true, b"POST /postback HTTP/1.1\r\nhost: b\r\n\r\n<x/>"),
            (true, b"POST / HTTP/1.1\n\n"),
            (true, b"\x16\x03\x01"),
            (true, b"POST / HTTP/2.0\r\n"),
            (true, b"POST / HTTP/1.1\r\n folded"),
        ] {
            assert_eq!(is_answerable(head), answerable, "{head:?}");
        }
        assert!(is_answerable(&[b'a'; MAX_HEAD_BYTES]));
        let many = format!("POST / HTTP/1.1\r\n{}", "a: b\r\n".repeat(MAX_HEADERS + 1));
        assert!(is_answerable(many.as_bytes()));
    }
}
