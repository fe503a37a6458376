//! The integration tests: one binary, a file per question.

mod normalise_corpus;
mod support;
