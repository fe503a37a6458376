//! The integration tests: one binary, one file per question.

mod concur;
mod fake_http;
mod ingress;
mod normalise_corpus;
mod simulator;
mod support;
