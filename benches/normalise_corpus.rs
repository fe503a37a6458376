//! How long the slowest file of the corpus takes to normalise: `cargo bench --bench normalise_corpus`.
//!
//! Every request of `tests/corpus` and every body of `tests/corpus/xml`, best of many runs each, so that a busy machine does
//! not count. Prints the slowest five; fails when one takes more than a millisecond.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench stops where its expectation fails, and says what it found"
)]

#[path = "../tests/it/support/http_file.rs"]
mod http_file;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{fs, hint};

use concur_bridge::config::ObjectUriHosts;
use concur_bridge::normalise::{Rules, normalise};
use concur_bridge::postback::{Dialect, Postback};
use http::HeaderMap;

/// What any file may take.
const LIMIT: Duration = Duration::from_millis(1);

/// Enough that one of them is not interrupted.
const RUNS: u32 = 200;

fn main() -> ExitCode {
    let rules = Rules {
        object_uri_hosts: ObjectUriHosts::default(),
    };
    let mut times: Vec<(Duration, String)> = corpus()
        .into_iter()
        .map(|(name, postback)| {
            let best = (0..RUNS)
                .map(|_| {
                    let began = Instant::now();
                    let _ = hint::black_box(normalise(hint::black_box(&postback), &rules));
                    began.elapsed()
                })
                .min();
            (best.unwrap_or_default(), name)
        })
        .collect();
    times.sort();
    println!(
        "{} files, best of {RUNS} runs each, {LIMIT:?} allowed",
        times.len()
    );
    for (time, name) in times.iter().rev().take(5) {
        println!("{:.3} ms  {name}", time.as_secs_f64() * 1e3);
    }
    match times.last() {
        Some((slowest, _)) if *slowest <= LIMIT => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn corpus() -> Vec<(String, Postback)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut corpus = Vec::new();
    for (directory, extension) in [(root.clone(), "http"), (root.join("xml"), "xml")] {
        for entry in fs::read_dir(directory).unwrap() {
            let file = entry.unwrap().path();
            if file.extension().is_none_or(|found| found != extension) {
                continue;
            }
            let bytes = fs::read(&file).unwrap();
            let postback = match extension {
                "http" => http_file::postback(&bytes),
                _ => itinerary(bytes),
            };
            corpus.push((file.file_name().unwrap().display().to_string(), postback));
        }
    }
    corpus
}

fn itinerary(body: Vec<u8>) -> Postback {
    Postback {
        dialect: Dialect::V1,
        query: "type=itinerary&oauth_token_key=nqp8WxIsZ1lZ3uR7&userid_type=login&userid_value=cm@example.com".into(),
        headers: HeaderMap::new(),
        body: body.into(),
        received_at: http_file::RECEIVED_AT.parse().unwrap(),
    }
}
