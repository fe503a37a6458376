//! Does a token, or with hashed user ids a login, get anywhere it must not?
//!
//! Canaries are planted in every field of a request, raw and percent-encoded, for every outcome and every mode; then
//! everything that leaves the process is searched: answers, logs, metrics, traces, the admin port, the output of commands,
//! and all files on disk.

use crate::fake_http::FakeHttp;
use crate::support::bridge::{Answer, Home, all_bytes};
use crate::traces::{collector, wait_for_spans};

const TOKEN: &str = "cAnArY0tOkEn7Zq4Lw9";
/// Every third byte of the token, percent-encoded.
const TOKEN_ENCODED: &str = "%63An%41rY%30tO%6bEn%37Zq%34Lw9";
const LOGIN: &str = "canary.login@example.com";

/// A request with the token in one field: where, target, headers, body, expected status.
fn requests() -> Vec<(&'static str, String, String, String, u16)> {
    let query = format!(
        "/postback?type=itinerary&oauth_token_key={TOKEN}&userid_type=login&userid_value={LOGIN}"
    );
    let body = |inner: &str| {
        format!(
            "<Notification><EventType>CREATE</EventType><TripId>trip-1</TripId>{inner}</Notification>"
        )
    };
    let mut requests = Vec::new();
    let mut plant = |place, target: String, headers: String, body: String, status| {
        requests.push((place, target, headers, body, status));
    };
    plant("nowhere else", query.clone(), String::new(), body(""), 200);
    for (place, shape) in [
        ("trip id", "<ObjectURI>u</ObjectURI>"),
        (
            "object uri",
            "<ObjectURI>https://www.concursolutions.com/trip?t=@</ObjectURI>",
        ),
        (
            "untrusted uri",
            "<ObjectURI>http://@:@@evil.example/@</ObjectURI>",
        ),
        ("event date", "<EventDateTime>@</EventDateTime>"),
        ("context", "<Context>@</Context>"),
        ("object type", "<ObjectType>@</ObjectType>"),
        ("extra text", "<Unknown>x@x</Unknown>"),
        ("extra name", "<a@>x</a@>"),
        ("comment", "<!-- @ -->"),
    ] {
        for token in [TOKEN, TOKEN_ENCODED] {
            if place == "extra name" && token == TOKEN_ENCODED {
                continue;
            }
            plant(
                place,
                query.clone(),
                String::new(),
                body(&shape.replace('@', token)),
                200,
            );
        }
    }
    plant(
        "trip id itself",
        query.clone(),
        String::new(),
        format!("<Notification><TripId>{TOKEN}</TripId></Notification>"),
        200,
    );
    plant(
        "event type",
        query.clone(),
        String::new(),
        format!("<Notification><TripId>t</TripId><EventType>{TOKEN}</EventType></Notification>"),
        200,
    );
    plant(
        "unknown parameter",
        format!("{query}&x={TOKEN}&{TOKEN}=1"),
        String::new(),
        body(""),
        200,
    );
    plant(
        "user id",
        format!(
            "/postback?type=profile&oauth_token_key={TOKEN}&userid_type=login&userid_value={TOKEN}"
        ),
        String::new(),
        String::new(),
        200,
    );
    plant(
        "header only",
        "/postback?type=profile".to_owned(),
        format!("Authorization: OAuth {TOKEN}\r\n"),
        String::new(),
        200,
    );
    plant(
        "header and query",
        query.clone(),
        format!("Authorization: oauth {TOKEN}\r\n"),
        body(""),
        200,
    );
    plant(
        "other headers",
        query.clone(),
        format!(
            "X-Token: {TOKEN}\r\nUser-Agent: {TOKEN}\r\nReferer: http://x/{TOKEN}\r\ntraceparent: {TOKEN}\r\n"
        ),
        body(""),
        200,
    );
    plant(
        "fop body",
        format!("/postback?type=fop&oauth_token_key={TOKEN}"),
        String::new(),
        format!("token={TOKEN}"),
        200,
    );
    plant(
        "profile body",
        query.replace("itinerary", "profile"),
        String::new(),
        format!("{{\"token\":\"{TOKEN}\",\"login\":\"{LOGIN}\"}}"),
        200,
    );
    // Malformed, each in its own way, with the token in the part that is wrong.
    for (place, target, body) in [
        (
            "missing type",
            format!("/postback?oauth_token_key={TOKEN}"),
            String::new(),
        ),
        (
            "unknown type",
            format!("/postback?type={TOKEN}&oauth_token_key={TOKEN}"),
            String::new(),
        ),
        (
            "duplicate token",
            format!("{query}&oauth_token_key={TOKEN}2"),
            body(""),
        ),
        (
            "bad escape",
            format!("/postback?type=fop&oauth_token_key=%zz{TOKEN}"),
            String::new(),
        ),
        (
            "bad utf-8",
            format!("/postback?type=fop&oauth_token_key=%ff{TOKEN}"),
            String::new(),
        ),
        (
            "cut xml",
            query.clone(),
            format!("<Notification><TripId>{TOKEN}"),
        ),
        (
            "doctype",
            query.clone(),
            format!("<!DOCTYPE {TOKEN}><Notification/>"),
        ),
        ("wrong root", query.clone(), format!("<{TOKEN}/>")),
        (
            "too deep",
            query.clone(),
            format!("<Notification>{}{TOKEN}", "<a>".repeat(20)),
        ),
        (
            "missing identity",
            format!("/postback?type=itinerary&oauth_token_key={TOKEN}"),
            "<Notification/>".to_owned(),
        ),
        (
            "no token at all",
            format!("/postback?type=fop&x={TOKEN}"),
            String::new(),
        ),
        (
            "registered url with a query",
            format!("/postback?type=fop?oauth_token_key={TOKEN}"),
            String::new(),
        ),
        (
            "registered url with a tenant",
            format!("/postback?tenant=5?oauth_token_key={TOKEN}&type=fop"),
            String::new(),
        ),
        (
            "semicolon",
            format!("/postback?type=bogus;oauth_token_key={TOKEN}"),
            String::new(),
        ),
        (
            "an element of the body",
            "/postback?type=bogus".to_owned(),
            format!("<oauth_token_key>{TOKEN}</oauth_token_key><!-- {TOKEN_ENCODED} -->"),
        ),
        (
            "a member of the body",
            "/postback?type=bogus".to_owned(),
            format!("{{\"token\":\"{TOKEN}\",\"x\":\"{TOKEN}\"}}"),
        ),
        ("ess not json", "/ess".to_owned(), format!("{{{TOKEN}")),
        ("ess array", "/ess".to_owned(), format!("[\"{TOKEN}\"]")),
    ] {
        plant(place, target, String::new(), body, 400);
    }
    // Refused before anything is kept.
    plant(
        "unknown path",
        format!("/{TOKEN}?oauth_token_key={TOKEN}"),
        String::new(),
        String::new(),
        404,
    );
    plant(
        "encoding",
        query.clone(),
        format!("Content-Encoding: {TOKEN}\r\n"),
        body(""),
        415,
    );
    plant(
        "large body",
        query.clone(),
        String::new(),
        TOKEN.repeat(20_000),
        413,
    );
    plant(
        "long target",
        format!("{query}&x={}", TOKEN.repeat(10_000)),
        String::new(),
        String::new(),
        414,
    );
    requests
}

