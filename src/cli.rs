//! The command line.

pub(crate) mod concur;
pub(crate) mod simulate;
