use proptest::prelude::*;

use super::super::blank::is_blank;
use super::*;

fn read(inner: &str) -> Result<Notification, Malformed> {
    Notification::read(format!("<Notification>{inner}</Notification>").as_bytes())
}

fn reason(inner: &str) -> Reason {
    read(inner).unwrap_err().reason
}

#[test]
fn each_known_element_goes_to_its_own_field() {
    let all: String = KNOWN
        .iter()
        .map(|name| format!("<{name}>{name}!</{name}>"))
        .collect();
    let read = read(&all).unwrap();
    assert_eq!(read.object_type.as_deref(), Some("ObjectType!"));
    assert_eq!(read.object_uri.as_deref(), Some("ObjectURI!"));
    assert_eq!(read.event_date_time.as_deref(), Some("EventDateTime!"));
    assert_eq!(read.event_type.as_deref(), Some("EventType!"));
    assert_eq!(read.context.as_deref(), Some("Context!"));
    assert_eq!(read.trip_id.as_deref(), Some("TripId!"));
    assert!(read.extra.is_empty());
}

#[test]
fn every_known_element_twice_or_in_another_case_is_malformed() {
    for name in KNOWN {
        let once = format!("<{name}>x</{name}>");
        assert!(read(&once).is_ok(), "{name}");
        assert_eq!(reason(&(once.clone() + &once)), Reason::BadXml, "{name}");
        for other in [name.to_lowercase(), name.to_uppercase()] {
            assert_eq!(reason(&format!("<{other}/>")), Reason::BadXml, "{other}");
        }
    }
}

#[test]
fn the_bounds_are_where_they_are_said_to_be() {
    let nested = |levels: usize| "<a>".repeat(levels) + &"</a>".repeat(levels);
    assert!(read(&nested(MAX_DEPTH - 1)).is_ok());
    assert_eq!(reason(&nested(MAX_DEPTH)), Reason::TooComplex);
    assert!(read(&"<a/>".repeat(MAX_ELEMENTS - 1)).is_ok());
    assert_eq!(reason(&"<a/>".repeat(MAX_ELEMENTS)), Reason::TooComplex);
    let attributes = |count: usize| {
        let all: String = (0..count).map(|at| format!(" a{at}=''")).collect();
        format!("<a{all}/>")
    };
    assert!(read(&attributes(MAX_ATTRIBUTES)).is_ok());
    assert_eq!(reason(&attributes(MAX_ATTRIBUTES + 1)), Reason::TooComplex);
}

#[test]
fn the_detail_quotes_nothing_of_the_body() {
    for inner in [
        "<canary",
        "<canary></canary2>",
        "&canary;",
        "<TripId>canary</TripId><TripId>canary</TripId>",
        "<a canary='1' canary='2'/>",
        "<?xml canary?>",
        "<!DOCTYPE canary>",
        "<canary$/>",
    ] {
        let detail = read(inner).unwrap_err().detail;
        assert!(!detail.contains("canary"), "{inner}: {detail}");
    }
}

fn escaped(text: &str) -> String {
    let mut xml = String::new();
    for char in text.chars() {
        match char {
            '<' => xml += "&lt;",
            '&' => xml += "&amp;",
            '>' => xml += "&gt;",
            '\r' => xml += "&#13;",
            char => xml.push(char),
        }
    }
    xml
}

fn is_xml(char: char) -> bool {
    matches!(char, '\t' | '\n' | '\r' | '\u{20}'..='\u{fffd}' | '\u{10000}'..)
}

proptest! {
    #[test]
    fn a_value_comes_back_as_it_was_written(
        value in any::<String>().prop_map(|text| text.chars().filter(|&char| is_xml(char)).collect::<String>()),
        cut in any::<prop::sample::Index>(),
    ) {
        let trimmed = value.trim_matches(is_blank);
        let expected = (!trimmed.is_empty()).then_some(trimmed);
        let plain = format!("<TripId>{}</TripId>", escaped(&value));
        let plain = read(&plain).unwrap();
        prop_assert_eq!(plain.trip_id.as_deref(), expected);

        let at = value.floor_char_boundary(cut.index(value.len() + 1));
        let (first, second) = value.split_at(at);
        let split = format!("<TripId>{}<!-- x -->{}</TripId>", escaped(first), escaped(second));
        let split = read(&split).unwrap();
        prop_assert_eq!(split.trip_id.as_deref(), expected);
    }

    #[test]
    fn any_bytes_are_read_or_refused_without_a_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Notification::read(&body);
    }

    #[test]
    fn any_soup_of_markup_is_read_or_refused_without_a_panic(
        soup in "(<Notification>|</Notification>|<TripId>|</TripId>|<a |/>|>|<|&#|&lt;|;|x|'|\"|=|<!--|-->|<!\\[CDATA\\[|\\]\\]>|<\\?|\\?>|<!D|\u{feff}| |\n){0,20}"
    ) {
        let _ = Notification::read(soup.as_bytes());
    }
}
