//! One call and its tries.

use std::time::{Duration, SystemTime};

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokio::time::Instant;

use super::retry::{Patience, retry_after};
use super::{BaseUrl, CallError, words};
use crate::outbound;
use crate::secret::Token;

/// Largest answer that is read: a list of subscriptions is a few KiB.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// The header by which Concur links calls.
const CORRELATION_ID: &str = "Concur-Correlationid";

/// Calls one Concur, for one errand.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: BaseUrl,
    patience: Patience,
    deadline: Instant,
}

/// Why no client can be made: the system lacks what TLS needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot set up TLS: {0} (are root certificates installed, or SSL_CERT_FILE set?)")]
pub struct ClientError(String);

/// What to send. Paths are encoded already.
pub(super) struct Request<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) authorization: Option<(Scheme, &'a Token)>,
    pub(super) accept: &'static str,
    pub(super) content_type: Option<&'static str>,
    pub(super) body: Vec<u8>,
    /// Ties the calls of an errand together on Concur's side; its support asks for it.
    pub(super) correlation_id: Option<&'a str>,
    /// What must not come back in words, besides the token.
    pub(super) secret: Option<&'a Token>,
}

/// The scheme of the `Authorization` header.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scheme {
    /// v1.
    OAuth,
    /// ESS.
    Bearer,
}

/// A success.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
}

/// How one try ended.
enum Try {
    Answered(StatusCode, HeaderMap, Vec<u8>),
    Silent,
    Broken(String),
}

impl Client {
    /// Makes a client; the errand's time starts now.
    ///
    /// # Errors
    /// For https: the system has no root certificates.
    pub fn new(base: BaseUrl, patience: Patience) -> Result<Self, ClientError> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("concur-bridge/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .pool_max_idle_per_host(0)
            .http1_only()
            .http1_title_case_headers();
        let tls = outbound::tls(base.is_https()).map_err(|error| ClientError(error.to_string()))?;
        builder = builder
            .tls_backend_preconfigured(tls)
            .https_only(base.is_https());
        if base.is_loopback() {
            builder = builder.no_proxy();
        }
        let http = builder
            .build()
            .map_err(|error| ClientError(error.to_string()))?;
        Ok(Self {
            http,
            base,
            patience,
            deadline: Instant::now() + patience.total,
        })
    }

    /// Sends a request until it succeeds, is refused, or tries or time are used up. Every request of this module may
    /// be sent twice without harm.
    ///
    /// # Errors
    /// See [`CallError`].
    pub(super) async fn call(&self, request: &Request<'_>) -> Result<Answer, CallError> {
        self.call_through(request, || self.send(request)).await
    }

