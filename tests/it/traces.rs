//! What reaches an OpenTelemetry collector: a span for each postback that was let in, under the request's own trace, and no
//! trouble for the bridge when the collector gives some.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use crate::fake_http::{FakeHttp, Reply, reply};
use crate::support::bridge::{Home, NOBODY, until};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const FOP: &str = "/postback?type=fop&oauth_token_key=nqp8WxIsZ1lZ3uR7";

/// A collector that takes everything.
pub(crate) async fn collector() -> FakeHttp {
    FakeHttp::start(|_, _| reply("200 OK", "Content-Type: application/x-protobuf\r\n", "")).await
}

/// Every span a collector was sent, with the attributes of its resource.
fn spans(collector: &FakeHttp) -> Vec<(BTreeMap<String, String>, Span)> {
    let mut spans = Vec::new();
    for request in collector.requests() {
        assert_eq!(request.line(), "POST /v1/traces HTTP/1.1");
        assert_eq!(
            request.header("content-type"),
            Some("application/x-protobuf")
        );
        let sent = ExportTraceServiceRequest::decode(&request.body[..]).unwrap();
        for group in sent.resource_spans {
            let resource = shown(&group.resource.unwrap().attributes);
            let all = group.scope_spans.into_iter().flat_map(|scope| scope.spans);
            spans.extend(all.map(|span| (resource.clone(), span)));
        }
    }
    spans
}

/// Waits until a collector was sent so many spans.
pub(crate) fn wait_for_spans(collector: &FakeHttp, count: usize) {
    until("the spans at the collector", || {
        (spans(collector).len() >= count).then_some(())
    });
}

fn shown(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |pair: &KeyValue| match pair.value.clone().unwrap().value.unwrap() {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    let pairs = attributes.iter().map(|pair| (pair.key.clone(), text(pair)));
    pairs.collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_postback_that_was_let_in_is_one_span_under_the_trace_of_its_sender() {
    let collector = collector().await;
    let home = Home::new(&[
        ("OTEL__ENDPOINT", &collector.url("")),
        ("OTEL__SERVICE_NAME", "the-bridge"),
    ]);
    let bridge = home.serve();
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let header = format!("traceparent: {traceparent}\r\n");
    assert_eq!(bridge.post(FOP, &header, b"").status, 200);
    assert_eq!(bridge.post("/postback?type=x", "", b"").status, 400);
    assert_eq!(bridge.post("/ess", "", b"{}").status, 200);
    let unsampled = header.replace("-01\r", "-00\r");
    assert_eq!(bridge.post(FOP, &unsampled, b"").status, 200);
    assert_eq!(bridge.post("/elsewhere", &header, b"").status, 404);
    // The end of the process would wait two seconds for them, which may not be enough on a busy machine.
    wait_for_spans(&collector, 3);
    assert_eq!(bridge.stop(), 0);

    let spans = spans(&collector);
    let outcomes: Vec<_> = spans
        .iter()
        .map(|(_, span)| shown(&span.attributes))
        .collect();
    let expected = [
        ("v1", "accepted", "200"),
        ("v1", "unknown_type", "400"),
        ("ess", "accepted", "200"),
    ]
    .map(|(source, outcome, status)| {
        [
            ("concur_bridge.outcome", outcome),
            ("concur_bridge.source", source),
            ("http.request.method", "POST"),
            ("http.response.status_code", status),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    });
    assert_eq!(outcomes, expected);
    for (resource, span) in &spans {
        assert_eq!(resource["service.name"], "the-bridge");
        assert!(span.name == "postback" && span.start_time_unix_nano <= span.end_time_unix_nano);
    }
    let (_, first) = &spans[0];
    assert_eq!(hex(&first.trace_id), TRACE);
    assert_eq!(hex(&first.parent_span_id), PARENT);
    let (_, second) = &spans[1];
    assert!(hex(&second.trace_id) != TRACE && second.parent_span_id.is_empty());
    // What goes on to consumers is the sender's, not a child of it.
    let exported = home.json(&["journal", "export"]);
    assert_eq!(exported[0]["traceparent"], traceparent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_or_silent_costs_no_answer_and_no_clean_end() {
    let silent = FakeHttp::start(|_, _| Reply::Hang).await;
    for endpoint in [format!("http://{NOBODY}"), silent.url("")] {
        let home = Home::new(&[("OTEL__ENDPOINT", &endpoint)]);
        let bridge = home.serve();
        for _ in 0..100 {
            assert_eq!(bridge.post(FOP, "", b"").status, 200);
        }
        let log = home.dir.path().join("log");
        assert_eq!(bridge.stop(), 0, "{endpoint}");
        let log = std::fs::read_to_string(log).unwrap();
        let is_told = log.contains("collector does not take traces")
            || log.contains("did not reach the collector");
        assert!(is_told, "{endpoint}: {log}");
        assert_eq!(home.json(&["journal", "export"]).len(), 100);
    }
}
