use proptest::prelude::*;

use super::*;

fn parsed(raw: &str) -> Result<Query<'_>, Reason> {
    Query::parse(raw).map_err(|malformed| malformed.reason)
}

#[test]
fn values_are_decoded_once_and_trimmed() {
    for (raw, expected) in [
        ("type=fop", Some("fop")),
        ("TYPE=FOP", Some("FOP")),
        ("%74%79pe=f%6Fp", Some("fop")),
        ("type=+fop+", Some("+fop+")),
        ("type=%20fop%09%0d%0A", Some("fop")),
        ("type=a%2520b", Some("a%20b")),
        ("type=a=b==", Some("a=b==")),
        ("type=a;b", Some("a;b")),
        ("type=%26%3D%23", Some("&=#")),
        ("type=%E2%82%AC", Some("€")),
        ("type=€", Some("€")),
        ("type=%C2%A0x", Some("\u{a0}x")),
        ("type=%00", Some("\0")),
        ("type=", None),
        ("type=%20", None),
        ("type", None),
        ("", None),
        ("&&x=1&", None),
        ("?type=fop", None),
    ] {
        assert_eq!(parsed(raw).unwrap().kind.as_deref(), expected, "{raw}");
    }
}

#[test]
fn each_known_parameter_goes_to_its_own_field() {
    let query = parsed("userid_value=v&userid_type=t&oauth_token_key=k&type=y").unwrap();
    assert_eq!(query.kind.as_deref(), Some("y"));
    assert_eq!(query.token.as_deref(), Some("k"));
    assert_eq!(query.user_id_type.as_deref(), Some("t"));
    assert_eq!(query.user_id_value.as_deref(), Some("v"));
    assert_eq!(query.unknown, 0);
}

#[test]
fn unknown_parameters_are_counted_even_when_repeated() {
    assert_eq!(parsed("x&x=1&=2&type2=3&type=fop").unwrap().unknown, 4);
    let many = "p=%41&".repeat(10_000);
    assert_eq!(parsed(&many).unwrap().unknown, 10_000);
}

#[test]
fn every_known_parameter_twice_is_malformed_however_it_is_written() {
    for raw in [
        "type=fop&type=fop",
        "type=&type=fop",
        "type&TYPE",
        "type=a&%54ype=b",
        "oauth_token_key=a&x=1&OAUTH_TOKEN_KEY=b",
        "userid_type=a&userid%5ftype=a",
        "userid_value=a&userid_value=b",
    ] {
        assert_eq!(parsed(raw), Err(Reason::DuplicateParameter), "{raw}");
    }
}

#[test]
fn a_percent_sign_without_two_digits_is_malformed_wherever_it_is() {
    for raw in [
        "%",
        "type=%",
        "type=%4",
        "type=%4g",
        "type=%g4",
        "type=%%41",
        "x=%zz",
        "%=1",
        "type=% 1",
        "type=%+1",
        "type=%u0041",
        "type=fop&%4",
    ] {
        assert_eq!(parsed(raw), Err(Reason::BadPercentEncoding), "{raw}");
    }
}

#[test]
fn escapes_that_are_not_utf8_are_malformed() {
    for raw in [
        "type=%ff",
        "type=%c0%80",
        "type=%ed%a0%80",
        "x=%e2%82",
        "%80=1",
    ] {
        assert_eq!(parsed(raw), Err(Reason::BadUtf8), "{raw}");
    }
}

#[test]
fn what_is_wrong_is_said_without_quoting_the_request() {
    let malformed = Query::parse("oauth_token_key=canary1&oauth_token_key=canary2").unwrap_err();
    assert_eq!(malformed.detail, "the query names `oauth_token_key` twice");
}

fn percent_encoded(text: &str, chosen: &[bool]) -> String {
    let mut encoded = String::new();
    for (at, char) in text.chars().enumerate() {
        let must = matches!(char, '%' | '&' | '=' | '#');
        if must || chosen[at % chosen.len()] {
            let mut buffer = [0; 4];
            for byte in char.encode_utf8(&mut buffer).bytes() {
                encoded += &if at % 2 == 0 {
                    format!("%{byte:02x}")
                } else {
                    format!("%{byte:02X}")
                };
            }
        } else {
            encoded.push(char);
        }
    }
    encoded
}

proptest! {
    #[test]
    fn decoding_undoes_every_way_of_encoding(
        value in any::<String>(),
        chosen in prop::collection::vec(any::<bool>(), 1..8),
    ) {
        let raw = format!("oauth_token_key={}", percent_encoded(&value, &chosen));
        let expected = value.trim_matches(super::super::blank::is_blank);
        let expected = (!expected.is_empty()).then_some(expected);
        let query = parsed(&raw).unwrap();
        prop_assert_eq!(query.token.as_deref(), expected);
    }

    #[test]
    fn any_text_is_read_or_refused_without_a_panic(raw in any::<String>()) {
        let _ = Query::parse(&raw);
    }

    #[test]
    fn any_mixture_of_escapes_is_read_or_refused_for_its_encoding(raw in "(%[0-9a-g]{0,2}|[a&=+]){0,30}") {
        if let Err(reason) = parsed(&raw) {
            prop_assert!(matches!(reason, Reason::BadPercentEncoding | Reason::BadUtf8));
        }
    }
}
