use proptest::prelude::*;

use super::*;
use crate::normalise::work::assert_linear;

const TOKEN: &str = "nqp8WxIsZ1lZ3uR7";

fn cleaned(token: &str, text: &str) -> String {
    Secrets::new([token]).cleaned(text).into_owned()
}

#[test]
fn every_occurrence_is_replaced_and_nothing_else() {
    for (text, expected) in [
        ("", ""),
        ("nothing here, 100%", "nothing here, 100%"),
        (TOKEN, "[token]"),
        ("xnqp8WxIsZ1lZ3uR7y", "x[token]y"),
        (
            "nqp8WxIsZ1lZ3uR7nqp8WxIsZ1lZ3uR7 nqp8WxIsZ1lZ3uR7",
            "[token][token] [token]",
        ),
        ("NQP8WXISZ1LZ3UR7", "NQP8WXISZ1LZ3UR7"),
        ("nqp8WxIsZ1lZ3uR", "nqp8WxIsZ1lZ3uR"),
        ("%6eqp8WxIsZ1lZ3uR7", "[token]"),
        ("%6Eqp8WxIsZ1lZ3uR%37", "[token]"),
        ("?a=%6eqp8WxIsZ1l%5a3uR7&b=%", "?a=[token]&b=%"),
        ("é%6eqp8WxIsZ1lZ3uR7é%", "é[token]é%"),
        ("%256eqp8WxIsZ1lZ3uR7", "[token]"),
        ("%25256eqp8WxIsZ1lZ3uR7", "[token]"),
        ("%%36eqp8WxIsZ1lZ3uR7", "[token]"),
        ("%4nqp8WxIsZ1lZ3uR7", "%4[token]"),
    ] {
        assert_eq!(cleaned(TOKEN, text), expected, "{text}");
    }
}

#[test]
fn a_token_that_looks_like_escapes_is_found_as_sent_decoded_and_encoded_again() {
    let token = "ab%2Fcd%2Bef";
    for text in [
        "ab%2Fcd%2Bef",
        "ab%2fcd%2bef",
        "ab/cd+ef",
        "ab%252Fcd%252Bef",
        "%61b/cd%2Bef",
    ] {
        assert_eq!(cleaned(token, &format!("<{text}>")), "<[token]>", "{text}");
    }
    // Long as sent, short without its escapes, and a letter behind it.
    assert_eq!(cleaned("aa%0AA0A", "aa%0AA%30Aé"), "[token]é");
    // Its plain form is no text, and must not be cut out of the middle of a character.
    assert_eq!(cleaned("%A9%A9%A9%A9", "é %A9 é"), "é %A9 é");
    assert_eq!(cleaned("%A9", "x é%20 %A9"), "x [token]%20 [token]");
}

#[test]
fn a_raw_token_behind_a_stray_percent_sign_is_found() {
    assert_eq!(cleaned("41bcdefghi", "%41bcdefghi"), "%[token]");
}

#[test]
fn a_short_token_is_replaced_only_as_a_word_of_its_own() {
    for (text, expected) in [
        ("a", "[token]"),
        ("banana a", "banana [token]"),
        ("?t=a&x=ab", "?t=[token]&x=ab"),
        ("?t=%61&x=%61b", "?t=[token]&x=%61b"),
        ("äa aä", "äa aä"),
    ] {
        assert_eq!(cleaned("a", text), expected, "{text}");
    }
    assert_eq!(cleaned("1234567", "x1234567"), "x1234567");
    assert_eq!(cleaned("12345678", "x12345678"), "x[token]");
}

#[test]
fn several_tokens_are_replaced_at_once_and_blank_ones_never() {
    let secrets = Secrets::new(["", "first-token", "second-token", "first-token"]);
    assert_eq!(secrets.0.len(), 2);
    assert_eq!(
        secrets.cleaned("a first-token, second-token."),
        "a [token], [token]."
    );
    // Overlapping ones leave no part of either.
    let secrets = Secrets::new(["aaaabbbb", "bbbbcccc"]);
    assert_eq!(secrets.cleaned("-aaaabbbbcccc-"), "-[token]-");
    assert!(matches!(Secrets::new([]).cleaned("x"), Cow::Borrowed("x")));
}

#[test]
fn a_request_that_names_more_tokens_than_can_be_looked_for_is_no_event() {
    let named = |count: usize| {
        let query: String = (0..count)
            .map(|n| format!("token{n}=secret-{n}&"))
            .collect();
        let body = format!("{{\"facts\":[{}0]}}", "\"ab\",".repeat(50_000));
        let postback = Postback {
            dialect: crate::postback::Dialect::Ess,
            query,
            headers: http::HeaderMap::new(),
            body: body.into(),
            received_at: jiff::Timestamp::UNIX_EPOCH,
        };
        let rules = Rules {
            object_uri_hosts: crate::config::ObjectUriHosts::default(),
        };
        let outcome = crate::normalise::normalise(&postback, &rules);
        outcome.map(drop).map_err(|malformed| malformed.reason)
    };
    assert_eq!(named(32), Ok(()));
    assert_eq!(named(33), Err(crate::normalise::Reason::TooComplex));
}

#[test]
fn hostile_texts_take_linear_time() {
    let token = "a".repeat(8_000) + "b";
    for (start, part) in [
        ("", "a"),
        ("", "%61"),
        ("%", "25"),
        ("", "%2"),
        ("", "%%36"),
    ] {
        assert_linear(part, |bytes| {
            let text = start.to_owned() + &part.repeat(bytes / part.len());
            let _ = cleaned(&token, &text);
        });
    }
}

proptest! {
    #[test]
    fn the_token_is_found_in_any_writing_in_any_surroundings(
        token in "[ -~]{8,40}",
        before in "[ -$&-~é]{0,20}",
        after in "[ -$&-~é]{0,20}",
        times_encoded in prop::collection::vec(0_usize..4, 40),
    ) {
        // See "Not found".
        let open_end = token.trim_end_matches(|char: char| char.is_ascii_hexdigit() || char == '%').len();
        prop_assume!(
            !token[open_end..].contains('%') || !after.starts_with(|char: char| char.is_ascii_hexdigit())
        );
        let mut written = String::new();
        for (char, times) in token.chars().zip(times_encoded) {
            let mut code = String::from(char);
            for time in 0..times {
                code = if time == 0 {
                    format!("%{:02x}", u32::from(char))
                } else {
                    code.replace('%', "%25")
                };
            }
            written += &code;
        }
        let text = format!("{before}{written}{after}");
        let cleaned = cleaned(&token, &text);
        prop_assert!(!cleaned.contains(&token), "{} in {}", token, cleaned);
        prop_assert!(cleaned.contains(PLACEHOLDER), "{} in {}", token, text);
    }

    #[test]
    fn any_text_with_any_token_is_cleaned_without_a_panic(
        token in "(%[0-9a-f]{2}|é|€|[a-c%]){0,12}",
        text in "(%[0-9a-f]{2}|é|€|[a-c%]){0,60}",
    ) {
        let cleaned = cleaned(&token, &text);
        if token.len() >= SHORTEST_ANYWHERE {
            prop_assert!(!cleaned.contains(&token));
        }
    }
}
