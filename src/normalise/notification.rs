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

use quick_xml::Reader;
use quick_xml::errors::{Error, SyntaxError};
use quick_xml::events::{BytesDecl, BytesPI, BytesStart, Event};
use serde_json::{Map, Value};

use self::element_text::ElementText;
use super::blank::is_blank;
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

/// The state of one walk through a document.
#[derive(Default)]
struct Walk<'a> {
    /// Open elements.
    depth: usize,
    elements: usize,
    attributes: usize,
    /// Whether the root was closed.
    done: bool,
    /// The child of the root that is open, with its text so far.
    child: Option<(Child, ElementText<'a>)>,
    known: [Option<String>; KNOWN.len()],
    extra: Map<String, Value>,
}

enum Child {
    Known(Field),
    Unknown(String),
}

impl<'a> Walk<'a> {
    fn through(mut self, mut reader: Reader<&'a [u8]>) -> Result<Notification, Malformed> {
        let mut at_start = true;
        loop {
            match reader.read_event().map_err(|error| syntax(&error))? {
                Event::Decl(declaration) if at_start => declared(&declaration)?,
                Event::Decl(_) => return Err(bad("an XML declaration that is not at the start")),
                Event::DocType(_) => return Err(doctype()),
                Event::Start(start) => self.open(&start)?,
                Event::Empty(start) => {
                    self.open(&start)?;
                    self.close()?;
                }
                Event::End(_) => self.close()?,
                Event::Text(text) => {
                    if text.contains("]]>") {
                        return Err(bad("`]]>` in a text"));
                    }
                    self.text(text.xml10_content())?;
                }
                Event::CData(text) if self.depth > 0 => self.text(text.xml10_content())?,
                Event::GeneralRef(name) if self.depth > 0 => {
                    let char = chars::referenced(&name).ok_or_else(bad_reference)?;
                    if let Some((_, text)) = &mut self.child {
                        text.push_char(char);
                    }
                }
                Event::CData(_) | Event::GeneralRef(_) => return Err(outside()),
                Event::PI(instruction) => check_target(&instruction)?,
                Event::Comment(_) => {}
                Event::Eof => return self.finish(),
            }
            at_start = false;
        }
    }

    fn open(&mut self, start: &BytesStart<'_>) -> Result<(), Malformed> {
        if self.done {
            return Err(bad("more than one root element"));
        }
        self.depth += 1;
        self.elements += 1;
        if self.depth > MAX_DEPTH || self.elements > MAX_ELEMENTS {
            return Err(Malformed::new(
                Reason::TooComplex,
                format!(
                    "XML deeper than {MAX_DEPTH} levels or with more than {MAX_ELEMENTS} elements"
                ),
            ));
        }
        self.check_attributes(start)?;
        let local = chars::local_name(start.name().0).ok_or_else(|| bad("a bad element name"))?;
        match self.depth {
            1 if local == ROOT => Ok(()),
            1 if local.eq_ignore_ascii_case(ROOT) => Err(other_case(ROOT)),
            1 => Err(bad("the root element is no `Notification`")),
            2 => {
                self.child = Some((Child::of(local)?, ElementText::default()));
                Ok(())
            }
            _ => {
                self.part();
                Ok(())
            }
        }
    }

    fn close(&mut self) -> Result<(), Malformed> {
        match self.depth {
            1 => self.done = true,
            2 => {
                if let Some((child, text)) = self.child.take() {
                    self.keep(child, text.finish())?;
                }
            }
            _ => self.part(),
        }
        self.depth -= 1;
        Ok(())
    }

    /// The text of a child is complete.
    fn keep(&mut self, child: Child, text: String) -> Result<(), Malformed> {
        match child {
            Child::Known(field) => {
                let slot = &mut self.known[field as usize];
                if slot.replace(text).is_some() {
                    return Err(bad(format!("`{}` is there twice", KNOWN[field as usize])));
                }
            }
            Child::Unknown(name) => match self.extra.get_mut(&name) {
                None => {
                    self.extra.insert(name, Value::String(text));
                }
                Some(Value::Array(texts)) => texts.push(Value::String(text)),
                Some(first) => *first = Value::Array(vec![first.take(), Value::String(text)]),
            },
        }
        Ok(())
    }

    /// The border of an element inside a child.
    fn part(&mut self) {
        if let Some((_, text)) = &mut self.child {
            text.part();
        }
    }

    fn text(&mut self, piece: std::borrow::Cow<'a, str>) -> Result<(), Malformed> {
        match &mut self.child {
            Some((_, text)) => text.push(piece),
            None if self.depth == 0 && !piece.chars().all(is_blank) => return Err(outside()),
            None => {}
        }
        Ok(())
    }

