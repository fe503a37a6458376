//! `Concur-Signature`: base64 of RSA-PSS with SHA-256, MGF1 with SHA-256, over the raw body.
//!
//! Concur documents the header but not the algorithm; this is what a public sample verifies. The key is a throw-away
//! one: made here, worth nothing.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::{Padding, Rsa};
use openssl::sign::{RsaPssSaltlen, Signer};

/// Bits of the key, as Concur's.
const KEY_BITS: u32 = 2048;

/// Bytes of salt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Salt {
    /// As many as fit, as in the public sample.
    Maximum,
    /// 32, as many as the hash has.
    Digest,
}

impl Salt {
    fn length(self) -> RsaPssSaltlen {
        match self {
            Self::Maximum => RsaPssSaltlen::MAXIMUM_LENGTH,
            Self::Digest => RsaPssSaltlen::DIGEST_LENGTH,
        }
    }
}

/// Signs webhooks. Clones share the key.
#[derive(Clone)]
pub struct SigningKey {
    key: Arc<PKey<Private>>,
    salt: Salt,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    /// The file cannot be read or written.
    #[error("{0}: {1}")]
    File(String, std::io::Error),
    /// The file holds no RSA key, or none could be made.
    #[error("{0}: no RSA key in PEM: {1}")]
    Key(String, ErrorStack),
}

impl SigningKey {
    /// A new key.
    ///
    /// # Errors
    /// The system's randomness failed.
    pub fn generate(salt: Salt) -> Result<Self, SigningKeyError> {
        let key = Rsa::generate(KEY_BITS)
            .and_then(PKey::from_rsa)
            .map_err(|error| SigningKeyError::Key("a new key".into(), error))?;
        Ok(Self {
            key: Arc::new(key),
            salt,
        })
    }

    /// The private key of a PEM file; made there, with mode 0600, when there is no file.
    ///
    /// # Errors
    /// See [`SigningKeyError`].
    pub fn open(file: &Path, salt: Salt) -> Result<Self, SigningKeyError> {
        let name = || file.display().to_string();
        match std::fs::read(file) {
            Ok(pem) => {
                let key = PKey::private_key_from_pem(&pem)
                    .map_err(|error| SigningKeyError::Key(name(), error))?;
                key.rsa()
                    .map_err(|error| SigningKeyError::Key(name(), error))?;
                Ok(Self {
                    key: Arc::new(key),
                    salt,
                })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let made = Self::generate(salt)?;
                let pem = made
                    .key
                    .private_key_to_pem_pkcs8()
                    .map_err(|error| SigningKeyError::Key(name(), error))?;
                let mut options = std::fs::OpenOptions::new();
                let opened = options.write(true).create_new(true).mode(0o600).open(file);
                opened
                    .and_then(|mut file| file.write_all(&pem))
                    .map_err(|error| SigningKeyError::File(name(), error))?;
                Ok(made)
            }
            Err(error) => Err(SigningKeyError::File(name(), error)),
        }
    }

    /// The public key in PEM, as Concur publishes its own.
    ///
    /// # Errors
    /// OpenSSL's.
    pub fn public_pem(&self) -> Result<Vec<u8>, ErrorStack> {
        self.key.public_key_to_pem()
    }

    /// The header's value; `None` when OpenSSL fails, and the webhook goes out unsigned.
    pub(super) fn sign(&self, body: &[u8]) -> Option<String> {
        let sign = || -> Result<Vec<u8>, ErrorStack> {
            let mut signer = Signer::new(MessageDigest::sha256(), &self.key)?;
            signer.set_rsa_padding(Padding::PKCS1_PSS)?;
            signer.set_rsa_mgf1_md(MessageDigest::sha256())?;
            signer.set_rsa_pss_saltlen(self.salt.length())?;
            signer.sign_oneshot_to_vec(body)
        };
        sign().ok().map(|signature| STANDARD.encode(signature))
    }
}

#[cfg(test)]
mod tests {
    use openssl::sign::Verifier;

    use super::*;

    #[test]
    fn a_signature_verifies_with_the_public_key_and_over_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key.pem");
        for salt in [Salt::Maximum, Salt::Digest] {
            // The second time the key is read back.
            let key = SigningKey::open(&file, salt).unwrap();
            let signature = STANDARD.decode(key.sign(b"body").unwrap()).unwrap();
            let public = PKey::public_key_from_pem(&key.public_pem().unwrap()).unwrap();
            for (body, fits) in [(&b"body"[..], true), (b"Body", false)] {
                let mut verifier = Verifier::new(MessageDigest::sha256(), &public).unwrap();
                verifier.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
                verifier.set_rsa_mgf1_md(MessageDigest::sha256()).unwrap();
                verifier.set_rsa_pss_saltlen(salt.length()).unwrap();
                assert_eq!(verifier.verify_oneshot(&signature, body).unwrap(), fits);
            }
        }
        std::fs::write(&file, "no key").unwrap();
        assert!(matches!(
            SigningKey::open(&file, Salt::Digest),
            Err(SigningKeyError::Key(..))
        ));
    }
}
