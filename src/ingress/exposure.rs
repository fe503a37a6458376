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

fn has_method(guard: &Guard) -> bool {
    guard.path_secret_file.is_some() || guard.basic_file.is_some() || !guard.allow_from.is_empty()
}
