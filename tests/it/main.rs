//! The integration tests: one binary, a file per question.

mod publish;
mod publish_direct;
mod support;
