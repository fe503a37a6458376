//! Mutual TLS with a throw-away authority: everything that bridge and simulator need to trust each other.
//!
//! A directory gets `ca.pem`; `client.pem` and `client.key`, the simulator's own, with Concur's name; `server.pem` and
//! `server.key`, for the bridge on this machine. A directory that has them keeps them, so that the bridge may be
//! started before or after.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// The name that Concur's client certificate bears.
pub const CLIENT_NAME: &str = "webhook.api.concursolutions.com";

/// Who may be connected to under the server's certificate.
const SERVER_NAMES: [&str; 4] = ["localhost", "127.0.0.1", "::1", "bridge"];

/// A directory that holds all of them.
#[derive(Debug, Clone)]
pub struct Certificates(PathBuf);

/// Why they could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CertificatesError {
    /// The directory.
    #[error("{0}: {1}")]
    File(String, std::io::Error),
    /// The certificates.
    #[error("cannot make certificates: {0}")]
    Making(#[from] rcgen::Error),
}

impl Certificates {
    /// Opens a directory; makes it, and what it lacks, when `ca.pem` is not there.
    ///
    /// # Errors
    /// See [`CertificatesError`].
    pub fn open(directory: &Path) -> Result<Self, CertificatesError> {
        let certificates = Self(directory.to_owned());
        if !certificates.authority().exists() {
            fs::create_dir_all(directory)
                .map_err(|error| CertificatesError::File(directory.display().to_string(), error))?;
            certificates.make()?;
        }
        Ok(certificates)
    }

    /// The authority's certificate.
    pub fn authority(&self) -> PathBuf {
        self.0.join("ca.pem")
    }

    /// The client's certificate and key.
    pub fn client(&self) -> (PathBuf, PathBuf) {
        (self.0.join("client.pem"), self.0.join("client.key"))
    }

    /// The server's certificate and key.
    pub fn server(&self) -> (PathBuf, PathBuf) {
        (self.0.join("server.pem"), self.0.join("server.key"))
    }

    /// `ca.pem` comes last: where it is, all are.
    fn make(&self) -> Result<(), CertificatesError> {
        let key = KeyPair::generate()?;
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        authority
            .distinguished_name
            .push(DnType::CommonName, "concur-bridge simulator, worth nothing");
        let authority_pem = authority.self_signed(&key)?.pem();
        let issuer = Issuer::new(authority, key);
        let server_names = SERVER_NAMES.map(str::to_owned).to_vec();
        for (names, common_name, purpose, files) in [
            (
                Vec::new(),
                CLIENT_NAME,
                ExtendedKeyUsagePurpose::ClientAuth,
                self.client(),
            ),
            (
                server_names,
                "localhost",
                ExtendedKeyUsagePurpose::ServerAuth,
                self.server(),
            ),
        ] {
            let key = KeyPair::generate()?;
            let mut params = CertificateParams::new(names)?;
            params
                .distinguished_name
                .push(DnType::CommonName, common_name);
            params.extended_key_usages = vec![purpose];
            let certificate = params.signed_by(&key, &issuer)?;
            write(&files.0, &certificate.pem())?;
            write(&files.1, &key.serialize_pem())?;
        }
        write(&self.authority(), &authority_pem)
    }
}

fn write(file: &Path, text: &str) -> Result<(), CertificatesError> {
    let mut options = fs::OpenOptions::new();
    let opened = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file);
    opened
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| CertificatesError::File(file.display().to_string(), error))
}
