//! Any body of an itinerary postback, and the same as the body of a profile postback, which is never malformed for it.

#![no_main]

mod check;

use check::TOKEN;
use concur_bridge::postback::Dialect;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    for kind in ["itinerary", "profile"] {
        let query = format!("type={kind}&oauth_token_key={TOKEN}&userid_type=login&userid_value=cm@example.com");
        check::normalises_soundly(&check::request(Dialect::V1, query, body));
    }
});
