//! Several secrets, of which one must match.

use ring::digest::{SHA256, digest};
use subtle::{Choice, ConstantTimeEq};

/// Digests of the secrets of one file. The secrets themselves are forgotten once read.
pub struct Secrets(Vec<[u8; 32]>);

impl Secrets {
    /// The secrets, at least one.
    ///
    /// # Errors
    /// There is none.
    pub fn new<'a>(secrets: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let digests: Vec<_> = secrets.map(|secret| sha256(secret.as_bytes())).collect();
        if digests.is_empty() {
            return Err("holds no secret".into());
        }
        Ok(Self(digests))
    }

    /// Whether `candidate` is one of them. Takes the same time whichever it is, if any.
    pub fn contain(&self, candidate: &[u8]) -> bool {
        let candidate = sha256(candidate);
        let found = self.0.iter().fold(Choice::from(0), |found, secret| {
            found | secret.ct_eq(&candidate)
        });
        found.into()
    }
}

/// The lines of a secret file: blanks around them, empty ones and comments do not count.
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}
