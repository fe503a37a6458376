//! TLS 1.2 and 1.3 with rustls, and who the client certificate says the client is.
//!
//! With `client_ca` a handshake without a certificate from it, within its time and meant for clients, fails. Which name
//! it bears is looked at afterwards, so that a wrong one is an answer (401) and not a mystery on the wire.
//! Certificate, key and authorities are one configuration: when any of the files changes all are read again, and the
//! new configuration is for new connections; those that are open keep theirs.

mod client_name;

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{cipher_suite, default_provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedCipherSuite};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::expiry::{self, Expiry};
use crate::config::Tls;
use crate::reload::{self, Live, LoadError, Reloader};

const WHAT: &str = "tls";

/// All of ring's, in an order of our own: AES with keys of 128 bits first, which costs both ends two thirds of what 256 bits
/// do and is beyond breaking as well. Clients usually ask for the longest key, and servers have AES in hardware.
const CIPHER_SUITES: [SupportedCipherSuite; 9] = [
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// Turns connections into TLS connections.
pub(super) struct TlsOpening {
    config: Live<ServerConfig>,
    client_names: Option<Vec<String>>,
    expiries: [Expiry; 2],
}

impl TlsOpening {
    /// Reads certificate, key and authorities and has them read again when one changes.
    pub(super) fn new(tls: &Tls, reloader: &mut Reloader) -> Result<Self, LoadError> {
        let mut paths = vec![tls.certificate.clone(), tls.key.clone()];
        paths.extend(tls.client_ca.clone());
        let expiries = [Expiry::new("server"), Expiry::new("client_ca")];
        let config = {
            let tls = tls.clone();
            let [server, client_ca] = expiries.clone();
            reloader.watch(WHAT, &paths, move || {
                let (config, ends) = read(&tls)?;
                server.set(&ends.server);
                client_ca.set(&ends.client_ca);
                Ok(config)
            })?
        };
        let names_matter = tls.client_ca.is_some() && !tls.client_names.is_empty();
        Ok(Self {
            config,
            client_names: names_matter.then(|| tls.client_names.clone()),
            expiries,
        })
    }

    /// What is to be reminded of.
    pub(super) fn expiries(&self) -> impl Iterator<Item = Expiry> {
        self.expiries.iter().cloned()
    }

    /// Makes the handshake. The flag says whether the client bears one of the names asked for, if any are.
    pub(super) async fn accept<T>(&self, stream: T) -> std::io::Result<(TlsStream<T>, bool)>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = TlsAcceptor::from(self.config.get()).accept(stream).await?;
        let named = self.client_names.as_deref().is_none_or(|names| {
            let (_, session) = stream.get_ref();
            session
                .peer_certificates()
                .and_then(|chain| chain.first())
                .is_some_and(|certificate| client_name::bears_one_of(certificate, names))
        });
        Ok((stream, named))
    }
}

/// When the certificates of one configuration end.
struct Ends {
    server: Vec<i64>,
    client_ca: Vec<i64>,
}

fn read(tls: &Tls) -> Result<(ServerConfig, Ends), LoadError> {
    let chain = certificates(&tls.certificate)?;
    let key = private_key(&tls.key)?;
    let provider = Arc::new(CryptoProvider {
        cipher_suites: CIPHER_SUITES.to_vec(),
        ..default_provider()
    });
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| reload::error_in(WHAT, &tls.certificate, error.to_string()))?;
    let mut ends = Ends {
        server: chain
            .iter()
            .take(1)
            .filter_map(|der| expiry::not_after(der))
            .collect(),
        client_ca: Vec::new(),
    };
    let builder = match &tls.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let wrong =
                |error: &dyn std::fmt::Display| reload::error_in(WHAT, path, error.to_string());
            let mut roots = RootCertStore::empty();
            for authority in certificates(path)? {
                ends.client_ca.extend(expiry::not_after(&authority));
                roots.add(authority).map_err(|error| wrong(&error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| wrong(&error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| {
        reload::error_in(
            WHAT,
            &tls.certificate,
            format!(
                "it cannot be used with the key {}: {error}",
                tls.key.display()
            ),
        )
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ignore_client_order = true;
    Ok((config, ends))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, LoadError> {
    let pem = reload::read(WHAT, path)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|_| reload::error_in(WHAT, path, "it is not PEM"))?;
    if certificates.is_empty() {
        return Err(reload::error_in(WHAT, path, "it holds no certificate"));
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, LoadError> {
    let pem = reload::read(WHAT, path)?;
    PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|_| reload::error_in(WHAT, path, "it holds no private key in PEM"))
}

/// What is wrong with the files, each by itself; when nothing is, with the three together.
pub(super) fn faults(tls: &Tls) -> Vec<LoadError> {
    let authorities = tls.client_ca.as_deref().map(certificates);
    let faults: Vec<_> = [
        certificates(&tls.certificate).err(),
        private_key(&tls.key).err(),
        authorities.and_then(Result::err),
    ]
    .into_iter()
    .flatten()
    .collect();
    if faults.is_empty() {
        read(tls).err().into_iter().collect()
    } else {
        faults
    }
}
