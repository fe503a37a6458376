//! What the tests share.

pub(crate) mod backlog;
pub(crate) mod bridge;
pub(crate) mod clock;
pub(crate) mod damage;
pub(crate) mod http_file;
pub(crate) mod kafka;
pub(crate) mod wait;
