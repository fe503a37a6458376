//! Is the outside of the process what scripts rely on: exit codes, the ready line, signals, commands?

use std::net::TcpListener;

use concur_bridge::event::Stream;
use concur_bridge::schema::event_schema;
use serde_json::{Value, json};

use crate::support::bridge::{Home, exchange, until};

const ITINERARY: &str = "/postback?type=itinerary&oauth_token_key=nqp8WxIsZ1lZ3uR7";
const PROFILE: &str = "/postback?type=profile&oauth_token_key=nqp8WxIsZ1lZ3uR7";

fn notification(trip: &str) -> Vec<u8> {
    format!("<Notification><EventType>CREATE</EventType><TripId>{trip}</TripId></Notification>")
        .into_bytes()
}

#[test]
fn every_configuration_fault_is_listed_and_the_exit_code_is_2() {
    let home = Home::new(&[("JOURNAL__MAX_SIZ", "1GiB"), ("KAFKA__DELIVERY", "maybe")]);
    let output = home.run(&["serve"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.contains("journal.max_siz: unknown key; did you mean `max_size`?"),
        "{stderr}"
    );
    assert!(stderr.contains("kafka.delivery: expected"), "{stderr}");
    assert!(!home.journal().exists(), "nothing was opened");
}

#[test]
fn a_port_in_use_is_exit_1_and_a_journal_in_use_is_exit_5() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = Home::new(&[("INGRESS__LISTEN", &address)]).run(&["serve"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("in use"));

    let home = Home::new(&[]);
    let _bridge = home.serve();
    let output = home.run(&["serve"]);
    assert_eq!(output.status.code(), Some(5));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("held by another process")
    );
}

#[test]
fn a_directory_that_cannot_be_one_is_exit_2_and_wrong_usage_too() {
    let home = Home::new(&[("JOURNAL__DIR", "/dev/null/journal")]);
    assert_eq!(home.run(&["serve"]).status.code(), Some(2));
    assert_eq!(
        home.run(&["serve", "--no-such-flag"]).status.code(),
        Some(2)
    );
    assert_eq!(home.run(&[]).status.code(), Some(2));
    let version = String::from_utf8(home.run(&["--version"]).stdout).unwrap();
    assert!(
        version.starts_with(concat!(
            "concur-bridge ",
            env!("CARGO_PKG_VERSION"),
            " (librdkafka 2."
        )),
        "{version}"
    );
}

#[test]
fn the_ready_line_says_where_and_who_and_kafka_is_not_waited_for() {
    let home = Home::new(&[("INSTANCE", "replica-7")]);
    let bridge = home.serve();
    assert_eq!(bridge.ready["instance"], "replica-7");
    assert_eq!(bridge.ready["position"], 0);
    assert!(
        bridge.ready["journal"]
            .as_str()
            .unwrap()
            .parse::<uuid::Uuid>()
            .is_ok()
    );
    let answer = bridge.post(ITINERARY, "", &notification("T1"));
    assert_eq!(answer.status, 200, "{answer:?}");
    let readiness = until("kafka_down", || {
        let body: Value = serde_json::from_str(&bridge.ask("/readyz", "").body).unwrap();
        (body["degraded"] != json!([])).then_some(body)
    });
    assert_eq!(
        readiness,
        json!({ "ready": true, "degraded": ["kafka_down"], "reasons": [] })
    );
    assert_eq!(bridge.stop(), 0, "an outage of Kafka holds nobody up");

    let again = home.serve();
    assert_eq!(again.ready["position"], 1);
    let health = home
        .command(&["health", "--url", &format!("http://{}", again.admin())])
        .output()
        .unwrap();
    assert!(health.status.success(), "{health:?}");
}

