//! The walk through the parser's events: counts, matches and collects.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde_json::{Map, Value};

use super::super::blank::is_blank;
use super::super::{Malformed, Reason};
use super::element_text::ElementText;
use super::{
    Field, KNOWN, MAX_ATTRIBUTES, MAX_DEPTH, MAX_ELEMENTS, Notification, ROOT, bad, bad_reference,
    chars, doctype, instruction, other_case, outside, syntax,
};

/// The state of one walk through a document.
#[derive(Default)]
pub(super) struct Walk<'a> {
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
    /// Reads to the end of the document.
    pub(super) fn through(
        mut self,
        mut reader: Reader<&'a [u8]>,
    ) -> Result<Notification, Malformed> {
        let mut at_start = true;
        loop {
            // Matched where it is: out of its result, each event would be copied once more.
            match reader.read_event() {
                Ok(Event::Decl(declaration)) if at_start => instruction::declared(&declaration)?,
                Ok(Event::Decl(_)) => {
                    return Err(bad("an XML declaration that is not at the start"));
                }
                Ok(Event::DocType(_)) => return Err(doctype()),
                Ok(Event::Start(start)) => self.open(&start)?,
                Ok(Event::Empty(start)) => {
                    self.open(&start)?;
                    self.close()?;
                }
                Ok(Event::End(_)) => self.close()?,
                Ok(Event::Text(text)) => {
                    if text.contains("]]>") {
                        return Err(bad("`]]>` in a text"));
                    }
                    self.text(text.xml10_content())?;
                }
                Ok(Event::CData(text)) if self.depth > 0 => self.text(text.xml10_content())?,
                Ok(Event::GeneralRef(name)) if self.depth > 0 => {
                    let char = chars::referenced(&name).ok_or_else(bad_reference)?;
                    if let Some((_, text)) = &mut self.child {
                        text.push_char(char);
                    }
                }
                Ok(Event::CData(_) | Event::GeneralRef(_)) => return Err(outside()),
                Ok(Event::PI(instruction)) => instruction::check_target(&instruction)?,
                Ok(Event::Comment(_)) => {}
                Ok(Event::Eof) => return self.finish(),
                Err(error) => return Err(syntax(&error)),
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

    fn text(&mut self, piece: Cow<'a, str>) -> Result<(), Malformed> {
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
