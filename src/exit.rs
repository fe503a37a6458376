//! The exit codes: interface for those who restart the process.

use std::process::ExitCode;

/// Why the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// As asked.
    Success,
    /// Anything without a code of its own, such as a port in use.
    Failure,
    /// Usage or configuration.
    Usage,
    /// The journal is damaged or from a newer version.
    JournalDamaged,
    /// The journal failed while running.
    JournalFailed,
    /// Another process holds this journal or this identity.
    Taken,
    /// An answer or a transaction was still open at the drain deadline or the second signal. Nothing is lost.
    Unfinished,
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::JournalDamaged => 3,
            Self::JournalFailed => 4,
            Self::Taken => 5,
            Self::Unfinished => 6,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