    /// [`Client::call`], each try made by `send`. Tests pass one that needs no network, and move the clock.
    async fn call_through<F>(
        &self,
        request: &Request<'_>,
        send: impl Fn() -> F,
    ) -> Result<Answer, CallError>
    where
        F: Future<Output = Try>,
    {
        let started = Instant::now();
        let mut tries = 0;
        loop {
            tries += 1;
            let outcome = self.try_once(tries, send()).await;
            let asked = match &outcome {
                Try::Answered(status, ..) if status.is_success() => None,
                Try::Answered(status, headers, _) if is_passing(*status) => {
                    retry_after(headers, SystemTime::now())
                }
                Try::Answered(..) => None,
                Try::Silent | Try::Broken(_) => None,
            };
            let pause = asked.unwrap_or_else(|| self.patience.pause_after(tries));
            let left = self.deadline.saturating_duration_since(Instant::now());
            let may_retry = tries < self.patience.tries && pause < left;
            let error = match outcome {
                Try::Answered(status, _, body) if status.is_success() => {
                    return Ok(Answer { status, body });
                }
                Try::Answered(status, headers, body) => self.judge(
                    request,
                    status,
                    &headers,
                    &body,
                    tries,
                    asked.filter(|wait| *wait >= left),
                ),
                Try::Silent => CallError::Silent {
                    base: self.base.to_string(),
                    waited: started.elapsed(),
                    tries,
                },
                Try::Broken(reason) => CallError::Unreachable {
                    base: self.base.to_string(),
                    reason: self.clean(request, &reason),
                    tries,
                },
            };
            let passing = match &error {
                CallError::Silent { .. }
                | CallError::Unreachable { .. }
                | CallError::Busy { .. } => true,
                CallError::Refused { .. }
                | CallError::Redirected { .. }
                | CallError::Unreadable { .. } => false,
            };
            if !passing || !may_retry {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// One try; the time left is shared fairly with the tries that may follow.
    async fn try_once(&self, tries: u32, sent: impl Future<Output = Try>) -> Try {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let timeout = left / (self.patience.tries + 1).saturating_sub(tries).max(1);
        tokio::time::timeout(timeout, sent)
            .await
            .unwrap_or(Try::Silent)
    }

    async fn send(&self, request: &Request<'_>) -> Try {
        match self.exchange(request).await {
            Ok((status, headers, body)) => Try::Answered(status, headers, body),
            Err(error) => Try::Broken(outbound::innermost(&error.without_url())),
        }
    }

    async fn exchange(
        &self,
        request: &Request<'_>,
    ) -> Result<(StatusCode, HeaderMap, Vec<u8>), reqwest::Error> {
        let mut builder = self
            .http
            .request(request.method.clone(), self.base.join(request.path))
            .header(ACCEPT, request.accept);
        if let Some((scheme, token)) = request.authorization {
            builder = builder.header(AUTHORIZATION, scheme.credentials(token));
        }
        if let Some(content_type) = request.content_type {
            builder = builder.header(CONTENT_TYPE, content_type);
        }
        if let Some(correlation_id) = request.correlation_id {
            builder = builder.header(CORRELATION_ID, correlation_id);
        }
        if request.method == Method::POST && request.body.is_empty() {
            // hyper leaves it out; some gateways answer 411 then.
            builder = builder.header(CONTENT_LENGTH, 0);
        }
        let mut response = builder.body(request.body.clone()).send().await?;
        let mut body = Vec::new();
        while body.len() < MAX_ANSWER_BYTES
            && let Some(chunk) = response.chunk().await?
        {
            body.extend_from_slice(&chunk);
        }
        Ok((response.status(), response.headers().clone(), body))
    }

    fn judge(
        &self,
        request: &Request<'_>,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        tries: u32,
        wait: Option<Duration>,
    ) -> CallError {
        let words = words::readable(body, &request.secrets());
        if is_passing(status) {
            CallError::Busy {
                status,
                words,
                wait,
                tries,
            }
        } else if status.is_redirection() {
            let location = headers
                .get(LOCATION)
                .map(|value| String::from_utf8_lossy(value.as_bytes()));
            CallError::Redirected {
                status,
                location: self.clean(request, &location.unwrap_or_default()),
            }
        } else {
            CallError::Refused { status, words }
        }
    }

    fn clean(&self, request: &Request<'_>, text: &str) -> String {
        words::clean(text, &request.secrets())
    }
}

impl Request<'_> {
    fn secrets(&self) -> Vec<&Token> {
        let token = self.authorization.map(|(_, token)| token);
        token.into_iter().chain(self.secret).collect()
    }
}

impl Scheme {
    /// The header's value. A token that no header can carry becomes an empty one: Concur refuses it.
    fn credentials(self, token: &Token) -> HeaderValue {
        let name = match self {
            Self::OAuth => "OAuth",
            Self::Bearer => "Bearer",
        };
        let mut value = HeaderValue::from_str(&format!("{name} {}", token.expose()))
            .unwrap_or_else(|_| HeaderValue::from_static(""));
        value.set_sensitive(true);
        value
    }
}

/// Whether the same request may succeed a little later.
fn is_passing(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
}

#[cfg(test)]
mod tests;