#[tokio::test(flavor = "multi_thread")]
async fn no_canary_leaves_the_process_or_reaches_the_disk_in_any_mode() {
    let mut combinations = 0;
    for publish in ["encrypted", "fingerprint", "plain"] {
        for user in ["plain", "hashed"] {
            for events in ["structured", "binary"] {
                combinations += search(publish, user, events, &collector().await);
            }
        }
    }
    println!("{combinations} combinations of mode, field and outcome");
    assert!(combinations >= 400, "{combinations}");
}

/// Plants every canary in one mode. How many there were.
fn search(publish: &str, user: &str, events: &str, collector: &FakeHttp) -> usize {
    let mode = format!("{publish} {user} {events}");
    let home = Home::new(&[
        ("TOKENS__PUBLISH", publish),
        ("EVENTS__USER", user),
        ("EVENTS__MODE", events),
        ("LOG__LEVEL", "trace"),
        ("OTEL__ENDPOINT", &collector.url("")),
    ]);
    let bridge = home.serve();
    let requests = requests();
    for (place, target, headers, body, status) in &requests {
        let answer = bridge.post(target, headers, body.as_bytes());
        assert_eq!(answer.status, *status, "{mode}, {place}: {answer:?}");
        none_in(&format!("{mode}, {place}: the answer"), &text_of(&answer));
    }
    for path in [
        "/metrics",
        "/readyz",
        "/api/v1/status",
        "/api/v1/records",
        "/api/v1/quarantine",
        "/",
    ] {
        none_in(&format!("{mode}: {path}"), &text_of(&bridge.ask(path, "")));
    }
    let quarantined = home.json(&["quarantine", "list", "--json"]);
    assert_eq!(
        quarantined.len(),
        requests.iter().filter(|request| request.4 == 400).count()
    );
    for entry in &quarantined {
        let id = entry["id"].as_str().unwrap();
        for shown in [
            bridge.ask(&format!("/api/v1/quarantine/{id}"), "").body,
            printed(&home, &["quarantine", "show", id]),
        ] {
            // What names its token is masked; the two bodies that name none cannot be.
            if !shown.contains("POST /ess") {
                none_in(&format!("{mode}: a quarantined request"), &shown);
            }
        }
    }
    for command in [
        &["journal", "status"][..],
        &["journal", "list"],
        &["journal", "verify"],
        &["quarantine", "list"],
    ] {
        none_in(&format!("{mode}: {command:?}"), &printed(&home, command));
    }
    // The events, as Kafka gets them, and the journal's files.
    let exported = printed(&home, &["journal", "export"]);
    let in_clear = exported.matches(TOKEN).count();
    if publish == "plain" {
        let values = exported.matches(&format!("\"value\":\"{TOKEN}\"")).count();
        assert!(
            values > 0 && in_clear == values,
            "{mode}: the token is in data.token.value and nowhere else"
        );
    } else {
        none_in(&format!("{mode}: events"), &exported);
        none_in(
            &format!("{mode}: files of the journal"),
            &String::from_utf8_lossy(&all_bytes(&home.journal())),
        );
    }
    if user == "hashed" {
        assert!(!exported.contains(LOGIN), "{mode}: a login in the events");
        assert!(
            !String::from_utf8_lossy(&all_bytes(&home.journal())).contains(LOGIN),
            "{mode}: a login on disk"
        );
    }
    let log = bridge.log();
    none_in(&format!("{mode}: the log"), &log);
    assert!(!log.contains(LOGIN), "{mode}: a login in the log");
    for line in log.lines() {
        assert!(
            serde_json::from_str::<serde_json::Value>(line).is_ok(),
            "{mode}: not JSON: {line}"
        );
    }
    wait_for_spans(collector, 1);
    assert_eq!(bridge.stop(), 0);
    // The last spans went out at the end.
    let traces = collector.requests();
    for request in traces {
        let text = format!(
            "{}\n{}",
            request.head,
            String::from_utf8_lossy(&request.body)
        );
        none_in(&format!("{mode}: traces"), &text);
        assert!(!text.contains(LOGIN), "{mode}: a login in the traces");
    }
    requests.len()
}

fn printed(home: &Home, command: &[&str]) -> String {
    let output = home.run(command);
    assert!(output.status.success(), "{command:?}: {output:?}");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    text(output.stdout) + &text(output.stderr)
}

fn text_of(answer: &Answer) -> String {
    format!("{}\n{}", answer.head, answer.body)
}

fn none_in(place: &str, text: &str) {
    let lower = text.to_ascii_lowercase();
    for canary in [TOKEN, TOKEN_ENCODED] {
        if let Some(at) = lower.find(&canary.to_ascii_lowercase()) {
            let from = text[..at]
                .char_indices()
                .rev()
                .nth(80)
                .map_or(0, |(index, _)| index);
            panic!(
                "the canary is in {place}: …{}…",
                &text[from..(at + canary.len()).min(text.len())]
            );
        }
    }
}
