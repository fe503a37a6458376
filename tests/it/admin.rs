//! Is the admin port what operators' tools rely on: who may ask, what it refuses, what its metrics say?

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::bridge::Home;

#[test]
fn with_a_token_file_everything_but_probes_and_metrics_asks_for_it() {
    let home = Home::new(&[("ADMIN__TOKEN_FILE", "admin-token")]);
    std::fs::write(home.dir.path().join("admin-token"), "s3cret\n").unwrap();
    let bridge = home.serve();
    for open in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(bridge.ask(open, "").status, 200, "{open}");
    }
    for guarded in ["/", "/api/v1/status", "/api/v1/quarantine", "/nothing"] {
        let answer = bridge.ask(guarded, "");
        assert_eq!(answer.status, 401, "{guarded}");
        assert!(
            answer
                .head
                .to_ascii_lowercase()
                .contains("www-authenticate: bearer"),
            "{answer:?}"
        );
    }
    assert_eq!(
        bridge
            .ask("/api/v1/status", "Authorization: Bearer s3cret\r\n")
            .status,
        200
    );
    assert_eq!(
        bridge
            .ask("/api/v1/status", "Authorization: Bearer wrong\r\n")
            .status,
        401
    );
    // Commands find port and token by themselves.
    let answer = bridge.post("/postback", "", b"");
    let id = serde_json::from_str::<Value>(&answer.body).unwrap()["quarantineId"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(home.run(&["quarantine", "discard", &id]).status.success());
}

#[test]
fn the_api_refuses_what_it_does_not_know_as_a_problem() {
    let home = Home::new(&[]);
    let bridge = home.serve();
    for (query, status) in [
        ("limit=1&after=0", 200),
        ("limit=1&from=3", 400),
        ("limit=x", 400),
    ] {
        let answer = bridge.ask(&format!("/api/v1/records?{query}"), "");
        assert_eq!(answer.status, status, "{query}: {answer:?}");
        let is_problem = answer.head.contains("application/problem+json");
        assert_eq!(is_problem, status == 400, "{query}: {answer:?}");
    }
}

#[test]
fn every_metric_says_what_it_means() {
    let home = Home::new(&[]);
    let bridge = home.serve();
    let posted = bridge.post(
        "/postback?type=itinerary&oauth_token_key=CANARYTOKEN42",
        "",
        b"<Notification><EventType>CREATE</EventType><TripId>T1</TripId></Notification>",
    );
    assert_eq!(posted.status, 200, "{posted:?}");
    let metrics = bridge.ask("/metrics", "").body;
    let named = |word: &str| -> BTreeSet<String> {
        metrics
            .lines()
            .filter_map(|line| line.strip_prefix(word)?.split(' ').next())
            .map(str::to_owned)
            .collect()
    };
    for series in [
        r#"publish_events_total{topic="concur.itinerary"} 0"#,
        r#"publish_errors_total{kind="fenced"} 0"#,
        "publish_duration_seconds_count 0",
    ] {
        assert!(
            metrics.contains(series),
            "{series} is not there before the first: {metrics}"
        );
    }
    let rendered = named("# TYPE ");
    assert!(rendered.len() > 20, "{metrics}");
    assert_eq!(rendered, named("# HELP "));
}
