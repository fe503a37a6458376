//! What can be wrong with an authentic request.

use std::borrow::Cow;

/// Why a request is malformed. A closed set: the text of each is interface (problem `type`, metric label, quarantine).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// `type` is none of itinerary, fop, profile.
    UnknownType,
    /// There is no `type`.
    MissingType,
    /// A known query parameter was sent twice.
    DuplicateParameter,
    /// A `%` that is not followed by two hex digits.
    BadPercentEncoding,
    /// Bytes that are not UTF-8, or another encoding declared.
    BadUtf8,
    /// Not one well-formed, closed `Notification`, or a known element twice.
    BadXml,
    /// A DOCTYPE: the way to entity tricks.
    Doctype,
    /// Deeper than 16 levels, more than 64 elements or 64 attributes of one; for JSON deeper than 64 levels.
    TooComplex,
    /// Neither trip nor user nor token is named.
    MissingIdentity,
    /// Not one JSON object.
    BadJson,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 10] = [
        Self::UnknownType,
        Self::MissingType,
        Self::DuplicateParameter,
        Self::BadPercentEncoding,
        Self::BadUtf8,
        Self::BadXml,
        Self::Doctype,
        Self::TooComplex,
        Self::MissingIdentity,
        Self::BadJson,
    ];

    /// The word of the interface.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownType => "unknown_type",
            Self::MissingType => "missing_type",
            Self::DuplicateParameter => "duplicate_parameter",
            Self::BadPercentEncoding => "bad_percent_encoding",
            Self::BadUtf8 => "bad_utf8",
            Self::BadXml => "bad_xml",
            Self::Doctype => "doctype",
            Self::TooComplex => "too_complex",
            Self::MissingIdentity => "missing_identity",
            Self::BadJson => "bad_json",
        }
    }

    /// The reason of this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}

/// An authentic request that is no event. Final for its sender; kept in the quarantine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", reason.as_str())]
pub struct Malformed {
    /// Why, from the closed set.
    pub reason: Reason,
    /// Why, in words for a person; quotes nothing of the request but names of known parameters and elements.
    pub detail: Cow<'static, str>,
}

impl Malformed {
    /// A request that is malformed for `reason`; `detail` must quote nothing of it.
    pub fn new(reason: Reason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            reason,
            detail: detail.into(),
        }
    }
}
