//! Any bytes as a `Concur-Signature` header.

#![no_main]

use concur_bridge::ingress::signature::decode_header;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Some(signature) = decode_header(input) {
        assert!(signature.len() <= input.len());
    }
});
