//! `Concur-Signature`: RSA-PSS with SHA-256 and MGF1-SHA-256 over the raw body, base64.
//!
//! Concur documents the header but not the algorithm; a public sample of theirs verifies so, with the longest salt that
//! fits. Salts of 32 bytes, what most libraries make, are taken as well, others are not. Keys are PEM files with
//! certificates or public keys, several at once because Concur rotates them; one that matches is enough. A
//! certificate past its end still verifies and raises the alarm of `expiry`: the signature proves who
//! sent the body, and refusing it would lose postbacks over a file that nobody exchanged in time.
//!
//! `observe` verifies and counts and refuses nothing, to see what Concur sends before `enforce` answers 401.

mod header;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::HeaderMap;
use metrics::{Counter, counter};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Public};
use openssl::rsa::Padding;
use openssl::sign::{RsaPssSaltlen, Verifier};
use openssl::x509::X509;
use tracing::warn;

use super::expiry::Expiry;
use super::meters::Throttle;
use super::refused::Cause;
use crate::config::{Auth, SignatureMode};
use crate::reload::{self, Live, LoadError, Reloader};

pub use header::decode_header;

/// The header that carries it.
const HEADER: &str = "concur-signature";

const WHAT: &str = "signature_keys";

/// Smallest key that is trusted to sign.
const MIN_KEY_BITS: i32 = 2048;

const SHA256_BYTES: i32 = 32;

/// Checks signatures as configured.
pub(super) struct Signatures {
    mode: SignatureMode,
    keys: Live<Keys>,
    valid: Counter,
    missing: Counter,
    malformed: Counter,
    invalid: Counter,
    throttle: Throttle,
    expiry: Option<Expiry>,
}

/// Keys of which one must verify.
pub struct Keys {
    keys: Vec<Key>,
    /// Which key and salt verified last, so that the steady state costs one verification.
    last: AtomicUsize,
}

struct Key {
    key: PKey<Public>,
    /// The longest salt that fits, in bytes. OpenSSL's own word for it means "any" when it verifies.
    longest_salt: i32,
}

/// What a signature turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Valid,
    Missing,
    Malformed,
    Invalid,
}

impl Signatures {
    /// Reads the keys and has them read again when they change.
    pub(super) fn new(auth: &Auth, reloader: &mut Reloader) -> Result<Self, LoadError> {
        let mode = match auth.signature {
            SignatureMode::Enforce if auth.signature_keys.is_empty() => return Err(no_key()),
            // Nothing to verify with.
            SignatureMode::Observe if auth.signature_keys.is_empty() => SignatureMode::Off,
            mode => mode,
        };
        let expiry = (mode != SignatureMode::Off).then(|| Expiry::new("signature"));
        let keys = if let Some(expiry) = expiry.clone() {
            let paths = auth.signature_keys.clone();
            reloader.watch(WHAT, &auth.signature_keys, move || {
                let mut keys = Vec::new();
                let mut ends = Vec::new();
                for path in &paths {
                    let (more, their_ends) = read_file(path)?;
                    keys.extend(more);
                    ends.extend(their_ends);
                }
                expiry.set(&ends);
                Ok(Keys::new(keys))
            })?
        } else {
            Live::fixed(Keys::new(Vec::new()))
        };
        let outcome = |outcome: &'static str| counter!("concur_bridge_ingress_signatures_total", "outcome" => outcome);
        Ok(Self {
            mode,
            keys,
            valid: outcome("valid"),
            missing: outcome("missing"),
            malformed: outcome("malformed"),
            invalid: outcome("invalid"),
            throttle: Throttle::default(),
            expiry,
        })
    }

    /// The certificates whose end is to be reminded of.
    pub(super) fn expiry(&self) -> Option<Expiry> {
        self.expiry.clone()
    }

    /// Passes, or is [`Cause::Signature`].
    pub(super) fn check(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Cause> {
        if self.mode == SignatureMode::Off {
            return Ok(());
        }
        let outcome = self.verify(headers, body);
        let counter = match outcome {
            Outcome::Valid => &self.valid,
            Outcome::Missing => &self.missing,
            Outcome::Malformed => &self.malformed,
            Outcome::Invalid => &self.invalid,
        };
        counter.increment(1);
        match (outcome, self.mode) {
            (Outcome::Valid, _) => Ok(()),
            (_, SignatureMode::Enforce) => Err(Cause::Signature),
            (_, SignatureMode::Observe | SignatureMode::Off) => {
                if let Some(more) = self.throttle.admit() {
                    warn!(?outcome, more, "a signature would have been refused");
                }
                Ok(())
            }
        }
    }

    fn verify(&self, headers: &HeaderMap, body: &[u8]) -> Outcome {
        let mut values = headers.get_all(HEADER).iter();
        let (value, None) = (values.next(), values.next()) else {
            return Outcome::Malformed;
        };
        let Some(value) = value else {
            return Outcome::Missing;
        };
        let Some(signature) = decode_header(value.as_bytes()) else {
            return Outcome::Malformed;
        };
        if self.keys.get().verify(&signature, body) {
            Outcome::Valid
        } else {
            Outcome::Invalid
        }
    }
}

impl Keys {
    fn new(keys: Vec<Key>) -> Self {
        Self {
            keys,
            last: AtomicUsize::new(0),
        }
    }

