//! Console: the admin port. Probes, metrics, the console page and its JSON.
//!
//! **Promises.** Nothing here returns a token in clear, whatever is asked. Who may ask what is decided in `guard` before
//! a handler runs. The port answers as long as the runtime does: no handler of a probe touches the disk.
//!
//! **Left to others.** Whether the bridge is ready ([`health`](crate::health)), what can be done to quarantined requests
//! ([`quarantine`](crate::quarantine)).

mod api;
mod guard;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use base64::Engine;
use http::StatusCode;
use http::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

pub use guard::{Guard, parse_tokens};

use crate::health::Health;
use crate::quarantine::Quarantine;
use crate::seal::Sealer;

/// Operators, probes and scrapers at a time.
const MAX_CONNECTIONS: usize = 256;

/// From the first byte to the end of a request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// After which a connection is closed, whatever it does.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(300);

/// Between two attempts to accept when the process is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the admin port shows.
#[derive(Clone)]
pub struct Console {
    /// Who may ask.
    pub guard: Guard,
    /// Whether the bridge is ready, and the state behind it.
    pub health: Health,
    /// Renders the metrics.
    pub metrics: PrometheusHandle,
    /// Opens what it sealed, for showing quarantined requests with their token masked.
    pub sealer: Sealer,
    /// Where the journal is looked into.
    pub journal_dir: PathBuf,
    /// What can be done to quarantined requests; `None` in the stateless mode, which keeps them in Kafka only.
    pub quarantine: Option<Quarantine>,
}

impl Console {
    /// Answers on this listener until the process ends: probes are asked to the last moment.
    pub async fn serve(self, listener: TcpListener) -> Infallible {
        let router = self.router();
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let (stream, _) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "the admin port cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // A newcomer beyond the cap is closed at once: a probe that comes again is better than one that hangs.
            let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
                continue;
            };
            let service = TowerToHyperService::new(router.clone());
            tokio::spawn(async move {
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADER_TIMEOUT)
                    .serve_connection(TokioIo::new(stream), service);
                // How a client leaves is its own affair.
                let _ = tokio::time::timeout(CONNECTION_LIFETIME, connection).await;
                drop(place);
            });
        }
    }

    /// Binds the admin address.
    ///
    /// # Errors
    /// As the system says, with the address.
    pub async fn bind(address: SocketAddr) -> Result<TcpListener, std::io::Error> {
        TcpListener::bind(address).await.map_err(|error| {
            std::io::Error::new(
                error.kind(),
                format!("cannot listen on {address} (admin.listen): {error}"),
            )
        })
    }

    fn router(self) -> Router {
        let page = Page::new();
        Router::new()
            .route("/livez", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz))
            .route("/metrics", get(render_metrics))
            .route("/", get(show_page))
            .nest("/api/v1", api::router())
            .layer(middleware::from_fn_with_state(
                (self.guard.clone(), page.clone()),
                admit,
            ))
            .layer(Extension(page))
            .with_state(self)
    }
}

/// The console in one document, and the policy that lets its own script and style run and nothing else.
#[derive(Clone)]
struct Page {
    html: Arc<str>,
    policy: HeaderValue,
}

impl Page {
    fn new() -> Self {
        let (style, script) = (
            include_str!("console/console.css"),
            include_str!("console/console.js"),
        );
        let html = include_str!("console/page.html")
            .replace("/*style*/", style)
            .replace("/*script*/", script);
        let hash = |text: &str| {
            base64::engine::general_purpose::STANDARD
                .encode(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()))
        };
        let policy = format!(
            "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; \
             frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
            hash(script),
            hash(style)
        );
        let policy =
            HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
        Self {
            html: html.into(),
            policy,
        }
    }
}

async fn admit(
    State((guard, page)): State<(Guard, Page)>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let mut response = match guard.admit(request.method(), path, request.headers()) {
        Ok(()) => next.run(request).await,
        // A browser sends no bearer token by itself: the page, which holds no data, asks for it.
        Err(StatusCode::UNAUTHORIZED) if path == "/" => {
            (StatusCode::UNAUTHORIZED, Html(page.html.to_string())).into_response()
        }
        Err(status) => api::problem(status, None),
    };
    if response.status() == StatusCode::UNAUTHORIZED {
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    for (name, value) in [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (
            header::REFERRER_POLICY,
            HeaderValue::from_static("no-referrer"),
        ),
        (header::CONTENT_SECURITY_POLICY, page.policy),
    ] {
        response.headers_mut().insert(name, value);
    }
    response
}

async fn show_page(Extension(page): Extension<Page>) -> Html<String> {
    Html(page.html.to_string())
}

async fn readyz(State(console): State<Console>) -> Response {
    let readiness = console.health.readiness();
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, axum::Json(readiness)).into_response()
}

async fn render_metrics(State(console): State<Console>) -> Response {
    console.health.record();
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        console.metrics.render(),
    )
        .into_response()
}
