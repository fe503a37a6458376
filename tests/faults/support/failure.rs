//! Why a line of the matrix did not pass: of which kind it is, and a sentence.
//!
//! The kind decides what the runner does. It is part of the value, never read from its text.

use std::fmt;

/// What a failure says about the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The bridge broke a promise: the oracle found something, a wrong status or exit code, the bridge ended by itself.
    BrokenPromise,
    /// The line has shown nothing: it could not bring its fault about, did not see the awaited state before its deadline,
    /// or a tool of the suite failed.
    NotShown,
}

/// A kind, and a sentence for whoever reads the report. Not a `std::error::Error`, so that every one of those converts
/// into it.
pub struct Failure {
    /// Of which kind it is.
    pub kind: Kind,
    /// What was found.
    pub text: String,
}

/// What every step of a line returns.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// The bridge broke a promise.
    pub fn broken(text: impl Into<String>) -> Self {
        Self {
            kind: Kind::BrokenPromise,
            text: text.into(),
        }
    }

    /// The line has shown nothing.
    pub fn not_shown(text: impl Into<String>) -> Self {
        Self {
            kind: Kind::NotShown,
            text: text.into(),
        }
    }

    /// Whether the bridge broke a promise.
    pub fn is_broken_promise(&self) -> bool {
        self.kind == Kind::BrokenPromise
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.text)
    }
}

/// An error of the system or of a library is one of the suite: what it says about the bridge is judged by [`ensure`].
impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        Self::not_shown(text)
    }
}

/// Puts what was being done in front of why it failed, and keeps the kind.
pub trait Doing<T> {
    /// `doing` reads as the beginning of a sentence: "mounting the disk".
    fn doing(self, doing: impl fmt::Display) -> Outcome<T>;
}

impl<T, E: Into<Failure>> Doing<T> for Result<T, E> {
    fn doing(self, doing: impl fmt::Display) -> Outcome<T> {
        self.map_err(|error| {
            let Failure { kind, text } = error.into();
            Failure {
                kind,
                text: format!("{doing}: {text}"),
            }
        })
    }
}

impl<T> Doing<T> for Option<T> {
    fn doing(self, doing: impl fmt::Display) -> Outcome<T> {
        self.ok_or_else(|| Failure::not_shown(doing.to_string()))
    }
}

/// A promise of the bridge: broken, says `sentence`, unless `holds`.
pub fn ensure(holds: bool, sentence: impl FnOnce() -> String) -> Outcome {
    if holds {
        Ok(())
    } else {
        Err(Failure::broken(sentence()))
    }
}

/// What a line needs to show anything: not shown, says `sentence`, unless `holds`.
pub fn ensure_shown(holds: bool, sentence: impl FnOnce() -> String) -> Outcome {
    if holds {
        Ok(())
    } else {
        Err(Failure::not_shown(sentence()))
    }
}
