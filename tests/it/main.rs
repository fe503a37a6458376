//! The integration tests: one binary, one file per question.

mod ingress;
mod normalise_corpus;
mod support;
