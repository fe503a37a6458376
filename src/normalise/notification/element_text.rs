//! The text of one element, put together from the pieces that the parser finds.

use std::borrow::Cow;

use super::super::blank::is_blank;
use super::super::work::looked_at;

/// A text that grows piece by piece, without blanks at its ends and around the borders of inner elements.
///
/// One piece, by far the usual case, is copied once, at the end.
pub(super) struct ElementText<'a> {
    text: Cow<'a, str>,
    /// Whether the next piece comes right behind a border: the start, or a tag of an inner element.
    at_border: bool,
}

impl Default for ElementText<'_> {
    fn default() -> Self {
        Self {
            text: Cow::Borrowed(""),
            at_border: true,
        }
    }
}

impl<'a> ElementText<'a> {
    /// Adds a piece.
    pub(super) fn push(&mut self, piece: Cow<'a, str>) {
        looked_at(piece.len());
        if !self.at_border {
            self.text.to_mut().push_str(&piece);
            return;
        }
        let piece = match piece {
            Cow::Borrowed(piece) => Cow::Borrowed(piece.trim_start_matches(is_blank)),
            Cow::Owned(piece) => Cow::Owned(piece.trim_start_matches(is_blank).to_owned()),
        };
        if piece.is_empty() {
            return;
        }
        if self.text.is_empty() {
            self.at_border = false;
            self.text = piece;
        } else {
            self.cross_border().push_str(&piece);
        }
    }

    /// Adds the character of a reference.
    pub(super) fn push_char(&mut self, char: char) {
        if !(self.at_border && is_blank(char)) {
            self.cross_border().push(char);
        }
    }

    /// The text to add to, behind the blank that parts it from what was in front of a border.
    fn cross_border(&mut self) -> &mut String {
        let parts = self.at_border && !self.text.is_empty();
        self.at_border = false;
        let text = self.text.to_mut();
        if parts {
            text.push(' ');
        }
        text
    }

    /// An inner element begins or ends here.
    pub(super) fn part(&mut self) {
        self.at_border = true;
        self.trim_end();
    }

    /// The whole text.
    pub(super) fn finish(mut self) -> String {
        self.trim_end();
        self.text.into_owned()
    }

    fn trim_end(&mut self) {
        let end = self.text.trim_end_matches(is_blank).len();
        looked_at(self.text.len() - end);
        match &mut self.text {
            Cow::Borrowed(text) => *text = &text[..end],
            Cow::Owned(text) => text.truncate(end),
        }
    }
}
