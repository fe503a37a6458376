//! The byte stream under hyper: it notices when a head begins, and puts our words where hyper would use its own.
//!
//! It outlives hyper's part in a connection: what was read too early, or too late for one, is given back to it.
//!
//! Hyper answers what it cannot parse by itself, with 400, 414 or 431 and no body. Those are the only answers with
//! `content-length: 0` on these connections, so they can be told apart and are replaced by a problem document before
//! they leave. Hyper says 431 also when the request line alone was too long and when the announced length of the body is
//! beyond counting; the wire has seen the head go by and knows better.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::answer;
use super::limits::{MAX_HEAD_BYTES, MAX_HEADERS, MAX_TARGET_BYTES};
use super::meters::Refusals;
use super::pace::{Pace, Phase};
use super::refused::Cause;

/// One connection's stream, TLS already undone.
pub(super) struct Wire<T> {
    stream: T,
    pace: Arc<Pace>,
    refusals: Arc<Refusals>,
    head: HeadSeen,
    /// Read already, and to be read again.
    returned: Bytes,
    replacement: Bytes,
    blocked: bool,
}

/// What went by since the present head began. Of a head that came together with the previous body the beginning is
/// missing; then at worst 431 stays 431.
#[derive(Debug, Default)]
struct HeadSeen {
    /// Bytes of the request line so far.
    line_bytes: usize,
    /// Line ends.
    lines: usize,
    bytes: usize,
}

impl HeadSeen {
    fn count(&mut self, read: &[u8]) {
        if self.lines == 0 {
            let line = read.iter().position(|&byte| byte == b'\n');
            self.line_bytes += line.unwrap_or(read.len());
        }
        self.lines += read.iter().filter(|&&byte| byte == b'\n').count();
        self.bytes += read.len();
    }

    /// Why hyper found it too large.
    fn excess(&self) -> Cause {
        if self.line_bytes > MAX_TARGET_BYTES {
            Cause::TargetTooLong
        } else if self.bytes >= MAX_HEAD_BYTES || self.lines > MAX_HEADERS {
            Cause::HeadTooLarge
        } else {
            Cause::BodyTooLarge
        }
    }
}

impl<T> Wire<T> {
    pub(super) fn new(stream: T, pace: Arc<Pace>, refusals: Arc<Refusals>) -> Self {
        Self {
            stream,
            pace,
            refusals,
            head: HeadSeen::default(),
            returned: Bytes::new(),
            replacement: Bytes::new(),
            blocked: false,
        }
    }

    /// Has bytes, all that were read since, read once more.
    pub(super) fn give_back(&mut self, bytes: Bytes) {
        self.returned = bytes;
    }

    /// Tells the pace when an answer does not get through to the client, or does again.
    fn note<R>(&mut self, written: Poll<R>) -> Poll<R> {
        if written.is_pending() != self.blocked {
            self.blocked = written.is_pending();
            self.pace.block(self.blocked);
        }
        written
    }

    /// The cause of an answer that hyper made by itself; `None` for one of ours.
    fn automatic(&self, wire: &[u8]) -> Option<Cause> {
        let status = wire.strip_prefix(b"HTTP/1.")?.get(2..5)?;
        let cause = match status {
            b"400" => Cause::BadHttp,
            b"414" => Cause::TargetTooLong,
            b"431" => self.head.excess(),
            _ => return None,
        };
        let empty = b"\r\ncontent-length: 0\r\n";
        wire.windows(empty.len())
            .any(|window| window == empty)
            .then_some(cause)
    }
}

impl<T: AsyncWrite + Unpin> Wire<T> {
    fn poll_replacement(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.replacement.has_remaining() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.replacement))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.replacement.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Wire<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.returned.has_remaining() {
            let served = self.returned.len().min(buffer.remaining());
            buffer.put_slice(&self.returned.split_to(served));
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let read = &buffer.filled()[before..];
        if read.is_empty() {
            return Poll::Ready(Ok(()));
        }
        match self.pace.phase() {
            Phase::Idle => {
                if !self.pace.enter(Phase::Head) {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
                }
                self.head = HeadSeen::default();
                self.head.count(read);
            }
            Phase::Head => self.head.count(read),
            Phase::Body | Phase::Answer | Phase::Evicted => {}
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Wire<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let replaced = self.poll_replacement(cx);
        ready!(self.note(replaced))?;
        if let Some(cause) = self.automatic(bytes) {
            self.refusals.count(cause);
            self.pace.leave_unread();
            self.replacement = answer::on_the_wire(cause);
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let replaced = self.poll_replacement(cx);
        ready!(self.note(replaced))?;
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.note(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let replaced = self.poll_replacement(cx);
        ready!(self.note(replaced))?;
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.note(shut)
    }
}
