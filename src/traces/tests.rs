use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use super::*;
use crate::postback::Dialect;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn postback(query: &str, traceparent: &str) -> Postback {
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", HeaderValue::from_str(traceparent).unwrap());
    Postback {
        dialect: Dialect::V1,
        query: query.to_owned(),
        headers,
        body: Bytes::new(),
        received_at: Timestamp::UNIX_EPOCH,
    }
}

#[test]
fn the_parent_is_the_span_of_the_requests_traceparent() {
    let header = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let parent = parent_of(&postback("type=fop&oauth_token_key=abc", &header)).unwrap();
    assert_eq!(parent.trace_id().to_string(), TRACE);
    assert_eq!(parent.span_id().to_string(), "00f067aa0ba902b7");
    assert!(parent.is_sampled() && parent.is_remote());
    assert_eq!(parent_of(&postback("type=fop", "00-nonsense")), None);
}

#[test]
fn a_traceparent_that_holds_the_token_is_no_parent() {
    let header = format!("00-{TRACE}-00f067aa0ba902b7-01");
    for query in [
        format!("type=fop&oauth_token_key={TRACE}"),
        format!("type=fop&OAUTH_TOKEN_KEY=%34{}", &TRACE[1..]),
    ] {
        assert_eq!(parent_of(&postback(&query, &header)), None, "{query}");
    }
    let mut by_header = postback("type=fop", &header);
    let credentials = HeaderValue::from_str(&format!("OAuth {TRACE}")).unwrap();
    by_header.headers.insert("authorization", credentials);
    assert_eq!(parent_of(&by_header), None);
}

#[test]
fn the_last_spans_take_two_seconds_at_most_and_nothing_beyond_the_deadline() {
    let now = Instant::now();
    for (left, expected) in [(10_000, 2_000), (1_500, 1_500), (0, 0)] {
        assert_eq!(
            flush_time(now, now + Duration::from_millis(left)),
            Duration::from_millis(expected)
        );
    }
    assert_eq!(flush_time(now + FLUSH_TIME, now), Duration::ZERO);
}

fn traces_to(address: std::net::SocketAddr) -> Traces {
    let otel = Otel {
        endpoint: Some(format!("http://{address}").parse().unwrap()),
        service_name: "bridge".to_owned(),
    };
    Traces::start(Outlet::open(&otel).unwrap().unwrap(), "0")
}

fn make_spans(traces: &Traces, count: usize) {
    let postback = postback("type=fop", "");
    for _ in 0..count {
        traces.begin(&postback, Instant::now()).end(Outcome {
            label: "accepted",
            status: StatusCode::OK,
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_beyond_the_queue_are_dropped_and_nobody_waits_for_a_silent_collector() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let traces = traces_to(silent.local_addr().unwrap());
    // The queue is full and stays full: a caller that waited for room would never return.
    make_spans(&traces, QUEUE_SPANS * 3);
    traces.close_within(Duration::from_millis(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_spans_go_out_at_the_end() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let traces = traces_to(listener.local_addr().unwrap());
    let (bodies, mut taken) = tokio::sync::mpsc::channel(16);
    let collector = axum::Router::new().fallback(async move |body: Bytes| {
        bodies.send(body).await.unwrap();
    });
    #[expect(clippy::disallowed_methods, reason = "only the exporter asks")]
    let serving = tokio::spawn(async { axum::serve(listener, collector).await });
    make_spans(&traces, 3);
    // Far more than it takes: the two seconds of the process are no business of a test.
    traces.close_within(Duration::from_secs(600)).await;
    serving.abort();
    let mut spans = 0;
    while let Ok(body) = taken.try_recv() {
        let request = ExportTraceServiceRequest::decode(body).unwrap();
        let scopes = request
            .resource_spans
            .into_iter()
            .flat_map(|resource| resource.scope_spans);
        spans += scopes.map(|scope| scope.spans.len()).sum::<usize>();
    }
    assert_eq!(spans, 3);
}
