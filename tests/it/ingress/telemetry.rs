//! What is counted and logged: closed label sets, one line a second and reason, nothing of any request.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use tracing_subscriber::fmt::MakeWriter;

use super::bench::{Bench, Setup, postback, request, until};

const HOSTILE: &str = "\u{1b}[31mc4n4ry";

#[tokio::test(start_paused = true)]
async fn requests_are_counted_by_path_and_status_and_refusals_by_reason() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let rendered = recorder.handle();
    let bench = metrics::with_local_recorder(&recorder, Bench::start);
    let series = || {
        let text = rendered.render();
        text.lines().filter(|line| !line.starts_with('#')).count()
    };
    let before = series();

    let mut client = bench.connect().await;
    client.ask(postback("/postback")).await.unwrap();
    client.ask(postback("/ess")).await.unwrap();
    client.ask(postback("/ess")).await.unwrap();
    let encoded = request("/ess", "content-encoding: gzip\r\n", "x");
    client.ask(encoded).await.unwrap();
    for number in 0..500 {
        let path = format!("/c4n4ry-{number}");
        assert_eq!(client.ask(postback(&path)).await.unwrap().status, 404);
    }
    let long = postback(&format!("/postback?{}", "x".repeat(20_000)));
    bench.connect().await.ask(long).await.unwrap();
    bench.connect().await.ask("c4n4ry\r\n\r\n").await.unwrap();

    let text = rendered.render();
    for line in [
        r#"concur_bridge_ingress_requests_total{source="v1",status="200"} 1"#,
        r#"concur_bridge_ingress_requests_total{source="v1",status="414"} 1"#,
        r#"concur_bridge_ingress_requests_total{source="ess",status="200"} 2"#,
        r#"concur_bridge_ingress_requests_total{source="ess",status="415"} 1"#,
        r#"concur_bridge_ingress_refusals_total{reason="unsupported_encoding"} 1"#,
        r#"concur_bridge_ingress_refusals_total{reason="unknown_path"} 500"#,
        r#"concur_bridge_ingress_refusals_total{reason="bad_http"} 1"#,
        "concur_bridge_ingress_duration_seconds_count 5",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("c4n4ry"));
    // A histogram shows its series with its first value; no request adds one.
    let grown = series() - before;
    assert!(grown <= 20, "{grown} new series");
}

#[tokio::test(start_paused = true)]
async fn a_connection_ends_with_its_client() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let rendered = recorder.handle();
    let bench = metrics::with_local_recorder(&recorder, Bench::start);
    let open = |count: usize| {
        let line = format!("concur_bridge_ingress_connections {count}\n");
        rendered.render().contains(&line)
    };
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = bench.connect().await;
        client.ask(postback("/postback")).await.unwrap();
        clients.push(client);
    }
    until(|| open(5)).await;
    clients.truncate(2);
    until(|| open(2)).await;
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_are_logged_at_most_once_a_second_and_reason_and_quote_nothing() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::DEBUG)
        .with_writer(lines.clone())
        .finish();
    let _collecting = tracing::subscriber::set_default(subscriber);
    let bench = Setup::default().start();
    for _ in 0..2 {
        for number in 0..100 {
            let mut client = bench.connect().await;
            let path = format!("/%1b[31mc4n4ry-{number}");
            let asked = request(&path, "x-a: c4n4ry\r\n", "c4n4ry");
            assert_eq!(client.ask(asked).await.unwrap().status, 404);
            client
                .ask(format!("{HOSTILE} / HTTP/1.1\r\n\r\n"))
                .await
                .unwrap();
        }
        tokio::time::advance(Duration::from_secs(1)).await;
    }

    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let mut refused = Vec::new();
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        // Hyper's own debug lines are not ours to shape; they must be as silent about the request.
        let fields = &line["fields"];
        if fields["message"] == "request refused" {
            let reason = fields["reason"].as_str().unwrap().to_owned();
            refused.push((reason, fields["more"].as_u64().unwrap()));
        }
    }
    let line = |reason: &str, more| (reason.to_owned(), more);
    assert_eq!(
        refused,
        [
            line("unknown_path", 0),
            line("bad_http", 0),
            line("unknown_path", 99),
            line("bad_http", 99),
        ]
    );
    assert!(!text.contains("c4n4ry"), "{text}");
    assert!(!text.contains('\u{1b}'));
}
