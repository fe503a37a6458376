//! Host patterns: whose URLs may be handed to consumers.

use std::fmt;

/// `events.object_uri_hosts`: exact names, and `*.` for one or more labels, never the apex. Lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectUriHosts(Vec<Pattern>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Exact(String),
    /// The suffix with its leading dot.
    Below(String),
}

/// A pattern that is no host name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no host name, nor `*.` before one")]
pub struct BadPattern(String);

impl ObjectUriHosts {
    /// The hosts of Concur's data centres.
    pub const DEFAULT: [&str; 3] = ["*.concursolutions.com", "*.concur.com", "*.concurcdc.cn"];

    /// Reads patterns as written in the configuration.
    ///
    /// # Errors
    /// The first pattern that is no host name; `*` anywhere but as the whole first label is none.
    pub fn parse<S: AsRef<str>>(patterns: &[S]) -> Result<Self, BadPattern> {
        patterns
            .iter()
            .map(|text| Pattern::parse(text.as_ref()))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether a host, lower case as WHATWG URL parsing leaves it, is allowed. A trailing dot is not.
    pub fn allow(&self, host: &str) -> bool {
        self.0.iter().any(|pattern| match pattern {
            Pattern::Exact(name) => host == name,
            Pattern::Below(suffix) => {
                host.len() > suffix.len()
                    && host.ends_with(suffix.as_str())
                    && !host.starts_with('.')
            }
        })
    }
}

impl Default for ObjectUriHosts {
    fn default() -> Self {
        Self(
            Self::DEFAULT
                .iter()
                .map(|text| Pattern::Below(text.trim_start_matches('*').to_owned()))
                .collect(),
        )
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, BadPattern> {
        let (name, below) = match text.strip_prefix("*.") {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let is_name = !name.is_empty()
            && name.split('.').all(|label| {
                !label.is_empty()
                    && label
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            })
            && name.parse::<std::net::Ipv4Addr>().is_err();
        if !is_name {
            return Err(BadPattern(text.to_owned()));
        }
        let name = name.to_ascii_lowercase();
        Ok(if below {
            Self::Below(format!(".{name}"))
        } else {
            Self::Exact(name)
        })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Below(suffix) => write!(f, "*{suffix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_one_or_more_labels_and_never_for_the_apex() {
        let hosts = ObjectUriHosts::parse(&["*.concur.com", "exact.example"]).unwrap();
        for allowed in ["www.concur.com", "a.b.concur.com", "exact.example"] {
            assert!(hosts.allow(allowed), "{allowed}");
        }
        for refused in [
            "concur.com",
            ".concur.com",
            "evilconcur.com",
            "concur.com.evil",
            "www.concur.com.",
            "x.exact.example",
            "",
        ] {
            assert!(!hosts.allow(refused), "{refused}");
        }
    }

    #[test]
    fn what_is_no_host_name_is_refused() {
        for bad in [
            "", "*", "*.", "a.*.b", "http://x", "x:443", "10.0.0.1", "a..b",
        ] {
            assert!(ObjectUriHosts::parse(&[bad]).is_err(), "{bad}");
        }
    }
}
