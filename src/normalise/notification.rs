//! Reads the XML body of a v1 postback: one closed `Notification`, and nothing that two readers could see differently.
//!
//! quick-xml splits the text into tags and texts and matches end tags; it accepts an unclosed root, two roots, text
//! behind the root, other encodings as junk and control characters, so all of that is refused here, before or while
//! walking. No entity but the five predefined ones exists, so nothing can expand.
//!
//! **Bounds.** [`MAX_DEPTH`] levels, [`MAX_ELEMENTS`] elements, [`MAX_ATTRIBUTES`] attributes; time linear in the body.
//!
//! **What is read.** The children of the root, by local name. The six known ones may come once each, in exactly that
//! case. Every other one goes to `extra`: its text, or a list of texts when it comes again. The text of an element is
//! that of all its descendants, the parts of different elements kept apart by one blank, so a `Context` that gains a
//! structure one day still says something. Comments, CDATA sections and references do not part a text. Attributes must
//! be well-formed and are otherwise ignored, as is text that stands directly in the root.
//!
//! **When it fails.** `bad_utf8`, `doctype`, `too_complex`, otherwise `bad_xml`.

mod chars;
mod element_text;
mod instruction;
mod walk;

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::errors::{Error, IllFormedError, SyntaxError};
use serde_json::{Map, Value};

pub(super) use self::instruction::is_utf8;
use self::walk::Walk;
use super::{Malformed, Reason};

/// Levels of elements, the root included. The documented form has two.
const MAX_DEPTH: usize = 16;

/// Elements, the root included. The documented form has seven.
const MAX_ELEMENTS: usize = 64;

/// Attributes of all elements together: namespace declarations need a few. Keeps the search for repeated ones short.
const MAX_ATTRIBUTES: usize = 64;

/// The root's name.
const ROOT: &str = "Notification";

/// The names of the known children, in the order of [`Field`].
const KNOWN: [&str; 6] = [
    "ObjectType",
    "ObjectURI",
    "EventDateTime",
    "EventType",
    "Context",
    "TripId",
];

/// A known child of the root: its index in [`KNOWN`].
#[derive(Debug, Clone, Copy)]
enum Field {
    ObjectType,
    ObjectUri,
    EventDateTime,
    EventType,
    Context,
    TripId,
}

/// What a Notification says: texts trimmed, blank ones `None`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Notification {
    pub(super) object_type: Option<String>,
    pub(super) object_uri: Option<String>,
    pub(super) event_date_time: Option<String>,
    pub(super) event_type: Option<String>,
    pub(super) context: Option<String>,
    pub(super) trip_id: Option<String>,
    /// Unknown children: name → text, or list of texts.
    pub(super) extra: Map<String, Value>,
}

impl Notification {
    /// Reads a body.
    ///
    /// # Errors
    /// See the module's documentation; the detail quotes nothing but known names.
    pub(super) fn read(body: &[u8]) -> Result<Self, Malformed> {
        let text = chars::document(body)?;
        let mut reader = Reader::from_str(text);
        let config = reader.config_mut();
        config.check_comments = true;
        config.check_end_names = true;
        Walk::default().through(reader)
    }
}

fn syntax(error: &Error) -> Malformed {
    match error {
        Error::Syntax(SyntaxError::UnclosedDoctype) => doctype(),
        Error::IllFormed(IllFormedError::MissingDoctypeName) => doctype(),
        Error::Syntax(_) => bad("XML that ends in the middle of a tag, comment or section"),
        Error::IllFormed(_) => bad("XML whose tags, comments or references do not match"),
        _ => bad("XML that is not well-formed"),
    }
}

fn bad(detail: impl Into<Cow<'static, str>>) -> Malformed {
    Malformed::new(Reason::BadXml, detail)
}

fn doctype() -> Malformed {
    Malformed::new(Reason::Doctype, "XML with a DOCTYPE")
}

fn outside() -> Malformed {
    bad("text outside of the root element")
}

fn bad_reference() -> Malformed {
    bad("a reference to an unknown entity or to a character that XML forbids")
}

fn other_case(name: &str) -> Malformed {
    bad(format!("`{name}` in another case"))
}

#[cfg(test)]
mod tests;
