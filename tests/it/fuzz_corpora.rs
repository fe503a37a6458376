//! Do the kept inputs of the fuzz targets that read bytes, not postbacks, still pass? (`normalise_corpus` replays the others.)

use std::fs;
use std::path::Path;

use bytes::Bytes;
use concur_bridge::ingress::proxy_protocol::{ProxyError, parse};
use concur_bridge::ingress::signature::decode_header;
use concur_bridge::journal::record_codec::{decode, encode};

fn inputs(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let inputs: Vec<_> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect();
    assert!(!inputs.is_empty(), "{directory:?} is empty");
    inputs
}

#[test]
fn records_of_the_corpus_decode_to_what_encodes_back_or_are_refused() {
    for input in inputs("record") {
        if let Ok(record) = decode(&Bytes::from(input)) {
            assert_eq!(decode(&encode(&record).into()).unwrap(), record);
        }
    }
}

#[test]
fn signature_headers_of_the_corpus_are_never_longer_than_what_was_sent() {
    for input in inputs("signature") {
        assert!(decode_header(&input).is_none_or(|signature| signature.len() <= input.len()));
    }
}

#[test]
fn proxy_headers_of_the_corpus_are_within_the_input_or_ask_for_more() {
    let mut whole = 0;
    for input in inputs("proxy_header") {
        match parse(&input) {
            Ok(header) => {
                assert!(header.bytes <= input.len());
                whole += 1;
            }
            Err(ProxyError::Incomplete(wanted)) => assert!(wanted > input.len()),
            Err(ProxyError::Malformed) => {}
        }
    }
    assert!(whole >= 3, "the corpus has whole headers");
}
