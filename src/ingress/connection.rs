//! One connection, from its first byte to its last.
//!
//! The stream is unwrapped (PROXY header, TLS), given to hyper's HTTP/1.1 server, and watched by one timer that follows
//! the connection's [`Pace`]: the timer is only moved when a nearer deadline appears, so a busy connection does not
//! touch the timer wheel per request. HTTP/2, in clear or by ALPN, is not spoken.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Accept;
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
    let wire = Wire::new(
        stream,
        Arc::clone(&pace),
        Arc::clone(&caller.handler.refusals),
    );
    let service = service_fn(move |request| {
        let caller = Arc::clone(&caller);
        async move { caller.answer(request).await }
    });
    let connection = protocol().serve_connection(TokioIo::new(wire), service);
    watch(connection, pace, stop)
}

/// Runs one HTTP connection under its clock.
async fn watch<T, S>(
    mut connection: http1::Connection<TokioIo<Wire<T>>, S>,
    pace: Arc<Pace>,
    stop: CancellationToken,
) -> Option<Ending>
where
    T: AsyncRead + AsyncWrite + Unpin,
    S: HttpService<Incoming, ResBody = Full<Bytes>, Error = Hangup> + Unpin,
{
    let mut stopped = pin!(stop.cancelled());
    let mut stopping = false;
    let mut timer = pin!(tokio::time::sleep_until(
        pace.deadline().map_or_else(Instant::now, Instant::from_std)
    ));

    let ended = poll_fn(|cx| {
        if !stopping && stopped.as_mut().poll(cx).is_ready() {
            stopping = true;
            pace.stop();
            Pin::new(&mut connection).graceful_shutdown();
        }
        if let Poll::Ready(result) = Pin::new(&mut connection).poll(cx) {
            return Poll::Ready(Ok(result));
        }
        while let Some(deadline) = pace.deadline().map(Instant::from_std) {
            if deadline < timer.deadline() || timer.is_elapsed() {
                timer.as_mut().reset(deadline);
            }
            if timer.as_mut().poll(cx).is_pending() {
                break;
            }
            if Instant::now() >= deadline {
                return Poll::Ready(Err(late(pace.phase())));
            }
        }
        Poll::Pending
    })
    .await;

    match ended {
        Err(ending) => Some(ending),
        Ok(result) => {
            if pace.left_unread() {
                Box::pin(linger(connection.into_parts().io.into_inner())).await;
                return None;
            }
            result.err().map(why)
        }
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
        let mut sink = [0; 4096];
        let mut swallowed = 0;
        while swallowed < LINGER_BYTES {
            match stream.read(&mut sink).await {
                Ok(0) | Err(_) => return,
                Ok(read) => swallowed += read,
            }
        }
    };
    // Being late only means that the client gets its reset.
    let _ = tokio::time::timeout(LINGER_TIME, swallow).await;
}
