//! Where the configuration comes from.
/// One thing wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault(pub String);
/// All that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid configuration")]
pub struct ConfigError(pub Vec<Fault>);