#[test]
fn every_sample_of_the_contract_becomes_an_event_that_fits_its_schema() {
    let home = Home::new(&[("EVENTS__USER", "hashed")]);
    let bridge = home.serve();
    let mut posted = 0;
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/samples")).unwrap() {
        let request = std::fs::read(file.unwrap().path()).unwrap();
        let request =
            String::from_utf8(request)
                .unwrap()
                .replacen("\r\n", "\r\nConnection: close\r\n", 1);
        let answer = exchange(bridge.ingress(), request.as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
        posted += 1;
    }
    // The same id once more, where the format has no place for it.
    let answer = bridge.post(
        "/postback?type=profile&oauth_token_key=CANARYTOKEN42&userid_type=login&userid_value=cm@example.com",
        "",
        b"<Notification><Login>cm@example.com</Login><Login>x</Login><Name>cm@example.com</Name></Notification>",
    );
    assert_eq!(answer.status, 200, "{answer:?}");
    // Elements whose names say that they are one, though the event has no user.
    let answer = bridge.post(
        "/postback?type=profile&oauth_token_key=CANARYTOKEN42",
        "",
        b"<Notification><LoginId>cm@example.com</LoginId><loginId>x</loginId><UserId>cm@example.com</UserId></Notification>",
    );
    assert_eq!(answer.status, 200, "{answer:?}");
    posted += 2;
    assert_eq!(bridge.post("/postback", "", b"").status, 400);
    let exported = home.json(&["journal", "export"]);
    assert_eq!(exported.len(), posted + 1);
    for (index, record) in exported.iter().enumerate() {
        assert_eq!(record["position"], index + 1);
        let event = &record["event"];
        let stream = Stream::ALL
            .into_iter()
            .find(|stream| event["dataschema"] == stream.dataschema())
            .unwrap_or_else(|| panic!("{record}"));
        // The quarantine's content lies in a table of its own and comes back with the record.
        jsonschema::validate(&event_schema(stream), event)
            .unwrap_or_else(|error| panic!("{error}: {event}"));
        assert!(
            !record.to_string().contains("cm@example.com"),
            "user ids are to be hashed: {record}"
        );
    }
}

#[test]
fn quarantined_requests_are_listed_shown_and_dealt_with_while_a_process_serves_and_when_none_does()
{
    let home = Home::new(&[]);
    let bridge = home.serve();
    let malformed = |trip: &str| {
        let answer = bridge.post(
            "/postback?type=trip&oauth_token_key=CANARYTOKEN42",
            "",
            &notification(trip),
        );
        assert_eq!(answer.status, 400, "{answer:?}");
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(body["type"], "urn:concur-bridge:problem:unknown_type");
        body["quarantineId"].as_str().unwrap().to_owned()
    };
    let ids = [malformed("T1"), malformed("T2")];
    let listed: Vec<_> = home
        .json(&["quarantine", "list", "--json"])
        .iter()
        .map(|entry| entry["id"].clone())
        .collect();
    assert_eq!(listed, ids);

    let shown = String::from_utf8(home.run(&["quarantine", "show", &ids[0]]).stdout).unwrap();
    assert!(
        shown.contains("oauth_token_key=[token]") && !shown.contains("CANARYTOKEN42"),
        "{shown}"
    );
    let revealed = String::from_utf8(
        home.run(&["quarantine", "show", "--reveal", &ids[0]])
            .stdout,
    )
    .unwrap();
    assert!(
        revealed.contains("oauth_token_key=CANARYTOKEN42") && revealed.contains("<TripId>T1<"),
        "{revealed}"
    );

    let output = home.run(&["quarantine", "requeue", &ids[0]]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("still malformed")
    );
    // The process has the keys: who asks it needs none.
    let keys = home.dir.path().join("keys");
    let aside = home.dir.path().join("keys.aside");
    std::fs::rename(&keys, &aside).unwrap();
    let output = home.run(&["quarantine", "discard", &ids[0]]);
    assert!(output.status.success(), "{output:?}");
    std::fs::rename(&aside, &keys).unwrap();
    assert_eq!(home.json(&["quarantine", "list", "--json"]).len(), 1);
    assert!(bridge.log().contains("a quarantined request was discarded"));
    assert_eq!(bridge.stop(), 0);

    assert!(
        home.run(&["quarantine", "discard", &ids[1]])
            .status
            .success()
    );
    assert!(home.json(&["quarantine", "list", "--json"]).is_empty());
    assert_eq!(
        home.run(&["quarantine", "discard", &ids[1]]).status.code(),
        Some(1)
    );
}

