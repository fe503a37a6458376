//! Connections to receivers, over TLS where their URL says so.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::certificates::Certificates;
use super::parcel::Content;
use super::target::Target;

/// How receivers are trusted, and who the simulator says it is.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// PEM file of authorities; `None`, and no certificates: the platform's.
    pub authorities: Option<PathBuf>,
    /// A throw-away authority, and the client certificate to show.
    pub certificates: Option<Certificates>,
}

/// Makes connections.
pub(super) struct Connector {
    tls: Option<TlsConnector>,
}

impl Connector {
    /// For receivers over http and https. A platform without roots is a fault only when https is `needed`.
    ///
    /// # Errors
    /// Files that hold no certificates, or no roots; in words.
    pub(super) fn new(trust: &Trust, needed: bool) -> Result<Self, String> {
        match tls(trust) {
            Ok(tls) => Ok(Self { tls: Some(tls) }),
            Err(fault) if needed => Err(fault),
            Err(_) => Ok(Self { tls: None }),
        }
    }

    /// A new connection, ready for HTTP/1.1.
    ///
    /// # Errors
    /// In words.
    pub(super) async fn connect(&self, target: &Target) -> Result<SendRequest<Content>, String> {
        let cannot = |error: &dyn Display| format!("cannot connect to {target:?}: {error}");
        let stream = TcpStream::connect((target.host.as_str(), target.port))
            .await
            .map_err(|error| cannot(&error))?;
        stream.set_nodelay(true).map_err(|error| cannot(&error))?;
        if !target.is_https {
            return handshake(stream).await.map_err(|error| cannot(&error));
        }
        let tls = self
            .tls
            .as_ref()
            .ok_or_else(|| cannot(&"there are no root certificates"))?;
        let name = ServerName::try_from(target.host.clone()).map_err(|error| cannot(&error))?;
        let stream = tls
            .connect(name, stream)
            .await
            .map_err(|error| cannot(&error))?;
        handshake(stream).await.map_err(|error| cannot(&error))
    }
}

async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> hyper::Result<SendRequest<Content>> {
    let (sender, connection) = http1::Builder::new()
        .title_case_headers(true)
        .handshake(TokioIo::new(stream))
        .await?;
    // It ends with the sender; its error also shows at the sender.
    tokio::spawn(connection);
    Ok(sender)
}

fn tls(trust: &Trust) -> Result<TlsConnector, String> {
    let words = |error: &dyn Display| error.to_string();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| words(&error))?;
    let own = trust.certificates.as_ref().map(Certificates::authority);
    let files: Vec<_> = trust.authorities.iter().chain(own.iter()).collect();
    let builder = if files.is_empty() {
        builder
            .with_platform_verifier()
            .map_err(|error| words(&error))?
    } else {
        let mut roots = RootCertStore::empty();
        for file in files {
            for certificate in read_certificates(file)? {
                roots
                    .add(certificate)
                    .map_err(|error| format!("{}: {error}", file.display()))?;
            }
        }
        builder.with_root_certificates(roots)
    };
    let config = match &trust.certificates {
        None => builder.with_no_client_auth(),
        Some(certificates) => {
            let (chain, key_file) = certificates.client();
            let key = PrivateKeyDer::from_pem_file(&key_file)
                .map_err(|error| format!("{}: {error}", key_file.display()))?;
            builder
                .with_client_auth_cert(read_certificates(&chain)?, key)
                .map_err(|error| words(&error))?
        }
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| format!("{}: {error}", file.display()))
        .and_then(|list: Vec<_>| {
            if list.is_empty() {
                Err(format!("{}: no certificate", file.display()))
            } else {
                Ok(list)
            }
        })
}
