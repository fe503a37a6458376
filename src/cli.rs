//! The command line.

pub(crate) mod concur;
