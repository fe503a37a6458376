//! The type that holds an OAuth token.

use std::fmt;

use zeroize::Zeroizing;

/// An OAuth token, in clear. Zeroed on drop; cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// Takes charge of a token.
    pub fn new(clear: String) -> Self {
        Self(Zeroizing::new(clear))
    }

    /// The token in clear. Every caller is a place where it could leak: the name makes them easy to find.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[token]")
    }
}
