//! Any bytes as a record of the journal: decoding never panics, and what decodes encodes to a record that is equal.

#![no_main]

use bytes::Bytes;
use concur_bridge::journal::record_codec::{decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(record) = decode(&Bytes::copy_from_slice(input)) {
        let again = decode(&encode(&record).into()).expect("what was encoded decodes");
        assert_eq!(again, record);
    }
});
