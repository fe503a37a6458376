//! Where Concur is: an origin that may be given a token.

use std::fmt;

use url::{Host, Url};

/// A base URL that a token may be sent to: https, or http to loopback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl(Url);

/// Why a text is no base URL. Exit code 2.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadBaseUrl {
    /// Not a URL, or one without a host.
    #[error("not a URL such as https://www.concursolutions.com")]
    NotAUrl,
    /// The token would travel in clear.
    #[error(
        "must be https: the token would travel in clear (http is for 127.0.0.1, [::1] and localhost)"
    )]
    NotHttps,
    /// Credentials, a query or a fragment have no place in it.
    #[error("must have no user, query or fragment")]
    TooMuch,
}

impl BaseUrl {
    /// Where Concur's v1 APIs are.
    pub const DEFAULT: &str = "https://www.concursolutions.com";

    /// Reads a base URL; a trailing slash does not matter.
    ///
    /// # Errors
    /// See [`BadBaseUrl`].
    pub fn parse(text: &str) -> Result<Self, BadBaseUrl> {
        let url = Url::parse(text).map_err(|_| BadBaseUrl::NotAUrl)?;
        let base = Self(url);
        match base.0.scheme() {
            _ if base.0.host().is_none() => Err(BadBaseUrl::NotAUrl),
            "https" => Ok(()),
            "http" if base.is_loopback() => Ok(()),
            "http" => Err(BadBaseUrl::NotHttps),
            _ => Err(BadBaseUrl::NotAUrl),
        }?;
        let url = &base.0;
        let has_user = !url.username().is_empty() || url.password().is_some();
        if has_user || url.query().is_some() || url.fragment().is_some() {
            return Err(BadBaseUrl::TooMuch);
        }
        Ok(base)
    }

    /// Whether the host can only be this machine.
    pub fn is_loopback(&self) -> bool {
        match self.0.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        }
    }

    /// Whether calls are encrypted.
    pub(super) fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The URL of a path (and query) below the base. `path` begins with a slash and is already encoded.
    pub(super) fn join(&self, path: &str) -> Url {
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path, None),
        };
        let mut url = self.0.clone();
        url.set_path(&format!("{}{path}", self.0.path().trim_end_matches('/')));
        url.set_query(query);
        url
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_in_clear_to_loopback_only() {
        for good in [
            "https://www.concursolutions.com",
            "https://us.api.concursolutions.com/",
            "http://127.0.0.1:8090",
            "http://127.8.9.1",
            "http://[::1]:1",
            "http://localhost:1/concur/",
        ] {
            assert!(BaseUrl::parse(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("http://www.concursolutions.com", BadBaseUrl::NotHttps),
            ("http://10.0.0.1", BadBaseUrl::NotHttps),
            ("http://localhost.evil.example", BadBaseUrl::NotHttps),
            ("http://127.0.0.1.nip.example", BadBaseUrl::NotHttps),
            ("http://[::ffff:10.0.0.1]", BadBaseUrl::NotHttps),
            ("ftp://127.0.0.1", BadBaseUrl::NotAUrl),
            ("www.concursolutions.com", BadBaseUrl::NotAUrl),
            ("", BadBaseUrl::NotAUrl),
            ("https://", BadBaseUrl::NotAUrl),
            (
                "https://user:secret@www.concursolutions.com",
                BadBaseUrl::TooMuch,
            ),
            (
                "https://www.concursolutions.com?type=fop",
                BadBaseUrl::TooMuch,
            ),
        ] {
            assert_eq!(BaseUrl::parse(bad), Err(why), "{bad}");
        }
    }

    #[test]
    fn paths_are_joined_below_the_base() {
        let base = BaseUrl::parse("http://localhost:1/concur/").unwrap();
        assert_eq!(
            base.join("/api?type=fop").as_str(),
            "http://localhost:1/concur/api?type=fop"
        );
        assert_eq!(base.to_string(), "http://localhost:1/concur");
    }
}
