//! The body: at most `max` bytes of it, or the reason why not.
//!
//! The time it may take is the connection's business ([`Pace`](super::pace::Pace)): a body that is late takes the
//! connection down with the future that waits for it here.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use super::budget::{Budget, WAITING_BYTES};
use super::limits::{DISCARD_BYTES, DISCARD_TIME};

/// Why there is no whole body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyError {
    /// More than `max` bytes, announced or sent: 413, and the rest stays unread.
    TooLarge,
    /// The client went, or its chunks are malformed: no answer.
    Cut,
}

/// Whether the announced length alone is over `max`.
pub(super) fn is_too_large(body: &Incoming, max: usize) -> bool {
    body.size_hint().lower() > max as u64
}

/// Reads the body to its end.
///
/// Cancel safety: what was read is lost with the future; so is the connection.
pub(super) async fn read(
    mut body: Incoming,
    max: usize,
    budget: &Budget,
) -> Result<Bytes, BodyError> {
    if is_too_large(&body, max) {
        return Err(BodyError::TooLarge);
    }
    let mut held = budget.hold(WAITING_BYTES);
    let mut first = Bytes::new();
    let mut more = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BodyError::Cut)?;
        // Trailers are no part of a postback.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if first.len() + more.len() + data.len() > max {
            return Err(BodyError::TooLarge);
        }
        held.grow(data.len());
        if first.is_empty() && more.is_empty() {
            first = data;
            continue;
        }
        if more.is_empty() {
            more.extend_from_slice(&first);
            first = Bytes::new();
        }
        more.extend_from_slice(&data);
    }
    Ok(if more.is_empty() {
        first
    } else {
        more.freeze()
    })
}

/// Drops the body of a refused request. `true`: it came to its end, so the connection can be used again.
pub(super) async fn discard(mut body: Incoming, waits_for_continue: bool, budget: &Budget) -> bool {
    if body.is_end_stream() {
        return true;
    }
    let small = body
        .size_hint()
        .exact()
        .is_some_and(|bytes| bytes <= DISCARD_BYTES);
    if !small || waits_for_continue {
        return false;
    }
    let _held = budget.hold(WAITING_BYTES);
    let drained = async {
        while let Some(frame) = body.frame().await {
            if frame.is_err() {
                return false;
            }
        }
        true
    };
    tokio::time::timeout(DISCARD_TIME, drained)
        .await
        .unwrap_or(false)
}