    fn check_attributes(&mut self, start: &BytesStart<'_>) -> Result<(), Malformed> {
        if start.attributes_raw().is_empty() {
            return Ok(());
        }
        let mut names: Vec<&str> = Vec::new();
        for attribute in start.attributes().with_checks(false) {
            let attribute = attribute.map_err(|_| bad("a bad attribute"))?;
            self.attributes += 1;
            if self.attributes > MAX_ATTRIBUTES {
                return Err(Malformed::new(
                    Reason::TooComplex,
                    format!("XML with more than {MAX_ATTRIBUTES} attributes"),
                ));
            }
            let name = attribute.key.0;
            if chars::local_name(name).is_none() || names.contains(&name) {
                return Err(bad("an attribute twice, or with a bad name"));
            }
            names.push(name);
            if attribute.value.contains('<') {
                return Err(bad("`<` in an attribute"));
            }
            if !chars::references_resolve(&attribute.value) {
                return Err(bad_reference());
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Notification, Malformed> {
        if self.depth > 0 {
            return Err(bad("the `Notification` is not closed"));
        }
        if !self.done {
            return Err(bad("no `Notification` in the body"));
        }
        let mut known = self
            .known
            .map(|value| value.filter(|value| !value.is_empty()));
        let mut take = |field: Field| known[field as usize].take();
        Ok(Notification {
            object_type: take(Field::ObjectType),
            object_uri: take(Field::ObjectUri),
            event_date_time: take(Field::EventDateTime),
            event_type: take(Field::EventType),
            context: take(Field::Context),
            trip_id: take(Field::TripId),
            extra: self.extra,
        })
    }
}

impl Child {
    fn of(local: &str) -> Result<Self, Malformed> {
        const FIELDS: [Field; KNOWN.len()] = [
            Field::ObjectType,
            Field::ObjectUri,
            Field::EventDateTime,
            Field::EventType,
            Field::Context,
            Field::TripId,
        ];
        for (name, field) in KNOWN.into_iter().zip(FIELDS) {
            if local == name {
                return Ok(Self::Known(field));
            }
            if local.eq_ignore_ascii_case(name) {
                return Err(other_case(name));
            }
        }
        Ok(Self::Unknown(local.to_owned()))
    }
}

/// An XML declaration must name a version of XML 1 and no encoding but UTF-8.
fn declared(declaration: &BytesDecl<'_>) -> Result<(), Malformed> {
    let version = declaration
        .version()
        .map_err(|_| bad("an XML declaration without a version"))?;
    if !matches!(&*version, "1.0" | "1.1") {
        return Err(bad("an XML declaration of an unknown version"));
    }
    // Not `BytesDecl::encoding`: that one searches for repeated names in quadratic time.
    let text = declaration.strip_prefix("xml").unwrap_or(declaration);
    let start = BytesStart::from_content(text, 0);
    let mut attributes = start.attributes();
    for attribute in attributes.with_checks(false).take(MAX_ATTRIBUTES) {
        let attribute = attribute.map_err(|_| bad("a bad XML declaration"))?;
        if attribute.key.0 == "encoding" && !is_utf8(&attribute.value) {
            return Err(Malformed::new(
                Reason::BadUtf8,
                "the XML declaration names another encoding than UTF-8",
            ));
        }
    }
    Ok(())
}

/// Whether an encoding's name means UTF-8.
pub(super) fn is_utf8(name: &str) -> bool {
    name.eq_ignore_ascii_case("utf-8") || name.eq_ignore_ascii_case("utf8")
}

fn check_target(instruction: &BytesPI<'_>) -> Result<(), Malformed> {
    let target = instruction.target();
    if !chars::is_name(target) || target.eq_ignore_ascii_case("xml") {
        return Err(bad("a processing instruction with a bad target"));
    }
    Ok(())
}

fn syntax(error: &Error) -> Malformed {
    match error {
        Error::Syntax(SyntaxError::UnclosedDoctype) => doctype(),
        Error::IllFormed(quick_xml::errors::IllFormedError::MissingDoctypeName) => doctype(),
        Error::Syntax(_) => bad("XML that ends in the middle of a tag, comment or section"),
        Error::IllFormed(_) => bad("XML whose tags, comments or references do not match"),
        _ => bad("XML that is not well-formed"),
    }
}

fn bad(detail: impl Into<std::borrow::Cow<'static, str>>) -> Malformed {
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
