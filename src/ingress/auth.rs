//! Who may post, for each of the two paths on its own.
//!
//! A [`Gate`] holds the methods that are configured for one path; all of them must pass, in the order path secret,
//! network, basic, before a byte of the body is read. Client certificates are looked at by the TLS listener, signatures
//! after the body ([`signature`](super::signature)).
//!
//! Secrets are compared as SHA-256 digests, in constant time and always against all of them, so neither their length
//! nor which of several was meant shows in the time an answer takes. The files are read again when they change; a file
//! that no longer makes sense leaves the old secrets in force.

pub(super) mod basic;
pub(super) mod network;
pub(super) mod path_secret;

use std::net::IpAddr;
use std::path::Path;

use http::HeaderMap;
use http::header::AUTHORIZATION;

use self::network::Networks;
use super::refused::Cause;
use crate::config::Guard;
use crate::postback::{Dialect, oauth_credentials};
use crate::reload::{Live, LoadError, Reloader};
use crate::secret::Secrets;

const PATH_SECRET: &str = "path_secret";

const BASIC: &str = "basic";

/// The methods that guard one path.
pub(super) struct Gate {
    dialect: Dialect,
    path_secrets: Option<Live<Secrets>>,
    networks: Networks,
    basic: Option<Live<Secrets>>,
}

/// Whom a connection comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    /// The other end of the socket.
    pub(super) socket: IpAddr,
    /// The client that the PROXY header names.
    pub(super) proxied: Option<IpAddr>,
}

impl Gate {
    /// Reads the secrets that `guard` names and has them read again when they change.
    pub(super) fn new(
        guard: &Guard,
        dialect: Dialect,
        reloader: &mut Reloader,
    ) -> Result<Self, LoadError> {
        let mut live = |what, path: &Option<_>, parse: fn(&str) -> Result<Secrets, String>| {
            path.as_deref()
                .map(|path: &Path| reloader.text(what, path, parse))
                .transpose()
        };
        Ok(Self {
            dialect,
            path_secrets: live(PATH_SECRET, &guard.path_secret_file, path_secret::parse)?,
            basic: live(BASIC, &guard.basic_file, basic::parse)?,
            networks: Networks::new(&guard.allow_from, &guard.trusted_proxies),
        })
    }

    /// Whether the last segment of the path is a secret.
    pub(super) fn has_path_secret(&self) -> bool {
        self.path_secrets.is_some()
    }

    /// Whether a 401 of this path invites to authenticate.
    pub(super) fn challenges(&self) -> bool {
        self.basic.is_some()
    }

    /// Passes, or says which method did not. `rest` is what follows the configured path, without its slash.
    pub(super) fn check(
        &self,
        rest: Option<&str>,
        peer: Peer,
        headers: &HeaderMap,
    ) -> Result<(), Cause> {
        if let Some(secrets) = &self.path_secrets
            && !path_secret::passes(&secrets.get(), rest)
        {
            return Err(Cause::PathSecret);
        }
        if !self.networks.allow(peer, headers) {
            return Err(Cause::Network);
        }
        if let Some(basic) = &self.basic {
            // User-level postbacks carry Concur's own `Authorization: OAuth`; a request has one such header only.
            let spared = self.dialect == Dialect::V1 && oauth_credentials(headers).is_some();
            if !spared && !basic::passes(&basic.get(), headers.get(AUTHORIZATION)) {
                return Err(Cause::Basic);
            }
        }
        Ok(())
    }
}

/// What is wrong with the files that `guard` names, each by itself.
pub(super) fn faults(guard: &Guard) -> Vec<LoadError> {
    let mut reloader = Reloader::default();
    let mut fault = |what, path: &Option<_>, parse: fn(&str) -> Result<Secrets, String>| {
        path.as_deref()
            .and_then(|path: &Path| reloader.text(what, path, parse).err())
    };
    [
        fault(PATH_SECRET, &guard.path_secret_file, path_secret::parse),
        fault(BASIC, &guard.basic_file, basic::parse),
    ]
    .into_iter()
    .flatten()
    .collect()
}
