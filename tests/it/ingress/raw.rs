//! The raw corpus: whole requests, most of them hostile, as bytes on a connection, and what becomes of each.
//!
//! A file of `tests/corpus/raw` is sent as it is, but for `<<text*n>>`, which stands for `text` n times. Then, if the
//! connection is still open, a well-formed probe follows. The outcome names every answer in order (nothing smuggled
//! may add one), how many postbacks were accepted beside the probe, and whether the connection could be used again.

use std::fs;
use std::path::{Path, PathBuf};

use concur_bridge::accept::Accepted;

use super::bench::Setup;
use super::client::Answer;

/// Planted in targets, headers and bodies; never to be seen in an answer.
const CANARY: &[u8] = b"c4n4ry";

const MAX_BODY_BYTES: usize = 1024;

const PROBE: &str = "POST /ess HTTP/1.1\r\nhost: probe\r\nx-probe: 1\r\ncontent-length: 0\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn every_raw_request_has_the_outcome_on_record() {
    let files = corpus();
    assert!(
        files.len() >= 80,
        "the corpus is incomplete: {}",
        files.len()
    );
    let mut outcomes = Vec::new();
    for file in files {
        outcomes.push(outcome(&file).await);
    }
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("raw_outcomes", outcomes.join("\n"));
    });
}

fn corpus() -> Vec<PathBuf> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/raw");
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "raw"))
        .collect();
    files.sort();
    files
}

async fn outcome(file: &Path) -> String {
    let name = file.file_stem().unwrap().to_string_lossy().into_owned();
    let mut setup = Setup::default().script(|postback| {
        let id = match postback.headers.contains_key("x-probe") {
            true => "probe",
            false => "case",
        };
        Ok(Accepted { id: id.into() })
    });
    setup.ingress.max_body_bytes = MAX_BODY_BYTES;
    let bench = setup.start();
    let mut client = bench.connect().await;
    client.is_head = name == "method-head";
    client.send(expand(&fs::read(file).unwrap())).await;

    let mut words = Vec::new();
    let mut reusable = false;
    let mut probed = false;
    while let Some(answer) = client.answer().await {
        client.is_head = false;
        check(&name, &answer);
        if answer.status == 200 && answer.json()["id"] == "probe" {
            reusable = true;
            break;
        }
        words.push(word(&answer));
        if answer.status != 100 && !probed {
            probed = true;
            client.send(PROBE).await;
        }
    }
    let accepted = bench.seen().len() - usize::from(reusable);
    let state = if reusable { "reusable" } else { "closed" };
    if words.is_empty() {
        words.push("no answer".into());
    }
    format!("{name}: {}; {accepted} accepted; {state}", words.join(", "))
}

/// What holds for every answer.
fn check(name: &str, answer: &Answer) {
    let bytes = [answer.head.as_bytes(), &answer.body].concat();
    assert!(
        !bytes.windows(CANARY.len()).any(|window| window == CANARY),
        "{name} echoes its input"
    );
    let expected = match answer.status {
        100 => None,
        200 => Some("application/json"),
        _ => Some("application/problem+json"),
    };
    assert_eq!(answer.header("content-type"), expected, "{name}");
    assert_eq!(
        answer.header("allow").is_some(),
        answer.status == 405,
        "{name}"
    );
}

fn word(answer: &Answer) -> String {
    if answer.status < 400 || answer.body.is_empty() {
        return answer.status.to_string();
    }
    let problem = answer.json();
    assert_eq!(problem["status"], answer.status);
    let kind = problem["type"].as_str().unwrap();
    let reason = kind.strip_prefix("urn:concur-bridge:problem:").unwrap();
    format!("{} {reason}", answer.status)
}

/// Writes out `<<text*n>>`.
fn expand(template: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = template;
    let find =
        |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|window| window == what);
    while let Some(start) = find(rest, b"<<") {
        let end = start + find(&rest[start..], b">>").unwrap();
        let inside = &rest[start + 2..end];
        let star = inside.iter().rposition(|&byte| byte == b'*').unwrap();
        let times: usize = std::str::from_utf8(&inside[star + 1..])
            .unwrap()
            .parse()
            .unwrap();
        bytes.extend_from_slice(&rest[..start]);
        bytes.extend(inside[..star].repeat(times));
        rest = &rest[end + 2..];
    }
    bytes.extend_from_slice(rest);
    bytes
}
