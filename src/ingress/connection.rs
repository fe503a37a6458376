//! One connection, from its first byte to its last.
//!
//! It goes to and fro between two states. While nothing of a request has come it waits for an [`arrival`] and costs little;
//! then hyper's HTTP/1.1 server has it, until it has been at rest for a moment ([`REST_AFTER`](super::limits::REST_AFTER)).
//! Both are watched by one [`Clock`] that follows the connection's [`Pace`]: its timer is only moved when a nearer deadline
//! appears, so a busy connection does not touch the timer wheel per request. HTTP/2, in clear or by ALPN, is not spoken.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use super::Accept;
use super::arrival::{self, Arrived};
use super::budget::Budget;
use super::handler::{Caller, Hangup};
use super::limits::{LINGER_BYTES, LINGER_TIME, MAX_HEAD_BYTES, READ_BUFFER_BYTES};
use super::meters::Ending;
use super::pace::{Pace, Phase};
use super::wire::Wire;

/// Serves requests until the client or the time is gone, or until `stop`. Returns why it ended, when that was early.
///
/// Cancel safety: a request in progress is lost with the future; one that was handed over may still become durable.
///
/// Not an `async fn`: that would keep its arguments beside what is made of them, and there are thousands of these.
pub(super) fn serve<A, T>(
    stream: T,
    caller: Arc<Caller<A>>,
    stop: CancellationToken,
) -> impl Future<Output = Option<Ending>>
where
    A: Accept,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let pace = Arc::clone(&caller.pace);
    let refusals = Arc::clone(&caller.handler.refusals);
    let mut wire = Wire::new(stream, Arc::clone(&pace), refusals);
    async move {
        let mut stopped = pin!(stop.cancelled());
        let first = pace.deadline().unwrap_or_else(Instant::now);
        let mut timer = pin!(tokio::time::sleep_until(first));
        let mut clock = Clock {
            pace: &pace,
            stopped: stopped.as_mut(),
            timer: timer.as_mut(),
        };
        loop {
            match arrived(&mut wire, &caller.handler.budget, &mut clock).await {
                Ok(Arrived::Head) => {}
                Ok(Arrived::Nobody) => return None,
                Ok(Arrived::Failed) => return Some(Ending::Cut),
                Err(ended) => return ended,
            }
            let caller = Arc::clone(&caller);
            let service = service_fn(move |request| {
                let caller = Arc::clone(&caller);
                async move { caller.answer(request).await }
            });
            // On the heap, so that a connection that waits does not take its room.
            match Box::pin(http(wire, service, &mut clock)).await {
                Outcome::AtRest(rested) => wire = rested,
                Outcome::Ended(ending) => return ending,
            }
        }
    }
}

/// What becomes of a connection that hyper had.
enum Outcome<T> {
    /// Its client has not come back for a while.
    AtRest(Wire<T>),
    /// It is over; why, when that was early.
    Ended(Option<Ending>),
}

/// The time and the stop of one connection.
struct Clock<'c, 's> {
    pace: &'c Pace,
    stopped: Pin<&'c mut WaitForCancellationFuture<'s>>,
    timer: Pin<&'c mut Sleep>,
}

/// What the clock says.
enum Alarm {
    Rest,
    Late(Ending),
}

impl Clock<'_, '_> {
    /// Whether the process stops, once.
    fn poll_stop(&mut self, cx: &mut Context<'_>) -> bool {
        let stops = !self.pace.is_stopping() && self.stopped.as_mut().poll(cx).is_ready();
        if stops {
            self.pace.stop();
        }
        stops
    }

