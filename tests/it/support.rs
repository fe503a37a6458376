//! What the tests share.

pub(crate) mod backlog;
pub(crate) mod kafka;
pub(crate) mod wait;
