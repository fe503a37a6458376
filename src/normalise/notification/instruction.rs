//! The XML declaration and processing instructions.

use quick_xml::events::{BytesDecl, BytesPI, BytesStart};

use super::super::{Malformed, Reason};
use super::{MAX_ATTRIBUTES, bad, chars};

/// An XML declaration must name a version of XML 1 and no encoding but UTF-8.
pub(super) fn declared(declaration: &BytesDecl<'_>) -> Result<(), Malformed> {
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
pub(in crate::normalise) fn is_utf8(name: &str) -> bool {
    name.eq_ignore_ascii_case("utf-8") || name.eq_ignore_ascii_case("utf8")
}

/// A processing instruction says nothing to the bridge, but it must be one.
pub(super) fn check_target(instruction: &BytesPI<'_>) -> Result<(), Malformed> {
    let target = instruction.target();
    if !chars::is_name(target) || target.eq_ignore_ascii_case("xml") {
        return Err(bad("a processing instruction with a bad target"));
    }
    Ok(())
}
