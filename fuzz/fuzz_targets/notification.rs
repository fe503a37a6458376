//! Any body of an itinerary postback, and the same as the body of a profile postback, which is never malformed for it.

#![no_main]

mod check;

use concur_bridge::postback::Dialect;
use libfuzzer_sys::fuzz_target;

const TOKEN: &str = "nqp8WxIsZ1lZ3uR7";

fuzz_target!(|body: &[u8]| {
    for kind in ["itinerary", "profile"] {
        let query = format!(
            "type={kind}&oauth_token_key={TOKEN}&userid_type=login&userid_value=cm@example.com"
        );
        check::normalises_soundly(&check::request(Dialect::V1, query, body), None);
    }
});