    /// The keys of one PEM file: certificates and public keys in any order.
    ///
    /// # Errors
    /// A sentence about what is wrong, without a word of the file.
    pub fn from_pem(pem: &[u8]) -> Result<Self, String> {
        read_pem(pem).map(|(keys, _)| Self::new(keys))
    }

    /// Whether `signature` over `body` is one of these keys', with a salt of 32 bytes or the longest that fits.
    pub fn verify(&self, signature: &[u8], body: &[u8]) -> bool {
        let candidates = self.keys.len() * 2;
        let last = self.last.load(Ordering::Relaxed);
        let hit = (0..candidates)
            .map(|step| (last + step) % candidates)
            .find(|candidate| {
                self.keys.get(candidate / 2).is_some_and(|key| {
                    let salt = match candidate % 2 {
                        0 => RsaPssSaltlen::DIGEST_LENGTH,
                        _ => RsaPssSaltlen::custom(key.longest_salt),
                    };
                    verifies(&key.key, salt, signature, body).unwrap_or(false)
                })
            });
        match hit {
            Some(candidate) => {
                self.last.store(candidate, Ordering::Relaxed);
                true
            }
            None => false,
        }
    }
}

fn verifies(
    key: &PKey<Public>,
    salt: RsaPssSaltlen,
    signature: &[u8],
    body: &[u8],
) -> Result<bool, ErrorStack> {
    let mut verifier = Verifier::new(MessageDigest::sha256(), key)?;
    verifier.set_rsa_padding(Padding::PKCS1_PSS)?;
    verifier.set_rsa_mgf1_md(MessageDigest::sha256())?;
    verifier.set_rsa_pss_saltlen(salt)?;
    verifier.verify_oneshot(signature, body)
}

/// What is wrong with the key files, each by itself.
pub(super) fn faults(auth: &Auth) -> Vec<LoadError> {
    match auth.signature {
        SignatureMode::Off => Vec::new(),
        SignatureMode::Enforce if auth.signature_keys.is_empty() => vec![no_key()],
        SignatureMode::Enforce | SignatureMode::Observe => auth
            .signature_keys
            .iter()
            .filter_map(|path| read_file(path).err())
            .collect(),
    }
}

fn no_key() -> LoadError {
    LoadError {
        what: WHAT,
        file: "auth.ess.keys".into(),
        reason: "signature = \"enforce\" needs at least one key".into(),
    }
}

fn read_file(path: &Path) -> Result<(Vec<Key>, Vec<i64>), LoadError> {
    let pem = reload::read(WHAT, path)?;
    read_pem(&pem).map_err(|reason| reload::error_in(WHAT, path, reason))
}

/// The keys of one PEM file, and when its certificates end, in seconds since 1970.
fn read_pem(pem: &[u8]) -> Result<(Vec<Key>, Vec<i64>), String> {
    const BEGIN: &str = "-----BEGIN ";
    let pem = std::str::from_utf8(pem).map_err(|_| "it is not PEM")?;
    let mut keys = Vec::new();
    let mut ends = Vec::new();
    for block in pem.split(BEGIN).skip(1) {
        let block = format!("{BEGIN}{block}");
        let unreadable = |_: ErrorStack| "it holds a block that cannot be read".to_owned();
        let key = if block.starts_with("-----BEGIN CERTIFICATE-----") {
            let certificate = X509::from_pem(block.as_bytes()).map_err(unreadable)?;
            ends.extend(super::expiry::not_after(
                &certificate.to_der().map_err(unreadable)?,
            ));
            certificate.public_key().map_err(unreadable)?
        } else if block.starts_with("-----BEGIN PUBLIC KEY-----") {
            PKey::public_key_from_pem(block.as_bytes()).map_err(unreadable)?
        } else {
            return Err("it holds a block that is neither CERTIFICATE nor PUBLIC KEY".into());
        };
        let bits = key
            .rsa()
            .map_err(|_| "it holds a key that is not RSA")?
            .n()
            .num_bits();
        if bits < MIN_KEY_BITS {
            return Err(format!(
                "it holds a key of {bits} bits, {MIN_KEY_BITS} are needed"
            ));
        }
        keys.push(Key {
            key,
            // RFC 8017, 9.1.1: what the encoded message leaves beside the hash, 0x01 and 0xbc.
            longest_salt: (bits - 1 + 7) / 8 - SHA256_BYTES - 2,
        });
    }
    if keys.is_empty() {
        return Err("it holds no key".into());
    }
    Ok((keys, ends))
}

#[cfg(test)]
#[path = "signature/tests.rs"]
mod tests;
