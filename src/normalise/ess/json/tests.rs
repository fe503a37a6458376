use proptest::prelude::*;
use serde_json::json;

use super::*;

fn read(text: &str) -> Value {
    Value::Object(object(text.as_bytes()).unwrap())
}

fn reason(text: &str) -> Reason {
    object(text.as_bytes()).unwrap_err().reason
}

#[test]
fn a_number_that_would_change_its_value_becomes_its_digits() {
    for (number, expected) in [
        ("0", json!(0)),
        ("-0", json!(-0.0)),
        ("9007199254740993", json!(9_007_199_254_740_993_u64)),
        ("18446744073709551615", json!(u64::MAX)),
        ("-9223372036854775808", json!(i64::MIN)),
        ("18446744073709551616", json!("18446744073709551616")),
        ("-9223372036854775809", json!("-9223372036854775809")),
        ("0.1", json!(0.1)),
        ("1.50", json!(1.5)),
        ("0.30000000000000004", json!(0.300_000_000_000_000_04)),
        ("0.300000000000000041", json!("0.300000000000000041")),
        ("1e2", json!(100.0)),
        ("1E+2", json!(100.0)),
        ("1e308", json!(1e308)),
        ("1e309", json!("1e309")),
        ("-1e-400", json!("-1e-400")),
        ("1e99999999999999999999", json!("1e99999999999999999999")),
        ("0e99999999999999999999", json!("0e99999999999999999999")),
        ("100000000000000000000000", json!(1e23)),
    ] {
        assert_eq!(
            read(&format!("{{\"n\":{number}}}")),
            json!({ "n": expected }),
            "{number}"
        );
        assert_eq!(
            read(&format!("{{\"n\":[{number} ]}}")),
            json!({ "n": [expected] }),
            "{number}"
        );
    }
}

#[test]
fn what_is_no_number_is_not_mended_into_something_else() {
    for bad in [
        "{\"n\":01}",
        "{\"n\":+1}",
        "{\"n\":1.}",
        "{\"n\":.5}",
        "{\"n\":1e}",
        "{\"n\":--12345678901234567890123}",
        "{\"n\":0012345678901234567890123}",
        "{12345678901234567890123:1}",
        "{12345678901234567890123 \n:1}",
        "{\"n\":12345678901234567890123\"x\"}",
        "{\"n\":12345678901234567890123 1}",
    ] {
        assert_eq!(reason(bad), Reason::BadJson, "{bad}");
    }
}

#[test]
fn half_a_surrogate_pair_becomes_a_replacement_character() {
    for (text, expected) in [
        (r"\ud83d", "\u{fffd}"),
        (r"\uDE00", "\u{fffd}"),
        (r"\ud83d\ude00", "😀"),
        (r"\ude00\ud83d", "\u{fffd}\u{fffd}"),
        (r"\ud83d\ud83d\ude00", "\u{fffd}😀"),
        (r"\ud83dx\ude00", "\u{fffd}x\u{fffd}"),
        (r"\ud83d\n", "\u{fffd}\n"),
        (r"\\ud83d", r"\ud83d"),
        (r"\\\ud83d", "\\\u{fffd}"),
        (r#"\"\ud83d\""#, "\"\u{fffd}\""),
    ] {
        assert_eq!(
            read(&format!("{{\"s\":\"{text}\"}}")),
            json!({ "s": expected }),
            "{text}"
        );
    }
    for bad in [
        r#"{"s":"\ud8"}"#,
        r#"{"s":"\ud83g"}"#,
        r#"{"s":"\ud83d"#,
        r#"{"s":"\"#,
    ] {
        assert_eq!(reason(bad), Reason::BadJson, "{bad}");
    }
}

#[test]
fn the_depth_is_bounded_where_it_is_said_to_be() {
    let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    assert!(object(nested(MAX_DEPTH - 1).as_bytes()).is_ok());
    assert_eq!(reason(&nested(MAX_DEPTH)), Reason::TooComplex);
    assert_eq!(reason(&"[".repeat(1 << 20)), Reason::TooComplex);
    // Brackets in texts are no levels.
    assert!(object(format!("{{\"a\":\"{}\"}}", "[".repeat(1_000)).as_bytes()).is_ok());
    // Levels one after the other do not add up.
    assert!(object(format!("{{\"a\":[{}{{}}]}}", "{},".repeat(1_000)).as_bytes()).is_ok());
}

#[test]
fn only_one_object_will_do() {
    for bad in [
        "", " ", "null", "1", "\"x\"", "[]", "{}{}", "{} x", "{", "}", "{\"a\"}", "{a:1}",
    ] {
        assert_eq!(reason(bad), Reason::BadJson, "{bad}");
    }
    assert_eq!(
        object(b"{\"a\":\"\xff\"}").unwrap_err().reason,
        Reason::BadUtf8
    );
    assert_eq!(read("\u{feff} {\"a\":1}\n"), json!({ "a": 1 }));
    assert_eq!(read(r#"{"a":1,"b":2,"a":3}"#), json!({ "a": 3, "b": 2 }));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn every_object_comes_back_as_it_was_written(value in any_json(), pretty in any::<bool>()) {
        let object = json!({ "value": value });
        let text = if pretty {
            serde_json::to_string_pretty(&object).unwrap()
        } else {
            object.to_string()
        };
        prop_assert_eq!(read(&text), object);
    }

    #[test]
    fn a_float_comes_back_with_its_digits_as_number_or_text(float in any::<f64>().prop_filter("finite", |float| float.is_finite())) {
        let read = read(&format!("{{\"n\":{float:e}}}"));
        let back = match &read["n"] {
            Value::Number(number) => number.as_f64().unwrap(),
            Value::String(digits) => digits.parse().unwrap(),
            other => panic!("{other}"),
        };
        prop_assert_eq!(back, float);
    }

    #[test]
    fn any_soup_is_read_or_refused_without_a_panic(
        soup in "(\\{|\\}|\\[|\\]|\"|\\\\|\\\\u|d83d|de00|:|,|[0-9.eE+-]| |é){0,40}"
    ) {
        let _ = object(soup.as_bytes());
    }
}
