//! Any bytes as the beginning of a connection that ought to start with a PROXY header.

#![no_main]

use concur_bridge::ingress::proxy_protocol::{ProxyError, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    match parse(input) {
        Ok(header) => assert!(header.bytes <= input.len()),
        Err(ProxyError::Incomplete(wanted)) => assert!(wanted > input.len()),
        Err(_) => {}
    }
});
