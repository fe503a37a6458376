//! The integration tests: one binary, one file per question.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test a surprise is a failure"
)]

mod ingress;
