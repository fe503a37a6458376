//! Nobody is let in by default: the rule for listening beyond loopback.

use crate::config::{Auth, Guard, Ingress, SignatureMode};

/// A path that anybody could post to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{path} would accept postbacks from anybody: ingress.listen is not a loopback address, so {section} needs one of \
     path_secret_file, basic_file, allow_from{more}; or ingress.tls client_ca; \
     or set ingress.insecure_allow_unauthenticated = true"
)]
pub struct Exposed {
    path: String,
    section: &'static str,
    more: &'static str,
}

/// The paths that must not be served as configured. Pure: configuration checks it, nothing is bound.
pub fn check_exposed(ingress: &Ingress, auth: &Auth) -> Vec<Exposed> {
    let certified = ingress
        .tls
        .as_ref()
        .is_some_and(|tls| tls.client_ca.is_some());
    if ingress.listen.ip().to_canonical().is_loopback()
        || ingress.insecure_allow_unauthenticated
        || certified
    {
        return Vec::new();
    }
    let mut exposed = Vec::new();
    if !has_method(&auth.v1) {
        exposed.push(Exposed {
            path: ingress.path.clone(),
            section: "[auth]",
            more: "",
        });
    }
    if !has_method(&auth.ess) && auth.signature != SignatureMode::Enforce {
        exposed.push(Exposed {
            path: ingress.ess_path.clone(),
            section: "[auth.ess]",
            more: ", signature = \"enforce\"",
        });
    }
    exposed
}

/// What is allowed and probably not meant, in sentences for the log and for `check`.
pub fn advice(ingress: &Ingress, auth: &Auth) -> Vec<&'static str> {
    let mut advice = Vec::new();
    let v1 = &auth.v1;
    let only_basic =
        v1.basic_file.is_some() && v1.path_secret_file.is_none() && v1.allow_from.is_empty();
    let certified = ingress
        .tls
        .as_ref()
        .is_some_and(|tls| tls.client_ca.is_some());
    if only_basic && !certified {
        advice.push(
            "[auth] basic_file does not apply to requests with an `Authorization: OAuth` header, which anybody can \
             write: add path_secret_file, allow_from or client_ca",
        );
    }
    if ingress.proxy_protocol
        && v1.trusted_proxies.is_empty()
        && auth.ess.trusted_proxies.is_empty()
    {
        advice.push(
            "ingress.proxy_protocol = true without trusted_proxies in [auth] or [auth.ess] closes every connection",
        );
    }
    if auth.signature != SignatureMode::Off && auth.signature_keys.is_empty() {
        advice.push("[auth.ess] signature has no effect without keys");
    }
    advice
}

fn has_method(guard: &Guard) -> bool {
    guard.path_secret_file.is_some() || guard.basic_file.is_some() || !guard.allow_from.is_empty()
}
