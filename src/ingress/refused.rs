//! Why a request is refused: a closed set, and the one place that says what each means in HTTP.
//!
//! A status code is an instruction to the sender: ESS sends again after 401 and 5xx and gives up after any other 4xx.
//! So whatever is our fault is 503, and a 4xx is only for what would be refused the next time too.

use http::StatusCode;

use crate::accept::{Refusal, Unavailable};
use crate::normalise::{Malformed, Reason};

/// A request that is not accepted, with all that its answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// Refused for what it is or for how things stand; nothing is kept.
    Unkept(Cause),
    /// Authentic but malformed; the raw request is in the quarantine.
    Kept {
        /// What is wrong with it.
        malformed: Malformed,
        /// Its id in the quarantine.
        quarantine_id: String,
    },
}

/// Why, as one word: the metric label `reason` and the key of the log's throttle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Not HTTP/1.1 as RFC 9112 has it.
    BadHttp,
    /// The request target is longer than [`MAX_TARGET_BYTES`](super::limits::MAX_TARGET_BYTES).
    TargetTooLong,
    /// The head is larger than [`MAX_HEAD_BYTES`](super::limits::MAX_HEAD_BYTES) or has too many headers.
    HeadTooLarge,
    /// Neither of the two paths.
    UnknownPath,
    /// Not POST.
    MethodNotAllowed,
    /// The path secret is wrong or missing.
    PathSecret,
    /// The client's address is in none of the allowed networks.
    Network,
    /// User or password are wrong or missing.
    Basic,
    /// The client certificate bears none of the names.
    ClientName,
    /// `ingress.max_in_flight` requests wait for their answer.
    Overloaded,
    /// A content or transfer coding other than identity.
    UnsupportedEncoding,
    /// The body is over `ingress.max_body`.
    BodyTooLarge,
    /// `Concur-Signature` is wrong or missing.
    Signature,
    /// Malformed, and kept.
    Malformed(Reason),
    /// It cannot be made durable now.
    Unavailable(Unavailable),
}

impl Cause {
    /// Every cause: the label values of `concur_bridge_ingress_refusals_total`.
    pub const ALL: [Self; 30] = [
        Self::BadHttp,
        Self::TargetTooLong,
        Self::HeadTooLarge,
        Self::UnknownPath,
        Self::MethodNotAllowed,
        Self::PathSecret,
        Self::Network,
        Self::Basic,
        Self::ClientName,
        Self::Overloaded,
        Self::UnsupportedEncoding,
        Self::BodyTooLarge,
        Self::Signature,
        Self::Malformed(Reason::ALL[0]),
        Self::Malformed(Reason::ALL[1]),
        Self::Malformed(Reason::ALL[2]),
        Self::Malformed(Reason::ALL[3]),
        Self::Malformed(Reason::ALL[4]),
        Self::Malformed(Reason::ALL[5]),
        Self::Malformed(Reason::ALL[6]),
        Self::Malformed(Reason::ALL[7]),
        Self::Malformed(Reason::ALL[8]),
        Self::Malformed(Reason::ALL[9]),
        Self::Unavailable(Unavailable::JournalFull),
        Self::Unavailable(Unavailable::QuarantineFull),
        Self::Unavailable(Unavailable::QueueFull),
        Self::Unavailable(Unavailable::Closing),
        Self::Unavailable(Unavailable::JournalFailed),
        Self::Unavailable(Unavailable::KafkaUnavailable),
        Self::Unavailable(Unavailable::SealFailed),
    ];

    /// The label value.
    pub fn label(self) -> &'static str {
        match self {
            Self::PathSecret => "path_secret",
            Self::Network => "network",
            Self::Basic => "basic",
            Self::ClientName => "client_name",
            Self::Signature => "signature",
            cause => cause.problem(),
        }
    }

    /// The last word of the problem `type`. All authentication failures share one: which of the methods failed is for
    /// the operator's metrics, not for the one who failed.
    pub fn problem(self) -> &'static str {
        match self {
            Self::BadHttp => "bad_http",
            Self::TargetTooLong => "target_too_long",
            Self::HeadTooLarge => "head_too_large",
            Self::UnknownPath => "unknown_path",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::PathSecret | Self::Network | Self::Basic | Self::ClientName | Self::Signature => {
                "unauthorized"
            }
            Self::Overloaded => "overloaded",
            Self::UnsupportedEncoding => "unsupported_encoding",
            Self::BodyTooLarge => "body_too_large",
            Self::Malformed(reason) => reason.as_str(),
            Self::Unavailable(unavailable) => unavailable.reason(),
        }
    }

    /// The status that tells the sender what to do.
    pub fn status(self) -> StatusCode {
        match self {
            Self::BadHttp | Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::UnknownPath => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::PathSecret | Self::Network | Self::Basic | Self::ClientName | Self::Signature => {
                StatusCode::UNAUTHORIZED
            }
            Self::Overloaded | Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::UnsupportedEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        }
    }

    /// A sentence for a person; the same for every request of its kind.
    pub fn title(self) -> &'static str {
        match self {
            Self::BadHttp => "This is not a well-formed HTTP/1.1 request.",
            Self::TargetTooLong => "The request target is too long.",
            Self::HeadTooLarge => "The request head is too large.",
            Self::UnknownPath => "Nothing is here.",
            Self::MethodNotAllowed => "Notifications are sent with POST.",
            Self::PathSecret | Self::Network | Self::Basic | Self::ClientName | Self::Signature => {
                "The request is not authorized."
            }
            Self::Overloaded => "Too many requests wait for their answer. Send it again.",
            Self::UnsupportedEncoding => "Only the identity encoding is understood.",
            Self::BodyTooLarge => "The body is too large.",
            Self::Malformed(_) => "The notification is malformed. It was put in quarantine.",
            Self::Unavailable(_) => "The notification cannot be stored now. Send it again.",
        }
    }

    /// Its place in [`Cause::ALL`].
    pub(super) fn index(self) -> usize {
        Self::ALL
            .iter()
            .position(|cause| *cause == self)
            .unwrap_or(0)
    }
}

impl Refused {
    /// Why.
    pub fn cause(&self) -> Cause {
        match self {
            Self::Unkept(cause) => *cause,
            Self::Kept { malformed, .. } => Cause::Malformed(malformed.reason),
        }
    }
}

impl From<Cause> for Refused {
    fn from(cause: Cause) -> Self {
        Self::Unkept(cause)
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Malformed {
                malformed,
                quarantine_id,
            } => Self::Kept {
                malformed,
                quarantine_id,
            },
            Refusal::Unavailable(unavailable) => Self::Unkept(Cause::Unavailable(unavailable)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_a_label_of_its_own() {
        let mut labels: Vec<_> = Cause::ALL.iter().map(|cause| cause.label()).collect();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), Cause::ALL.len());
        for (place, cause) in Cause::ALL.iter().enumerate() {
            assert_eq!(cause.index(), place);
        }
    }
}
