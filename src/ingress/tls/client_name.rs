//! The names of a client certificate.
//!
//! Concur's webhook certificate has changed its organisation between years but not its common name, so names are what
//! is compared: the common names of the subject and the DNS names of the alternative names, ASCII case aside, whole.
//! A wildcard in a certificate is not a name.

use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Whether the certificate bears one of `names`. One that cannot be read bears none.
pub(super) fn bears_one_of(der: &[u8], names: &[String]) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return false;
    };
    let wanted = |name: &str| names.iter().any(|wanted| wanted.eq_ignore_ascii_case(name));
    let common = certificate
        .subject()
        .iter_common_name()
        .filter_map(|name| name.as_str().ok())
        .any(wanted);
    let alternative = || {
        certificate
            .subject_alternative_name()
            .ok()
            .flatten()
            .is_some_and(|extension| {
                extension.value.general_names.iter().any(|name| match name {
                    GeneralName::DNSName(name) => wanted(name),
                    _ => false,
                })
            })
    };
    common || alternative()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair};

    fn certificate(common: &str, alternative: &[&str]) -> Vec<u8> {
        let alternative: Vec<String> = alternative.iter().map(|&name| name.into()).collect();
        let mut params = CertificateParams::new(alternative).unwrap();
        params.distinguished_name.push(DnType::CommonName, common);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_common_name_or_an_alternative_name_must_match_whole() {
        let names = ["webhook.api.concursolutions.com".to_owned()];
        for (common, alternative, expected) in [
            ("webhook.api.concursolutions.com", &[][..], true),
            ("Webhook.API.concursolutions.com", &[], true),
            (
                "other",
                &["x.example", "webhook.api.concursolutions.com"],
                true,
            ),
            ("other", &["x.example"], false),
            ("webhook.api.concursolutions.com.evil.example", &[], false),
            ("evil.webhook.api.concursolutions.com", &[], false),
            (
                "*.api.concursolutions.com",
                &["*.api.concursolutions.com"],
                false,
            ),
            ("other", &[], false),
        ] {
            let der = certificate(common, alternative);
            assert_eq!(
                bears_one_of(&der, &names),
                expected,
                "{common} {alternative:?}"
            );
        }
        assert!(!bears_one_of(b"junk", &names));
    }
}
