//! The integration tests: one binary, one file per question.

mod ingress;
//! The integration tests: one binary, a file per question.

mod normalise_corpus;
mod support;
