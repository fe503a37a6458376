//! `[ingress]`, `[ingress.tls]`, `[auth]` and `[auth.ess]`.

use std::path::PathBuf;
use std::time::Duration;

use super::super::reader::Section;
use super::super::{AcknowledgeAfter, Auth, Guard, Ingress, SignatureMode, Tls};
use super::{ADDRESS, KIB, loopback};

/// The name that Concur's client certificate has borne in all years: its authority is a public one, so "any certificate
/// from it" would be anybody who has one.
const CONCUR_CLIENT_NAME: &str = "webhook.api.concursolutions.com";

pub(super) fn ingress(mut section: Section) -> Ingress {
    let ingress = Ingress {
        listen: section.parsed("listen", ADDRESS).unwrap_or(loopback(8080)),
        path: section.string("path").unwrap_or("/postback".to_owned()),
        ess_path: section.string("ess_path").unwrap_or("/ess".to_owned()),
        max_body_bytes: section.size("max_body").unwrap_or(256 * KIB) as usize,
        header_timeout: section
            .duration("header_timeout")
            .unwrap_or(Duration::from_secs(10)),
        body_timeout: section
            .duration("body_timeout")
            .unwrap_or(Duration::from_secs(30)),
        idle_timeout: section
            .duration("idle_timeout")
            .unwrap_or(Duration::from_secs(75)),
        max_connections: section
            .integer("max_connections", 1..=1_000_000)
            .unwrap_or(4096) as usize,
        max_in_flight: section
            .integer("max_in_flight", 1..=1_000_000)
            .unwrap_or(8192) as usize,
        acknowledge_after: section
            .choice(
                "acknowledge_after",
                &[
                    ("journal", AcknowledgeAfter::Journal),
                    ("kafka", AcknowledgeAfter::Kafka),
                ],
            )
            .unwrap_or(AcknowledgeAfter::Journal),
        kafka_ack_timeout: section
            .duration("kafka_ack_timeout")
            .unwrap_or(Duration::from_secs(5)),
        insecure_allow_unauthenticated: section
            .boolean("insecure_allow_unauthenticated")
            .unwrap_or(false),
        proxy_protocol: section.boolean("proxy_protocol").unwrap_or(false),
        tls: section.optional_section("tls").map(tls),
    };
    if ingress.max_body_bytes == 0 {
        section.fault(
            "max_body",
            "must not be 0: nothing with a body would be taken",
        );
    }
    for (key, path) in [("path", &ingress.path), ("ess_path", &ingress.ess_path)] {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
        if !path.starts_with('/')
            || path.len() < 2
            || path.ends_with('/')
            || !path.bytes().all(plain)
        {
            section.fault(
                key,
                "must be an absolute path of unreserved characters that does not end in a slash",
            );
        }
    }
    let nested = |inner: &str, outer: &str| {
        inner == outer
            || inner
                .strip_prefix(outer)
                .is_some_and(|rest| rest.starts_with('/'))
    };
    if nested(&ingress.path, &ingress.ess_path) || nested(&ingress.ess_path, &ingress.path) {
        section.fault(
            "ess_path",
            "must not be, contain or lie below `ingress.path`: the last segment may be a secret",
        );
    }
    section.finish();
    ingress
}

fn tls(mut section: Section) -> Tls {
    let client_ca = section.path("client_ca");
    let client_names = section.list("client_names", "a list of names");
    if client_ca.is_none() && client_names.is_some() {
        section.fault("client_names", "means nothing without `client_ca`");
    }
    let tls = Tls {
        certificate: required_path(&mut section, "certificate"),
        key: required_path(&mut section, "key"),
        client_ca,
        client_names: client_names.unwrap_or_else(|| vec![CONCUR_CLIENT_NAME.to_owned()]),
    };
    section.finish();
    tls
}

fn required_path(section: &mut Section, key: &'static str) -> PathBuf {
    section.path(key).unwrap_or_else(|| {
        section.fault(key, "is missing");
        PathBuf::new()
    })
}

pub(super) fn auth(mut section: Section) -> Auth {
    let mut ess = section.section("ess");
    let signature_keys: Vec<PathBuf> = ess.list("keys", "a list of PEM files").unwrap_or_default();
    let signature = ess
        .choice(
            "signature",
            &[
                ("enforce", SignatureMode::Enforce),
                ("observe", SignatureMode::Observe),
                ("off", SignatureMode::Off),
            ],
        )
        .unwrap_or(if signature_keys.is_empty() {
            SignatureMode::Off
        } else {
            SignatureMode::Enforce
        });
    if signature != SignatureMode::Off && signature_keys.is_empty() {
        ess.fault(
            "keys",
            "is missing: signatures need at least one key or certificate to be verified with",
        );
    }
    let auth = Auth {
        v1: guard(&mut section),
        ess: guard(&mut ess),
        signature,
        signature_keys,
    };
    ess.finish();
    section.finish();
    auth
}

fn guard(section: &mut Section) -> Guard {
    const NETWORKS: &str = "a list of networks such as \"192.0.2.0/24\"";
    Guard {
        path_secret_file: section.path("path_secret_file"),
        basic_file: section.path("basic_file"),
        allow_from: section.list("allow_from", NETWORKS).unwrap_or_default(),
        trusted_proxies: section
            .list("trusted_proxies", NETWORKS)
            .unwrap_or_default(),
    }
}
