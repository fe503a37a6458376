//! Key files: JWK Sets (RFC 7517) of `oct` keys with `kid`. The first key seals, all open.
//!
//! A key file is made with mode 0600, in a directory made with mode 0700, written aside and renamed, so a reader never
//! sees half of one and two processes that start together agree on one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josekit::jwe::alg::direct::DirectJweAlgorithm;
use josekit::jwe::{self, JweHeader};
use ring::rand::SecureRandom;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::vault::OpenError;
use crate::reload::LoadError;

/// Bytes of a key for A256GCM, and of the ones made here for HMAC-SHA-256.
const KEY_BYTES: usize = 32;

/// The keys of one file. At least one; the first seals.
pub struct KeySet {
    keys: Vec<Key>,
}

struct Key {
    kid: String,
    bytes: Zeroizing<Vec<u8>>,
}

/// Why a key file cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read or made.
    #[error("key file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It holds no usable key.
    #[error("key file {path}: {what}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong; quotes nothing of the file.
        what: &'static str,
    },
}

impl KeyError {
    /// The same, as those who follow files report it.
    pub fn into_load_error(self, what: &'static str) -> LoadError {
        let (path, reason) = match self {
            Self::Io { path, source } => (path, source.to_string()),
            Self::Unusable { path, what } => (path, what.to_owned()),
        };
        LoadError {
            what,
            file: path.display().to_string(),
            reason,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct JwkSet {
    keys: Vec<Jwk>,
}

#[derive(Serialize, Deserialize)]
struct Jwk {
    kty: String,
    kid: String,
    k: String,
}

impl Drop for Jwk {
    fn drop(&mut self) {
        self.k.zeroize();
    }
}

impl KeySet {
    /// Reads a key file; makes it with one random key when it is absent and `create` allows it.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn read(path: &Path, create: bool) -> Result<Self, KeyError> {
        let io_error = |source| KeyError::Io {
            path: path.to_owned(),
            source,
        };
        let text = match fs::read(path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound && create => {
                create_key_file(path)?;
                Zeroizing::new(fs::read(path).map_err(io_error)?)
            }
            Err(error) => return Err(io_error(error)),
        };
        Self::parse(&text).map_err(|what| KeyError::Unusable {
            path: path.to_owned(),
            what,
        })
    }

    fn parse(text: &[u8]) -> Result<Self, &'static str> {
        let set: JwkSet = serde_json::from_slice(text)
            .map_err(|_| "not a JWK Set (RFC 7517) of keys with kty, kid and k")?;
        let mut keys: Vec<Key> = Vec::with_capacity(set.keys.len());
        for jwk in &set.keys {
            if jwk.kty != "oct" {
                return Err("a key is not of type oct");
            }
            let bytes = Zeroizing::new(
                URL_SAFE_NO_PAD
                    .decode(&jwk.k)
                    .map_err(|_| "a key is not base64url")?,
            );
            if bytes.len() != KEY_BYTES {
                return Err("a key is not 32 bytes long");
            }
            if keys.iter().any(|key| key.kid == jwk.kid) {
                return Err("two keys have the same kid");
            }
            keys.push(Key {
                kid: jwk.kid.clone(),
                bytes,
            });
        }
        if keys.is_empty() {
            Err("it holds no key")
        } else {
            Ok(Self { keys })
        }
    }

    /// The bytes of the first key.
    pub(super) fn first(&self) -> &[u8] {
        &self.keys[0].bytes
    }

    pub(super) fn seal(&self, plaintext: &[u8]) -> Result<String, String> {
        let key = &self.keys[0];
        let mut header = JweHeader::new();
        header.set_content_encryption("A256GCM");
        header.set_key_id(&key.kid);
        let encrypter = DirectJweAlgorithm::Dir
            .encrypter_from_bytes(&key.bytes)
            .map_err(|error| error.to_string())?;
        jwe::serialize_compact(plaintext, &header, &encrypter).map_err(|error| error.to_string())
    }

    /// The plaintext of a JWE that one of the keys sealed.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(&self, jwe: &str) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let kid = protected_kid(jwe).ok_or(OpenError::NotOurs)?;
        let key = self
            .keys
            .iter()
            .find(|key| key.kid == kid)
            .ok_or(OpenError::UnknownKey(kid))?;
        let decrypter = DirectJweAlgorithm::Dir
            .decrypter_from_bytes(&key.bytes)
            .map_err(|_| OpenError::NotOurs)?;
        let (plaintext, _) =
            jwe::deserialize_compact(jwe, &decrypter).map_err(|_| OpenError::Forged)?;
        Ok(Zeroizing::new(plaintext))
    }
}

/// The `kid` of a compact JWE whose header says `dir` and A256GCM.
fn protected_kid(jwe: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Header {
        alg: String,
        enc: String,
        kid: String,
    }
    let header = URL_SAFE_NO_PAD.decode(jwe.split('.').next()?).ok()?;
    let header: Header = serde_json::from_slice(&header).ok()?;
    (header.alg == "dir" && header.enc == "A256GCM").then_some(header.kid)
}

/// Makes a key file with one random key. Leaves one alone that somebody else made first.
///
/// # Errors
/// See [`KeyError`].
pub fn create_key_file(path: &Path) -> Result<(), KeyError> {
    write_set(path, vec![random_key(path)?], false)
}

/// Puts a new random key in front of a key file; the old keys still open. Returns the new `kid`.
///
/// # Errors
/// See [`KeyError`]; the file is as it was.
pub fn rotate_key_file(path: &Path) -> Result<String, KeyError> {
    let old = KeySet::read(path, false)?;
    let new = random_key(path)?;
    let kid = new.kid.clone();
    let rest = old.keys.iter().map(|key| Jwk {
        kty: "oct".to_owned(),
        kid: key.kid.clone(),
        k: base64url(&key.bytes),
    });
    write_set(path, std::iter::once(new).chain(rest).collect(), true)?;
    Ok(kid)
}

fn random_key(path: &Path) -> Result<Jwk, KeyError> {
    let mut bytes = Zeroizing::new([0_u8; KEY_BYTES]);
    ring::rand::SystemRandom::new()
        .fill(bytes.as_mut())
        .map_err(|_| KeyError::Unusable {
            path: path.to_owned(),
            what: "the system gives no random bytes",
        })?;
    Ok(Jwk {
        kty: "oct".to_owned(),
        kid: uuid::Uuid::now_v7().to_string(),
        k: base64url(bytes.as_ref()),
    })
}

fn write_set(path: &Path, keys: Vec<Jwk>, replace: bool) -> Result<(), KeyError> {
    let io_error = |source| KeyError::Io {
        path: path.to_owned(),
        source,
    };
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(io_error)?;
    let text =
        serde_json::to_vec_pretty(&JwkSet { keys }).map_err(|error| io_error(error.into()))?;
    let text = Zeroizing::new(text);
    let aside = path.with_extension(format!("new-{}", uuid::Uuid::new_v4()));
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&aside)?;
        file.write_all(&text)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        if replace {
            fs::rename(&aside, path)?;
        } else {
            // `hard_link` fails where `rename` would replace the file of a process that was faster.
            match fs::hard_link(&aside, path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                linked => linked?,
            }
        }
        File::open(directory)?.sync_all()
    };
    let written = write();
    let _ = fs::remove_file(&aside);
    written.map_err(io_error)
}

/// base64url without padding.
pub(super) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
