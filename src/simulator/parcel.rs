//! A piece of news, packed for one receiver; and what came of sending it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::story::News;
use super::target::Target;
use super::v1::{Malformation, Message};
use crate::postback::Dialect;

/// A piece of news, ready to be sent, as often as need be.
#[derive(Debug, Clone)]
pub struct Parcel {
    /// What it tells.
    pub news: News,
    /// In which format.
    pub dialect: Dialect,
    /// What is wrong with it, on purpose.
    pub malformation: Option<Malformation>,
    /// The body.
    pub body: Bytes,
    /// Sent twice, byte for byte.
    pub(super) is_doubled: bool,
    /// Sent in drops.
    pub(super) is_slow: bool,
    pub(super) target: Arc<Target>,
    uri: Uri,
    headers: HeaderMap,
}

/// What came of one request.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Which try it was, from 1.
    pub attempt: u32,
    /// The answer.
    pub answer: Answer,
    /// From the first byte sent to the last byte read.
    pub latency: Duration,
}

/// The answer to one request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// There was one.
    Status(u16, Bytes),
    /// There was none, and why.
    None(String),
}

/// The body of a request: at once, or in drops.
pub(super) type Content = Either<Full<Bytes>, Drip>;

impl Parcel {
    /// The request target as it may be shown: the token cut short, in a world that is made up anyway.
    pub fn shown(&self) -> String {
        let target = self
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str());
        let (before, rest) = target
            .split_once("oauth_token_key=")
            .unwrap_or((target, ""));
        let after = rest
            .split_once('&')
            .map(|(_, after)| format!("&{after}"))
            .unwrap_or_default();
        let token = if rest.is_empty() {
            ""
        } else {
            "oauth_token_key=…"
        };
        format!("{before}{token}{after}")
    }

    /// Packs a message; `None` when its query makes no URI.
    pub(super) fn pack(
        news: News,
        dialect: Dialect,
        message: Message,
        target: &Arc<Target>,
    ) -> Option<Self> {
        let uri = target.uri(&message.query)?;
        let mut headers = HeaderMap::new();
        headers.insert(HOST, target.authority.clone());
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static("concur-bridge-simulator"),
        );
        // hyper leaves it out when there is no body; Concur does not.
        headers.insert(CONTENT_LENGTH, HeaderValue::from(message.body.len()));
        if let Some(basic) = &target.basic {
            headers.insert(AUTHORIZATION, basic.clone());
        }
        // A user-level postback's own Authorization header leaves no room for basic credentials.
        headers.extend(message.headers);
        let target = Arc::clone(target);
        let body = message.body;
        Some(Self {
            news,
            dialect,
            malformation: None,
            body,
            is_doubled: false,
            is_slow: false,
            target,
            uri,
            headers,
        })
    }

    /// The request. The path may hold a secret and the query holds the token: not for logs.
    pub(super) fn request(&self) -> Request<Content> {
        let content = if self.is_slow {
            Either::Right(Drip::new(self.body.clone()))
        } else {
            Either::Left(Full::new(self.body.clone()))
        };
        let mut request = Request::new(content);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

/// Drops of a body.
const DROPS: usize = 8;

/// The pause before each drop: long enough to span several reads, short enough for any sane body timeout.
const BETWEEN_DROPS: Duration = Duration::from_millis(50);

/// A body that comes in drops, its length told at the start.
#[derive(Debug)]
pub(super) struct Drip {
    rest: Bytes,
    drop_bytes: usize,
    pause: Pin<Box<Sleep>>,
}

impl Drip {
    fn new(body: Bytes) -> Self {
        let drop_bytes = body.len().div_ceil(DROPS).max(1);
        Self {
            rest: body,
            drop_bytes,
            pause: Box::pin(tokio::time::sleep(BETWEEN_DROPS)),
        }
    }
}

impl Body for Drip {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        ready!(self.pause.as_mut().poll(context));
        self.pause = Box::pin(tokio::time::sleep(BETWEEN_DROPS));
        let drop_bytes = self.drop_bytes.min(self.rest.len());
        let next = self.rest.split_to(drop_bytes);
        Poll::Ready(Some(Ok(Frame::data(next))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