    /// Ready when the connection has rested long enough, if it `may_rest`, or when its phase took too long.
    fn poll_time(&mut self, may_rest: bool, cx: &mut Context<'_>) -> Poll<Alarm> {
        loop {
            let Some(deadline) = self.pace.deadline() else {
                return Poll::Pending;
            };
            let rest = self.pace.rest_at().filter(|at| may_rest && *at < deadline);
            let due = rest.unwrap_or(deadline);
            if due < self.timer.deadline() || self.timer.is_elapsed() {
                self.timer.as_mut().reset(due);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if Instant::now() >= due {
                return Poll::Ready(match rest {
                    Some(_) => Alarm::Rest,
                    None => Alarm::Late(late(self.pace.phase())),
                });
            }
        }
    }
}

/// Waits for the next request. `Err`: the connection is over, and why, when that was early.
async fn arrived<T: AsyncRead + Unpin>(
    wire: &mut Wire<T>,
    budget: &Budget,
    clock: &mut Clock<'_, '_>,
) -> Result<Arrived, Option<Ending>> {
    let mut head = pin!(arrival::next_head(wire, budget));
    poll_fn(|cx| {
        clock.poll_stop(cx);
        if let Poll::Ready(arrived) = head.as_mut().poll(cx) {
            return Poll::Ready(Ok(arrived));
        }
        if clock.pace.is_stopping() && clock.pace.phase() == Phase::Idle {
            return Poll::Ready(Err(None));
        }
        clock.poll_time(false, cx).map(|alarm| match alarm {
            Alarm::Late(ending) => Err(Some(ending)),
            Alarm::Rest => Err(None),
        })
    })
    .await
}

/// Runs HTTP until the connection is over or at rest.
async fn http<T, S>(wire: Wire<T>, service: S, clock: &mut Clock<'_, '_>) -> Outcome<T>
where
    T: AsyncRead + AsyncWrite + Unpin,
    S: HttpService<Incoming, ResBody = Full<Bytes>, Error = Hangup> + Unpin,
{
    let mut connection = protocol().serve_connection(TokioIo::new(wire), service);
    if clock.pace.is_stopping() {
        Pin::new(&mut connection).graceful_shutdown();
    }
    let ended = poll_fn(|cx| {
        if clock.poll_stop(cx) {
            Pin::new(&mut connection).graceful_shutdown();
        }
        if let Poll::Ready(result) = Pin::new(&mut connection).poll(cx) {
            return Poll::Ready(Ok(result));
        }
        clock.poll_time(true, cx).map(Err)
    })
    .await;

    match ended {
        Err(Alarm::Rest) => {
            // Nothing is lost: no request is in progress, and the pace knows of every byte that waits to be written.
            let parts = connection.into_parts();
            let mut wire = parts.io.into_inner();
            // The beginning of a head that came with the request before it: its time begins here.
            if !parts.read_buf.is_empty() && !clock.pace.enter(Phase::Head) {
                return Outcome::Ended(Some(Ending::Evicted));
            }
            wire.give_back(parts.read_buf);
            Outcome::AtRest(wire)
        }
        Err(Alarm::Late(ending)) => Outcome::Ended(Some(ending)),
        Ok(_) if clock.pace.left_unread() => {
            linger(connection.into_parts().io.into_inner()).await;
            Outcome::Ended(None)
        }
        Ok(result) => Outcome::Ended(result.err().map(why)),
    }
}

/// HTTP/1.1 as it is spoken here. `max_headers` is left alone: hyper's own 100 is
/// [`MAX_HEADERS`](super::limits::MAX_HEADERS), and setting it moves its table to the heap. Its header timeout is off
/// because it cannot tell an idle connection from a slow head.
fn protocol() -> http1::Builder {
    let mut protocol = http1::Builder::new();
    protocol
        .header_read_timeout(None)
        .max_header_size(MAX_HEAD_BYTES)
        .max_buf_size(READ_BUFFER_BYTES)
        // A client that closes its sending half after the request still gets its answer.
        .half_close(true)
        .keep_alive(true);
    protocol
}

fn late(phase: Phase) -> Ending {
    match phase {
        Phase::Head => Ending::HeadLate,
        Phase::Body => Ending::BodyLate,
        Phase::Idle | Phase::Answer => Ending::Idle,
        Phase::Evicted => Ending::Evicted,
    }
}

/// What made hyper give up: the handler hung up, or the client went in the middle of something.
fn why(error: hyper::Error) -> Ending {
    std::error::Error::source(&error)
        .and_then(|source| source.downcast_ref::<Hangup>())
        .map_or(Ending::Cut, |hangup| hangup.0)
}

/// Closes without losing the answer: sends the end, then swallows what still arrives, for a while.
async fn linger<T: AsyncRead + AsyncWrite + Unpin>(mut stream: T) {
    let swallow = async {
        if stream.shutdown().await.is_err() {
            return;
        }
        let mut swallowed = 0;
        while swallowed < LINGER_BYTES {
            match poll_fn(|cx| poll_swallow(&mut stream, cx)).await {
                Ok(0) | Err(_) => return,
                Ok(read) => swallowed += read,
            }
        }
    };
    // Being late only means that the client gets its reset.
    let _ = tokio::time::timeout(LINGER_TIME, swallow).await;
}

/// Not `async`: its buffer stays on the stack.
fn poll_swallow<T: AsyncRead + Unpin>(
    stream: &mut T,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut sink = [0; 4096];
    let mut sink = ReadBuf::new(&mut sink);
    ready!(Pin::new(stream).poll_read(cx, &mut sink))?;
    Poll::Ready(Ok(sink.filled().len()))
}
