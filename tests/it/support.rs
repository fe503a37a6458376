//! What several tests need.

pub(crate) mod http_file;
