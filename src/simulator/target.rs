//! Who is posted to.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Uri};
use percent_encoding::percent_decode_str;
use url::Url;

/// A subscriber's URL, taken apart for sending.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// Name or address to connect to, IPv6 without brackets.
    pub(super) host: String,
    /// Port to connect to.
    pub(super) port: u16,
    /// Whether over TLS.
    pub(super) is_https: bool,
    /// The `Host` header.
    pub(super) authority: HeaderValue,
    /// HTTP basic credentials, ready for the header.
    pub(super) basic: Option<HeaderValue>,
    path: String,
    query: Option<String>,
}

/// Why a text is no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an http or https URL such as http://127.0.0.1:8080/postback")]
pub struct BadTarget;

impl Target {
    /// Reads a URL. `user:password@` becomes HTTP basic; a path secret is simply part of the path.
    ///
    /// # Errors
    /// Another scheme, or no host.
    pub fn parse(text: &str) -> Result<Self, BadTarget> {
        let url = Url::parse(text).map_err(|_| BadTarget)?;
        let is_https = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(BadTarget),
        };
        let host = url.host_str().ok_or(BadTarget)?;
        let authority = url
            .port()
            .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let mut target = Self {
            host: host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned(),
            port: url.port_or_known_default().ok_or(BadTarget)?,
            is_https,
            authority: HeaderValue::from_str(&authority).map_err(|_| BadTarget)?,
            basic: None,
            path: url.path().to_owned(),
            query: url.query().map(str::to_owned),
        };
        if let Some(password) = url.password() {
            let clear = [url.username(), password]
                .map(|part| percent_decode_str(part).collect::<Vec<u8>>());
            target = target.with_basic(&clear.join(&b':'));
        }
        Ok(target)
    }

    /// The same target with HTTP basic credentials, `user:password`.
    pub fn with_basic(mut self, credentials: &[u8]) -> Self {
        let value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(credentials)));
        // Base64 is always a header value.
        self.basic = value.ok().map(|mut value| {
            value.set_sensitive(true);
            value
        });
        self
    }

    /// The URL without credentials.
    pub(super) fn url(&self) -> String {
        let scheme = if self.is_https { "https" } else { "http" };
        let query = self
            .query
            .as_ref()
            .map_or_else(String::new, |query| format!("?{query}"));
        format!(
            "{scheme}://{}{}{query}",
            self.authority.to_str().unwrap_or_default(),
            self.path
        )
    }

    /// The request target with a query; `None` when the two make no URI.
    pub(super) fn uri(&self, query: &str) -> Option<Uri> {
        let text = match (&self.query, query) {
            (None, "") => self.path.clone(),
            (None, query) => format!("{}?{query}", self.path),
            (Some(own), "") => format!("{}?{own}", self.path),
            (Some(own), query) => format!("{}?{own}&{query}", self.path),
        };
        text.parse().ok()
    }
}

/// Host and port only: path and credentials may be secret.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_taken_apart() {
        let target = Target::parse("http://u%40x:p%3Aq@[::1]:8080/postback/secret").unwrap();
        assert_eq!((target.host.as_str(), target.port), ("::1", 8080));
        assert_eq!(target.authority, "[::1]:8080");
        assert_eq!(
            target.basic.as_ref().unwrap(),
            &format!("Basic {}", STANDARD.encode("u@x:p:q"))
        );
        assert_eq!(target.uri("type=fop").unwrap(), "/postback/secret?type=fop");
        assert_eq!(format!("{target:?}"), "::1:8080");
        let plain = Target::parse("https://bridge.example?a=b").unwrap();
        assert_eq!((plain.port, plain.is_https), (443, true));
        assert_eq!(plain.uri("type=fop").unwrap(), "/?a=b&type=fop");
        for bad in ["", "bridge:8080", "ftp://x/", "/postback"] {
            assert_eq!(Target::parse(bad), Err(BadTarget), "{bad}");
        }
    }
}
