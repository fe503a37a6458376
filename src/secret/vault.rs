//! The vault: turns what must not be seen into what may.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use zeroize::Zeroizing;

use super::keys::{KeyError, KeySet};
use super::token::Token;
use crate::config::{PublishToken, Tokens};
use crate::event::data::SealedToken;

/// Seals with the first key of a set, opens with any, fingerprints with the first key of another. Cheap to clone; all
/// clones see a reload.
#[derive(Clone)]
pub struct Vault {
    keys: Arc<RwLock<Arc<Keys>>>,
    publish: PublishToken,
}

struct Keys {
    seal: KeySet,
    fingerprint: ring::hmac::Key,
    /// Fingerprint → JWE of tokens sealed with these keys. A company's postbacks carry one token over and over, and
    /// sealing it costs more than all else that is done to a postback. Reusing a JWE tells a reader nothing that the
    /// fingerprint beside it does not; a reload forgets all.
    sealed: RwLock<HashMap<String, String>>,
}

/// Tokens whose JWE is remembered. About 300 bytes each; beyond it all are forgotten and the busy ones come back.
const SEALED_TOKENS: usize = 4096;

/// Sealing failed: the system's randomness or the cipher did.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot seal: {0}")]
pub struct SealError(String);

impl SealError {
    /// Sealing failed for this reason, which quotes nothing of the plaintext.
    pub(crate) fn new(what: String) -> Self {
        Self(what)
    }
}

/// A JWE could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The text is no compact JWE of the kind the bridge makes.
    #[error("not a compact JWE with alg dir and enc A256GCM")]
    NotOurs,
    /// Its key is not in the key file any more.
    #[error("no key with kid {0:?} in tokens.key_file")]
    UnknownKey(String),
    /// The key does not fit or the text was altered.
    #[error("the JWE does not verify")]
    Forged,
}

impl Vault {
    /// Reads both key files, making each when it is absent and `create` allows it.
    ///
    /// # Errors
    /// A file that cannot be read, made, or holds no usable key.
    pub fn open(tokens: &Tokens, create: bool) -> Result<Self, KeyError> {
        let keys = Keys::read(tokens, create)?;
        Ok(Self {
            keys: Arc::new(RwLock::new(Arc::new(keys))),
            publish: tokens.publish,
        })
    }

    /// Reads both key files again. On an error the keys in use stay.
    ///
    /// # Errors
    /// As [`Vault::open`].
    pub fn reload(&self, tokens: &Tokens) -> Result<(), KeyError> {
        let keys = Arc::new(Keys::read(tokens, false)?);
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// The stand-in for a user id when `events.user = "hashed"`: made as a token's fingerprint is.
    pub fn hash_user(&self, id: &str) -> String {
        self.keyed_hash(id.as_bytes())
    }

    /// A plaintext as compact JWE: `dir` + A256GCM, `kid` in the header.
    ///
    /// # Errors
    /// See [`SealError`].
    pub fn seal(&self, plaintext: &[u8]) -> Result<String, SealError> {
        self.keys().seal.seal(plaintext).map_err(SealError)
    }

    /// The plaintext of a JWE that a key of the file sealed.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_jwe(&self, jwe: &str) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        self.keys().seal.open(jwe)
    }

    /// A token in the form that `tokens.publish` asks for.
    ///
    /// # Errors
    /// See [`SealError`].
    pub fn seal_token(&self, token: &Token) -> Result<SealedToken, SealError> {
        let keys = self.keys();
        let fingerprint = keys.hash(token.expose().as_bytes());
        let (jwe, value) = match self.publish {
            PublishToken::Encrypted => (Some(keys.seal_token(token, &fingerprint)?), None),
            PublishToken::Fingerprint => (None, None),
            PublishToken::Plain => (None, Some(token.expose().to_owned())),
        };
        Ok(SealedToken {
            fingerprint,
            jwe,
            value,
        })
    }

    fn keyed_hash(&self, bytes: &[u8]) -> String {
        self.keys().hash(bytes)
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Keys {
    fn read(tokens: &Tokens, create: bool) -> Result<Self, KeyError> {
        let seal = KeySet::read(&tokens.key_file, create)?;
        let fingerprint = KeySet::read(&tokens.fingerprint_key_file, create)?;
        let fingerprint = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, fingerprint.first());
        Ok(Self {
            seal,
            fingerprint,
            sealed: RwLock::default(),
        })
    }

    fn hash(&self, bytes: &[u8]) -> String {
        super::keys::base64url(ring::hmac::sign(&self.fingerprint, bytes).as_ref())
    }

    fn seal_token(&self, token: &Token, fingerprint: &str) -> Result<String, SealError> {
        if let Some(jwe) = self
            .sealed
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(fingerprint)
        {
            return Ok(jwe.clone());
        }
        let jwe = self
            .seal
            .seal(token.expose().as_bytes())
            .map_err(SealError)?;
        let mut sealed = self.sealed.write().unwrap_or_else(PoisonError::into_inner);
        if sealed.len() >= SEALED_TOKENS {
            sealed.clear();
        }
        sealed.insert(fingerprint.to_owned(), jwe.clone());
        Ok(jwe)
    }
}
