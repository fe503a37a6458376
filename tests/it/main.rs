//! The integration tests: one binary, a file per question.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops where its expectation fails"
)]

mod admin;
mod canary;
mod commands;
mod concur;
mod ess_repeats;
mod fake_http;
mod fuzz_corpora;
mod ingress;
mod journal;
mod normalise_corpus;
mod process;
mod publish;
mod publish_direct;
mod publish_positions;
mod publish_refusals;
mod publish_topics;
mod quarantine;
mod simulator;
mod support;
mod traces;
