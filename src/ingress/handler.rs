//! One request, from its head to its answer.
//!
//! The order of the checks is interface: 431 and 414, 404, 405, 401 (certificate name, path secret, network, basic),
//! 503 (too many in flight), 415, 413, 401 (signature), and last what the reader says. All but the last two are made
//! before a byte of the body is read, so a client that is not let in costs a head and no more.
//!
//! A refusal that leaves a body unread ends the connection, unless the body is small and already on its way
//! ([`body::discard`]). A body that is cut or late gets no answer at all: 408 would be final for ESS.
//!
//! There is no router and no middleware stack here: two paths are known at start, and each layer of boxed futures
//! would cost as much as the checks themselves.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Request, StatusCode, header};
use hyper::body::Incoming;
use jiff::Timestamp;
use tokio::time::Instant;

use super::Accept;
use super::answer::{self, Answer};
use super::auth::Peer;
use super::body::{self, BodyError};
use super::budget::Budget;
use super::head::{self, Route};
use super::limits::{InFlight, Ticket};
use super::meters::{Ending, Meters, Refusals};
use super::pace::{Pace, Phase};
use super::refused::{Cause, Refused};
use super::signature::Signatures;
use crate::postback::{Dialect, Postback};
use crate::traces::{Outcome, Traces, Underway};

/// What all requests share.
pub(super) struct Handler<A> {
    pub(super) acceptor: A,
    /// Spans of what is let in, when a collector is configured.
    pub(super) traces: Option<Traces>,
    pub(super) routes: [Route; 2],
    pub(super) signatures: Signatures,
    pub(super) max_body_bytes: usize,
    pub(super) in_flight: InFlight,
    pub(super) budget: Budget,
    pub(super) meters: Meters,
    pub(super) refusals: Arc<Refusals>,
}

/// What all requests of one connection share.
pub(super) struct Caller<A> {
    pub(super) handler: Arc<Handler<A>>,
    pub(super) pace: Arc<Pace>,
    pub(super) peer: Peer,
    /// Whether the client certificate bears one of the names asked for, if any are.
    pub(super) named: bool,
}

/// The connection ends without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection ends without an answer")]
pub(super) struct Hangup(pub(super) Ending);

/// A request that was refused, and the path it was refused on.
struct Denied {
    refused: Refused,
    route: Option<Dialect>,
}

/// What the checks before the body lead to.
struct Admitted<'r> {
    route: &'r Route,
    ticket: Ticket,
}

impl<A: Accept> Caller<A> {
    /// Answers one request, or hangs up.
    ///
    /// Cancel safety: the future goes with its connection; a postback that was handed over may still become durable.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Result<Answer, Hangup> {
        let began = Instant::now();
        let received_at = now();
        if !self.pace.enter(Phase::Body) {
            return Err(Hangup(Ending::Evicted));
        }
        let (parts, incoming) = request.into_parts();
        let admitted = match self.admit(&parts, &incoming) {
            Ok(admitted) => admitted,
            Err(denied) => {
                let waits = head::waits_for_continue(&parts.headers);
                let reusable = body::discard(incoming, waits, &self.handler.budget).await;
                return self.refuse(denied, reusable, began);
            }
        };
        let dialect = admitted.route.dialect;
        let deny = |refused| Denied {
            refused,
            route: Some(dialect),
        };
        let bytes =
            match body::read(incoming, self.handler.max_body_bytes, &self.handler.budget).await {
                Ok(bytes) => bytes,
                Err(BodyError::TooLarge) => {
                    return self.refuse(deny(Cause::BodyTooLarge.into()), false, began);
                }
                Err(BodyError::Cut) => return Err(Hangup(Ending::Cut)),
            };
        if dialect == Dialect::Ess
            && let Err(cause) = self.handler.signatures.check(&parts.headers, &bytes)
        {
            return self.refuse(deny(cause.into()), true, began);
        }
        if !self.pace.enter_answer() {
            return Err(Hangup(Ending::Evicted));
        }
        let postback = postback(dialect, parts, bytes, received_at);
        let traces = self.handler.traces.as_ref();
        let span = traces.map(|traces| traces.begin(&postback, began.into_std()));
        let accepted = self.handler.acceptor.accept(postback).await;
        drop(admitted.ticket);
        match accepted {
            Ok(accepted) => {
                let answer = answer::accepted(&accepted);
                end(span, "accepted", answer.status());
                self.handler
                    .meters
                    .answered(dialect, answer.status(), began);
                self.finish(answer, false)
            }
            Err(refusal) => {
                let refused = Refused::from(refusal);
                end(span, refused.cause().label(), refused.cause().status());
                self.refuse(deny(refused), true, began)
            }
        }
    }

    /// Every check that needs only the head.
    fn admit(&self, parts: &Parts, incoming: &Incoming) -> Result<Admitted<'_>, Denied> {
        let handler = &*self.handler;
        let (route, rest) =
            head::route(&handler.routes, &parts.method, &parts.uri).map_err(|unrouted| Denied {
                refused: unrouted.cause.into(),
                route: unrouted.dialect,
            })?;
        let deny = |cause: Cause| Denied {
            refused: cause.into(),
            route: Some(route.dialect),
        };
        if !self.named {
            return Err(deny(Cause::ClientName));
        }
        route.check(rest, self.peer, &parts.headers).map_err(deny)?;
        let ticket = handler.in_flight.enter().ok_or(deny(Cause::Overloaded))?;
        if !head::is_identity(&parts.headers) {
            return Err(deny(Cause::UnsupportedEncoding));
        }
        if body::is_too_large(incoming, handler.max_body_bytes) {
            return Err(deny(Cause::BodyTooLarge));
        }
        Ok(Admitted { route, ticket })
    }

    fn refuse(&self, denied: Denied, reusable: bool, began: Instant) -> Result<Answer, Hangup> {
        let handler = &*self.handler;
        let cause = denied.refused.cause();
        handler.refusals.count(cause);
        if let Some(dialect) = denied.route {
            handler.meters.answered(dialect, cause.status(), began);
        }
        let challenge = handler
            .routes
            .iter()
            .any(|route| Some(route.dialect) == denied.route && route.gate.challenges());
        let answer = answer::refused(&denied.refused, challenge);
        if !reusable {
            self.pace.leave_unread();
        }
        self.finish(answer, !reusable)
    }

    fn finish(&self, answer: Answer, closing: bool) -> Result<Answer, Hangup> {
        let last = closing || self.pace.count_answer();
        if last {
            // Before the phase says that nothing is left to be done.
            self.pace.close();
        }
        if !self.pace.enter(Phase::Idle) {
            return Err(Hangup(Ending::Evicted));
        }
        Ok(if last {
            answer::closing(answer)
        } else {
            answer
        })
    }
}

fn end(span: Option<Underway<'_>>, label: &'static str, status: StatusCode) {
    if let Some(span) = span {
        span.end(Outcome { label, status });
    }
}

/// The postback of an admitted request. The path stays behind, since it may end in the secret.
fn postback(dialect: Dialect, parts: Parts, body: Bytes, received_at: Timestamp) -> Postback {
    let query = parts.uri.query().unwrap_or_default().to_owned();
    Postback {
        dialect,
        query,
        headers: end_to_end(parts.headers),
        body,
        received_at,
    }
}

/// The headers without those that are about this connection.
fn end_to_end(mut headers: HeaderMap) -> HeaderMap {
    for name in [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::EXPECT,
        header::TE,
        header::UPGRADE,
    ] {
        headers.remove(name);
    }
    headers
}

/// The time, to the millisecond.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}
