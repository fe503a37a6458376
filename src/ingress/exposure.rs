//! Nobody is let in by default: the rule for listening beyond loopback.

use std::net::SocketAddr;

use crate::config::{Auth, Guard, Ingress, SignatureMode};

/// A path that anybody could post to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{path} would be open to anybody on {listen}: name a method (path_secret_file, basic_file, allow_from{more}, or \
     client_ca in [ingress.tls]), listen on loopback, or set ingress.insecure_allow_unauthenticated = true"
)]
pub struct Exposed {
    /// The table that lacks a method.
    pub section: &'static str,
    path: String,
    listen: SocketAddr,
    more: &'static str,
}

/// The paths that must not be served as configured. Pure: configuration checks it, nothing is bound.
pub fn check_exposed(ingress: &Ingress, auth: &Auth) -> Vec<Exposed> {
    if ingress.listen.ip().to_canonical().is_loopback()
        || ingress.insecure_allow_unauthenticated
        || demands_certificate(ingress)
    {
        return Vec::new();
    }
    let mut exposed = Vec::new();
    if !has_method(&auth.v1) {
        exposed.push(Exposed {
            section: "auth",
            path: ingress.path.clone(),
            listen: ingress.listen,
            more: "",
        });
    }
    if !has_method(&auth.ess) && auth.signature != SignatureMode::Enforce {
        exposed.push(Exposed {
            section: "auth.ess",
            path: ingress.ess_path.clone(),
            listen: ingress.listen,
            more: ", signature = \"enforce\"",
        });
    }
    exposed
}

/// What is allowed and probably not meant, as a sentence for the log and for `check`.
pub fn advice(ingress: &Ingress, auth: &Auth) -> Option<&'static str> {
    let v1 = &auth.v1;
    let only_basic =
        v1.basic_file.is_some() && v1.path_secret_file.is_none() && v1.allow_from.is_empty();
    (only_basic && !demands_certificate(ingress)).then_some(
        "[auth] basic_file does not apply to requests with an `Authorization: OAuth` header, which anybody can write: \
         add path_secret_file, allow_from or client_ca",
    )
}

fn demands_certificate(ingress: &Ingress) -> bool {
    ingress
        .tls
        .as_ref()
        .is_some_and(|tls| tls.client_ca.is_some())
}

fn has_method(guard: &Guard) -> bool {
    guard.path_secret_file.is_some() || guard.basic_file.is_some() || !guard.allow_from.is_empty()
}
