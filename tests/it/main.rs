//! Tests.

mod concur;
mod fake_http;
mod simulator;
