//! Why a line of the matrix did not pass: a sentence, and what it was about.

use std::fmt;

/// A sentence for whoever reads the report. Not a `std::error::Error`, so that every one of those converts into it.
pub struct Failure(pub String);

/// What every step of a line returns.
pub type Outcome<T = ()> = Result<T, Failure>;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        Self(text)
    }
}

/// Puts what was being done in front of why it failed.
pub trait Doing<T> {
    /// `doing` reads as the beginning of a sentence: "mounting the disk".
    fn doing(self, doing: impl fmt::Display) -> Outcome<T>;
}

impl<T, E: Into<Failure>> Doing<T> for Result<T, E> {
    fn doing(self, doing: impl fmt::Display) -> Outcome<T> {
        self.map_err(|error| Failure(format!("{doing}: {}", error.into())))
    }
}

impl<T> Doing<T> for Option<T> {
    fn doing(self, doing: impl fmt::Display) -> Outcome<T> {
        self.ok_or_else(|| Failure(doing.to_string()))
    }
}

/// Fails with `sentence` unless `holds`.
pub fn ensure(holds: bool, sentence: impl FnOnce() -> String) -> Outcome {
    if holds {
        Ok(())
    } else {
        Err(Failure(sentence()))
    }
}
