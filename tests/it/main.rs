//! The integration tests: one binary, a file per question.

mod ingress;
mod normalise_corpus;
mod publish;
mod support;
