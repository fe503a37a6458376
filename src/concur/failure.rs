//! What a call may end in, and what the caller does about it.

use std::time::Duration;

use http::StatusCode;

/// Why a call did not succeed. Every text in it is fit to be shown: masked, cleaned, short.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No connection, or one that broke: try again later.
    #[error("cannot reach {base}: {reason} ({tries} tried)")]
    Unreachable {
        /// Where.
        base: String,
        /// The innermost cause.
        reason: String,
        /// How often it was tried.
        tries: u32,
    },
    /// A connection, but no answer in time: try again later.
    #[error("no answer from {base} within {} s ({tries} tried)", waited.as_secs())]
    Silent {
        /// Where.
        base: String,
        /// For how long in all.
        waited: Duration,
        /// How often it was tried.
        tries: u32,
    },
    /// 429 or 5xx to the last: try again later.
    #[error("Concur answered {status}{}{} ({tries} tried)", said(words), asks(*wait))]
    Busy {
        /// The last answer.
        status: StatusCode,
        /// Concur's words.
        words: String,
        /// The pause Concur asked for, when it does not fit into the time left.
        wait: Option<Duration>,
        /// How often it was tried.
        tries: u32,
    },
    /// An answer that another try cannot change.
    #[error("Concur answered {status}{}", said(words))]
    Refused {
        /// The answer.
        status: StatusCode,
        /// Concur's words.
        words: String,
    },
    /// A redirect; it is not followed, since the token would go along.
    #[error(
        "Concur answered {status}, a redirect{}: not followed, since the token would go along",
        to(location)
    )]
    Redirected {
        /// The answer.
        status: StatusCode,
        /// Where to, empty when it did not say.
        location: String,
    },
    /// A success whose content is not what the API documents.
    #[error("Concur's answer cannot be read: {reason}")]
    Unreadable {
        /// What is wrong with it.
        reason: String,
    },
}

impl CallError {
    /// What to do, in one sentence.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => {
                "check --base-url, the network and, behind a proxy, HTTPS_PROXY; then try again"
            }
            Self::Silent { .. } => "try again later, or check --base-url",
            Self::Busy { status, .. } if *status == StatusCode::TOO_MANY_REQUESTS => {
                "Concur limits the rate of calls: wait, then try again"
            }
            Self::Busy { .. } => "the fault is Concur's: try again later",
            Self::Redirected { .. } => {
                "check --base-url: give the host it points to if that is your Concur data centre"
            }
            Self::Unreadable { .. } => {
                "check --base-url: something else than Concur's API answers there"
            }
            Self::Refused { status, .. } => match status.as_u16() {
                400 => "Concur does not take the request as it is: check the arguments",
                401 => "the token is wrong or has expired: get a new one",
                403 => {
                    "the token is not allowed to do this: its user needs the role Company Administrator or Web Services \
                     Administrator (Professional) or Can Administer (Standard), and the application the scope"
                }
                404 => {
                    "check the id, if you gave one, or check --base-url: the data centre may be another (for ESS e.g. https://us.api.concursolutions.com)"
                }
                _ => "check --base-url and the arguments",
            },
        }
    }

    /// Whether the next call of the same errand would end the same way.
    pub fn ends_the_errand(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Silent { .. }
            | Self::Busy { .. }
            | Self::Redirected { .. } => true,
            Self::Refused { status, .. } => *status == StatusCode::UNAUTHORIZED,
            Self::Unreadable { .. } => false,
        }
    }

    /// The status that Concur answered, if it did.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Busy { status, .. }
            | Self::Refused { status, .. }
            | Self::Redirected { status, .. } => Some(*status),
            Self::Unreachable { .. } | Self::Silent { .. } | Self::Unreadable { .. } => None,
        }
    }
}

fn said(words: &str) -> String {
    if words.is_empty() {
        String::new()
    } else {
        format!(": {words}")
    }
}

fn asks(wait: Option<Duration>) -> String {
    wait.map_or_else(String::new, |wait| {
        format!(", and asks to wait {} s", wait.as_secs())
    })
}

fn to(location: &str) -> String {
    if location.is_empty() {
        String::new()
    } else {
        format!(" to {location}")
    }
}
