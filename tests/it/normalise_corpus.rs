//! Does every request of the corpus become the event, or the refusal, that is written beside it?
//!
//! - `tests/corpus/*.http`: whole requests. Beside each a `.json` with the event in the form of [`shown`].
//! - `tests/corpus/xml/*.xml`: bodies of itinerary postbacks, hostile ones mostly. All outcomes are in `expected.json`.
//!
//! What must come out is said twice: by the beginning of the file's name (`bad_xml--two-roots.xml` must be malformed for
//! that reason, `ok--…` and `sample-…` must be events), which no run changes, and in full by the golden files, which
//! `UPDATE_GOLDEN=1` rewrites for a reviewer to read in the diff.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use concur_bridge::config::ObjectUriHosts;
use concur_bridge::event::{Event, Key};
use concur_bridge::normalise::{Malformed, Reason, Rules, normalise};
use concur_bridge::postback::{Dialect, Postback};
use serde_json::{Value, json};

use crate::support::http_file;

#[test]
fn every_request_of_the_corpus_becomes_what_is_written_beside_it() {
    let files = files("tests/corpus", "http");
    assert!(files.len() >= 72, "only {} requests", files.len());
    let mut faults = Vec::new();
    for file in files {
        let postback = http_file::postback(&fs::read(&file).unwrap());
        let outcome = normalise(&postback, &rules());
        check_name(&file, &outcome, &mut faults);
        check_secrecy(&file, &outcome, &mut faults);
        let golden = file.with_extension("json");
        let shown = serde_json::to_string_pretty(&shown(&outcome)).unwrap() + "\n";
        if updating() {
            fs::write(&golden, &shown).unwrap();
        }
        match fs::read_to_string(&golden) {
            Ok(expected) if expected == shown => {}
            Ok(expected) => faults.push(format!("{file:?}: expected {expected}\ngot {shown}")),
            Err(_) => faults.push(format!("{file:?} has no expectation; it becomes {shown}")),
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_hostile_xml_body_becomes_what_the_snapshot_says() {
    let files = files("tests/corpus/xml", "xml");
    assert!(files.len() >= 120, "only {} bodies", files.len());
    let golden = manifest("tests/corpus/xml/expected.json");
    let mut outcomes = BTreeMap::new();
    let mut faults = Vec::new();
    for file in &files {
        let postback = itinerary(fs::read(file).unwrap().into());
        let outcome = normalise(&postback, &rules());
        check_name(file, &outcome, &mut faults);
        check_secrecy(file, &outcome, &mut faults);
        outcomes.insert(stem(file), brief(&outcome));
    }
    if updating() {
        fs::write(
            &golden,
            serde_json::to_string_pretty(&outcomes).unwrap() + "\n",
        )
        .unwrap();
    }
    let expected: BTreeMap<String, Value> =
        serde_json::from_slice(&fs::read(&golden).unwrap()).unwrap();
    for (name, outcome) in &outcomes {
        match expected.get(name) {
            Some(expected) if expected == outcome => {}
            Some(expected) => faults.push(format!("{name}: expected {expected}, got {outcome}")),
            None => faults.push(format!("{name} has no expectation; it becomes {outcome}")),
        }
    }
    for name in expected.keys().filter(|name| !outcomes.contains_key(*name)) {
        faults.push(format!("{name} is expected and not there"));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_samples_of_the_contract_are_in_the_corpus() {
    for name in [
        "company-fop",
        "company-itinerary-cancel",
        "company-itinerary-create",
        "company-itinerary-update",
        "company-profile",
        "user-itinerary",
        "user-profile",
    ] {
        assert!(
            manifest(&format!("tests/corpus/sample-{name}.http")).exists(),
            "{name}"
        );
    }
}

/// The kept corpora of the fuzz targets: what once went wrong, or leads deep, is tried in every test run.
#[test]
fn nothing_in_the_fuzz_corpora_panics_or_gives_the_token_away() {
    for (target, postback) in [
        ("query", (|input| query(&input)) as fn(Bytes) -> Postback),
        ("notification", itinerary),
        ("ess", ess),
    ] {
        let directory = manifest(&format!("fuzz/corpus/{target}"));
        let mut inputs = 0;
        for entry in fs::read_dir(&directory).unwrap() {
            let input = fs::read(entry.unwrap().path()).unwrap();
            let postback = postback(input.into());
            if let Ok(event) = normalise(&postback, &rules()) {
                // As text it would be found where the `n` of a `\n` is its first letter.
                let data = serde_json::to_value(&event.data).unwrap();
                let token = match postback.dialect {
                    Dialect::V1 => event.token.as_ref().map(|token| token.expose()),
                    Dialect::Ess => Some(TOKEN),
                };
                // A shorter one stays inside of words.
                if let Some(token) = token.filter(|token| token.len() >= 8) {
                    assert!(!says(&data, token), "{target}: {data}");
                }
            }
            inputs += 1;
        }
        assert!(inputs >= 10, "{directory:?} has {inputs} inputs");
    }
}

/// Whether any name or value in a document contains a text.
fn says(document: &Value, text: &str) -> bool {
    match document {
        Value::String(value) => value.contains(text),
        Value::Array(values) => values.iter().any(|value| says(value, text)),
        Value::Object(members) => members
            .iter()
            .any(|(name, value)| name.contains(text) || says(value, text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => document.to_string().contains(text),
    }
}

/// The token of every body that is tried without a query of its own.
const TOKEN: &str = "nqp8WxIsZ1lZ3uR7";

fn rules() -> Rules {
    Rules {
        object_uri_hosts: ObjectUriHosts::default(),
    }
}

fn request(dialect: Dialect, query: String, body: Bytes) -> Postback {
    Postback {
        dialect,
        query,
        headers: http::HeaderMap::new(),
        body,
        received_at: http_file::RECEIVED_AT.parse().unwrap(),
    }
}

fn query(input: &[u8]) -> Postback {
    let query = String::from_utf8_lossy(input).into_owned();
    request(Dialect::V1, query, Bytes::new())
}

fn itinerary(body: Bytes) -> Postback {
    let query = format!(
        "type=itinerary&oauth_token_key={TOKEN}&userid_type=login&userid_value=cm@example.com"
    );
    request(Dialect::V1, query, body)
}

fn ess(body: Bytes) -> Postback {
    request(Dialect::Ess, format!("oauth_token_key={TOKEN}"), body)
}

/// `<verdict>--<name>`: a reason means malformed for that reason, every other verdict an event.
fn check_name(file: &Path, outcome: &Result<Event, Malformed>, faults: &mut Vec<String>) {
    let stem = stem(file);
    let verdict = stem.split("--").next().unwrap_or(&stem);
    let expected = Reason::parse(verdict);
    let got = outcome.as_ref().err().map(|malformed| malformed.reason);
    if expected != got {
        faults.push(format!(
            "{file:?}: the name says {expected:?}, it is {got:?}"
        ));
    }
}

/// No field but the token's own holds the token, however it is written. A golden file could be rewritten with a leak.
fn check_secrecy(file: &Path, outcome: &Result<Event, Malformed>, faults: &mut Vec<String>) {
    let Ok(event) = outcome else { return };
    let token = event.token.as_ref().map_or(TOKEN, |token| token.expose());
    let mut shown = shown(outcome);
    shown["token"] = Value::Null;
    shown["rawBody"] = Value::Null;
    let mut text = shown.to_string();
    // Once for each time over that the corpus encodes a token, and once more.
    for _ in 0..4 {
        if token.len() >= 8 && text.contains(token) {
            faults.push(format!("{file:?} gives its token away"));
            return;
        }
        let bytes: Vec<u8> = percent_encoding::percent_decode_str(&text).collect();
        let decoded = String::from_utf8_lossy(&bytes);
        text = decoded.into_owned();
    }
}

/// An outcome in full. The token stands in clear: all of this is made up.
fn shown(outcome: &Result<Event, Malformed>) -> Value {
    let event = match outcome {
        Ok(event) => event,
        Err(malformed) => {
            return json!({ "malformed": malformed.reason.as_str(), "detail": malformed.detail });
        }
    };
    json!({
        "type": event.kind.as_str(),
        "source": event.source.to_uri(),
        "subject": event.subject,
        "key": match &event.key {
            Key::Trip(text) => json!({ "trip": text }),
            Key::User(text) => json!({ "user": text }),
            Key::TokenFingerprint => json!("fingerprint of the token"),
            Key::EventId => json!("id of the event"),
        },
        "time": event.received_at.to_string(),
        "token": event.token.as_ref().map(|token| token.expose()),
        "delivery": event.delivery.as_ref().map(|delivery| json!({
            "topic": delivery.topic,
            "id": delivery.sender_id.as_ref().filter(|_| delivery.serves),
            "sha256": delivery.sha256.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
        })),
        "correlationId": event.correlation_id,
        "traceparent": event.traceparent,
        "rawBody": event.raw_body.as_ref().map(|body| String::from_utf8_lossy(body)),
        "data": event.data,
    })
}

/// An outcome in a line: long texts are cut.
fn brief(outcome: &Result<Event, Malformed>) -> Value {
    match outcome {
        Ok(event) => {
            let mut data = serde_json::to_value(&event.data).unwrap();
            cut(&mut data);
            json!({ "type": event.kind.as_str(), "data": data })
        }
        Err(malformed) => Value::String(malformed.to_string()),
    }
}

fn cut(value: &mut Value) {
    match value {
        Value::String(text) if text.len() > 200 => {
            let length = text.len();
            let end = text.floor_char_boundary(40);
            *text = format!("{}… ({length} bytes)", &text[..end]);
        }
        Value::Array(values) => values.iter_mut().for_each(cut),
        Value::Object(map) => map.values_mut().for_each(cut),
        _ => {}
    }
}

fn updating() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some()
}

fn manifest(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn stem(file: &Path) -> String {
    file.file_stem().unwrap().to_string_lossy().into_owned()
}

fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(manifest(directory))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}
