//! Any body of an ESS delivery. The request carries a token, which no delivery should, so that redaction has work.

#![no_main]

mod check;

use concur_bridge::postback::Dialect;
use libfuzzer_sys::fuzz_target;

const TOKEN: &str = "nqp8WxIsZ1lZ3uR7";

fuzz_target!(|body: &[u8]| {
    let query = format!("oauth_token_key={TOKEN}");
    check::normalises_soundly(&check::request(Dialect::Ess, query, body), Some(TOKEN));
});
