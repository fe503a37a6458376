//! HTTP basic authentication (RFC 7617).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

use crate::secret::{Secrets, lines};

/// `user:password` a line.
pub(super) fn parse(text: &str) -> Result<Secrets, String> {
    if lines(text).any(|line| !line.contains(':')) {
        return Err("a line is not user:password".into());
    }
    Secrets::new(lines(text))
}

/// Whether the header's user and password are those of one line.
pub(super) fn passes(secrets: &Secrets, authorization: Option<&HeaderValue>) -> bool {
    let pair = authorization.and_then(credentials).unwrap_or_default();
    secrets.contain(&pair)
}

fn credentials(authorization: &HeaderValue) -> Option<Vec<u8>> {
    let (scheme, encoded) = authorization.as_bytes().split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    STANDARD.decode(encoded.trim_ascii()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_must_both_be_right() {
        let secrets = parse("concur:s3cret:with:colons\nother:x\n").unwrap();
        for (header, expected) in [
            ("Basic Y29uY3VyOnMzY3JldDp3aXRoOmNvbG9ucw==", true),
            ("basic  Y29uY3VyOnMzY3JldDp3aXRoOmNvbG9ucw==", true),
            ("BASIC b3RoZXI6eA==", true),
            ("Basic b3RoZXI6eQ==", false),
            ("Basic b3RoZXI=", false),
            ("Basic ", false),
            ("Basic !!!", false),
            ("Bearer b3RoZXI6eA==", false),
        ] {
            let header = HeaderValue::from_static(header);
            assert_eq!(passes(&secrets, Some(&header)), expected, "{header:?}");
        }
        assert!(!passes(&secrets, None));
    }
}
