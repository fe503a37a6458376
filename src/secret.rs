//! Secrets: the type that holds a token, the keys that seal it, and the vault that does the sealing.
//!
//! **Promises.** A [`Token`] cannot be printed, logged or serialised by accident: `Debug` shows a placeholder, there is
//! no `Display` and no `Serialize`, and the bytes are zeroed on drop. [`Vault`] turns it into what may leave the process:
//! a fingerprint (HMAC-SHA-256) and a compact JWE (RFC 7516, `dir` + A256GCM).
//!
//! **When it fails.** A key file that cannot be read or holds no usable key is a configuration fault. A reload of a bad
//! file keeps the keys in use and reports the error.

mod keys;
mod list;
mod token;
mod vault;

pub use keys::{KeyError, KeySet, create_key_file, rotate_key_file};
pub use list::{Secrets, lines};
pub use token::Token;
pub use vault::{OpenError, SealError, Vault};

#[cfg(test)]
mod tests;
