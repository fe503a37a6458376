//! What counts as a blank around a value: the four characters that XML 1.0 calls white space, in both dialects.
//!
//! Unicode knows more (no-break space, ideographic space). They are characters of the value here: whoever sent one
//! meant it, and a reader that drops them would change an id.

use std::borrow::Cow;

/// The white space of XML 1.0: blank, tab, carriage return, line feed.
pub(super) fn is_blank(char: char) -> bool {
    matches!(char, ' ' | '\t' | '\r' | '\n')
}

/// Without blanks at both ends; does not copy what is borrowed.
pub(super) fn trim(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim_matches(is_blank)),
        Cow::Owned(text) => {
            let trimmed = text.trim_matches(is_blank);
            if trimmed.len() == text.len() {
                Cow::Owned(text)
            } else {
                Cow::Owned(trimmed.to_owned())
            }
        }
    }
}