#[test]
fn the_commands_on_the_journal_agree_with_what_was_posted() {
    let home = Home::new(&[]);
    let bridge = home.serve();
    for trip in ["T1", "T2", "T1"] {
        assert_eq!(bridge.post(ITINERARY, "", &notification(trip)).status, 200);
    }
    let status = &home.json(&["journal", "status", "--json"])[0];
    assert_eq!(
        (
            &status["lastPosition"],
            &status["backlogRecords"],
            &status["served"]
        ),
        (&json!(3), &json!(3), &json!(true))
    );
    assert_eq!(
        home.json(&["journal", "list", "--json", "--key", "T1"])
            .len(),
        2
    );
    assert_eq!(
        home.json(&["journal", "list", "--json", "--type", "fop"])
            .len(),
        0
    );
    assert_eq!(
        home.json(&["journal", "list", "--json", "--from", "2", "--limit", "1"])[0]["key"],
        "T2"
    );
    assert_eq!(
        home.json(&["journal", "verify", "--json"])[0]["whole"],
        true
    );
    assert_eq!(
        home.json(&["journal", "replay", "--json", "--key", "T1"])[0]["records"],
        2
    );
    assert_eq!(home.run(&["journal", "show", "4"]).status.code(), Some(1));
    assert_eq!(
        home.run(&["journal", "repair"]).status.code(),
        Some(5),
        "a served journal is not repaired"
    );
    assert_eq!(bridge.stop(), 0);
    assert_eq!(
        home.json(&["journal", "repair", "--json"])[0]["needed"],
        false
    );
    assert_eq!(
        home.json(&["journal", "verify", "--json"])[0]["structureChecked"],
        true
    );
}

#[test]
fn a_full_journal_is_503_with_retry_after_and_readiness_says_why() {
    let home = Home::new(&[("JOURNAL__MAX_SIZE", "1MiB")]);
    let bridge = home.serve();
    let body = vec![b'x'; 200 << 10];
    let refused = until("the byte limit", || {
        let answer = bridge.post(PROFILE, "", &body);
        (answer.status != 200).then_some(answer)
    });
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(
        refused.head.to_ascii_lowercase().contains("retry-after: "),
        "{refused:?}"
    );
    assert!(
        refused
            .body
            .contains("urn:concur-bridge:problem:journal_full"),
        "{refused:?}"
    );
    // A refusal of something large counts for two seconds, which are over before a slow machine has asked.
    let readiness = until("readiness to be withdrawn", || {
        bridge.post(PROFILE, "", &body);
        let readiness = bridge.ask("/readyz", "");
        (readiness.status != 200).then_some(readiness)
    });
    assert_eq!(readiness.status, 503, "{readiness:?}");
    assert!(
        readiness.body.contains("\"reasons\":[\"journal_full\"]"),
        "{readiness:?}"
    );
    assert_eq!(bridge.ask("/livez", "").status, 200);
}

#[test]
fn a_hangup_ends_nothing() {
    let home = Home::new(&[]);
    let bridge = home.serve();
    let pid = rustix::process::Pid::from_raw(bridge.pid().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    until("the log to say so", || {
        bridge.log().contains("SIGHUP").then_some(())
    });
    assert_eq!(bridge.post(ITINERARY, "", &notification("T1")).status, 200);
    assert_eq!(bridge.stop(), 0);
}

#[test]
fn a_drain_that_is_stopped_says_what_kafka_does_not_have_and_takes_nothing_in() {
    let home = Home::new(&[]);
    let bridge = home.serve();
    assert_eq!(bridge.post(ITINERARY, "", &notification("T1")).status, 200);
    assert_eq!(bridge.stop(), 0);

    let bridge = home.serve_with(&["--drain-only"]);
    let answer = bridge.ask("/readyz", "");
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.body.contains("closing"), "{answer:?}");
    let log = home.dir.path().join("log");
    assert_eq!(bridge.stop(), 0);
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("not drained"), "{log}");
}
