//! Any query of a v1 postback, with a body that is good for an itinerary.

#![no_main]

mod check;

use concur_bridge::postback::Dialect;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|query: &str| {
    let body = b"<Notification><TripId>abc</TripId></Notification>";
    check::normalises_soundly(&check::request(Dialect::V1, query.to_owned(), body), None);
});
