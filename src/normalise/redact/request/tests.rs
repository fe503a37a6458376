use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;

use super::*;
use crate::normalise::work::assert_linear;
use crate::postback::Dialect;

const TOKEN: &str = "CANARYtok3n9876543";

fn shown(query: &str, headers: &[(&'static str, &str)], body: &[u8]) -> String {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| {
            let value = HeaderValue::from_str(value).unwrap();
            (HeaderName::from_static(name), value)
        })
        .collect();
    masked_request(&Postback {
        dialect: Dialect::V1,
        query: query.to_owned(),
        headers,
        body: Bytes::copy_from_slice(body),
        received_at: Timestamp::UNIX_EPOCH,
    })
}

#[test]
fn of_a_query_only_harmless_values_are_shown() {
    let known = "type=trip&oauth_token_key=CANARYtok3n9876543&userid_type=login&userid_value=";
    for (query, expected) in [
        (
            format!("{known}cm@example.com"),
            "type=trip&oauth_token_key=[token]&userid_type=login&userid_value=cm@example.com",
        ),
        (
            format!("{known}T?oauth_token_key=x1"),
            "type=trip&oauth_token_key=[token]&userid_type=login&userid_value=T?oauth_token_key=[token]",
        ),
        (
            format!("{known}x%3Fmy_token%3Dsecret-2"),
            "type=trip&oauth_token_key=[token]&userid_type=login&userid_value=x%3Fmy_token%3D[token]",
        ),
        (
            format!("type=fop?oauth_token_key={TOKEN}"),
            "type=fop?oauth_token_key=[token]",
        ),
        (
            format!("tenant=5?oauth_token_key={TOKEN}&type=fop"),
            "tenant=[hidden]?oauth_token_key=[token]&type=fop",
        ),
        (
            format!("type=bogus;oauth_token_key={TOKEN}"),
            "type=bogus;oauth_token_key=[token]",
        ),
        (
            format!("type=bogus&oauth%5Ftoken%5Fkey={TOKEN}"),
            "type=bogus&[hidden]=[token]",
        ),
        (
            format!("x={TOKEN}&{TOKEN}&{TOKEN}=&type={TOKEN}"),
            "x=[hidden]&[hidden]&[hidden]=&type=[hidden]",
        ),
        (
            format!("userid_value={TOKEN}&userid_type=login"),
            "userid_value=[hidden]&userid_type=login",
        ),
        (
            format!("oauth_token_key%3D{TOKEN}&&type=&x"),
            "[hidden]&&type=&x",
        ),
    ] {
        assert_eq!(
            shown(&query, &[], b""),
            format!("POST /v1?{expected} HTTP/1.1\r\n\r\n"),
            "{query}"
        );
    }
}

#[test]
fn what_a_body_calls_a_token_is_not_shown() {
    for (body, expected) in [
        (
            "<oauth_token_key>T</oauth_token_key><a>T2</a>",
            "<oauth_token_key>[token]</oauth_token_key><a>T2</a>",
        ),
        (
            "<n:Token a='T'>T</n:Token>b",
            "<n:Token[token]>[token]</n:Token>b",
        ),
        ("<token value=\"T\"/>b", "<token[token]>b"),
        (
            "<token><v>T</v></token><token>",
            "<token>[token]</token><token>",
        ),
        ("<oauth_token_key>T", "<oauth_token_key>[token]"),
        ("<token T", "<token[token]"),
        (
            "&lt;token&gt;T&lt;/token&gt;",
            "&lt;token&gt;[token]&lt;/token&gt;",
        ),
        (
            r#"{"oauth_token_key": "T\"T", "a": 1}"#,
            r#"{"oauth_token_key": "[token]", "a": 1}"#,
        ),
        (
            r#"{"accessToken":{"v":["T}"]},"a":1}"#,
            r#"{"accessToken":[token],"a":1}"#,
        ),
        (
            r#"{\"token\":\"T\",\"a\":1}"#,
            r#"{\"token\":\"[token]\",\"a\":1}"#,
        ),
        (r#"{"token":5,"a":""}"#, r#"{"token":[token],"a":""}"#),
        (r#"{"token":"","a":""}"#, r#"{"token":"","a":""}"#),
        (
            "a=1&oauth_token_key=T&b=2",
            "a=1&oauth_token_key=[token]&b=2",
        ),
        ("oauth_token_key%3DT%26x", "oauth_token_key%3D[token]"),
        ("token: OAuth T\r\nb", "token: [token]\r\nb"),
        ("token = 'T' b", "token = '[token]' b"),
        ("a token\0", "[8 bytes that are not shown without --reveal]"),
        ("a token is no value", "a token is no value"),
    ] {
        assert_eq!(
            shown("", &[], body.as_bytes()),
            format!("POST /v1 HTTP/1.1\r\n\r\n{expected}"),
            "{body}"
        );
    }
}

#[test]
fn headers_that_carry_a_token_are_masked_and_others_readable() {
    let headers = [
        ("authorization", "OAuth first-token"),
        ("authorization", "Bearer second-token"),
        ("authorization", "third-token"),
        (
            "authorization",
            "OAuth oauth_token=\"fourth-token\", a=\"b\"",
        ),
        ("x-api-token", "fifth"),
        ("referer", "http://x/?oauth_token_key=sixth-token&b=1"),
        (
            "host",
            "first-token.second-token.third-token.fourth-token.sixth-token.example",
        ),
    ];
    assert_eq!(
        shown("", &headers, b""),
        "POST /v1 HTTP/1.1\r\n\
         authorization: OAuth [token]\r\n\
         authorization: Bearer [token]\r\n\
         authorization: [token]\r\n\
         authorization: OAuth [token]\r\n\
         x-api-token: [token]\r\n\
         referer: http://x/?oauth_token_key=[token]&b=1\r\n\
         host: [token].[token].[token].[token].[token].example\r\n\r\n"
    );
}

#[test]
fn a_token_named_anywhere_is_masked_everywhere_in_every_writing() {
    for (query, body) in [
        (
            "oauth_token_key=CANARYtok%203n9876543",
            "CANARYtok+3n9876543",
        ),
        (
            "oauth_token_key=CANARYtok%203n9876543",
            "CANARYtok 3n9876543",
        ),
        (
            "oauth_token_key=CANARYtok+3n9876543",
            "CANARYtok%203n9876543",
        ),
        (
            "oauth_token_key=CANARYtok+3n9876543",
            "CANARYtok%2B3n9876543",
        ),
        (
            "oauth_token_key=%20CANARYtok3n9876543%20",
            "CANARYtok3n9876543",
        ),
        (
            "oauth_token_key=%2520CANARYtok3n9876543",
            "CANARYtok3n9876543",
        ),
        ("x=oauth_token_key=CANARYtok3n9876543", "CANARYtok3n9876543"),
        ("token=token=CANARYtok3n9876543", "CANARYtok3n9876543"),
        (
            "x%3Foauth_token_key%3DCANARYtok3n9876543%26y",
            "CANARYtok3n9876543",
        ),
        (
            "oauth_token_key=CANARYtok3n/9876543",
            r"CANARYtok3n\/9876543",
        ),
        (
            "oauth_token_key=CANARYtok3n<9876543",
            "CANARYtok3n&lt;9876543",
        ),
        (
            "oauth_token_key=CANARYtok3n;9876543x",
            "CANARYtok3n;9876543x",
        ),
        (
            "",
            "<token><![CDATA[CANARYtok3n9876543]]></token>CANARYtok3n9876543",
        ),
        (
            "",
            r#"{"token":"CANARYtok\u0033n9876543"} CANARYtok3n9876543"#,
        ),
        ("", "token=CANARYtok3n9876543;b CANARYtok3n9876543"),
        ("", "token%3DCANARYtok3n9876543%26b\nCANARYtok3n9876543"),
    ] {
        let header = body.replace('\n', " ");
        let headers = [("x-seen", header.as_str())];
        let text = shown(query, &headers, format!("seen {body} seen").as_bytes());
        assert!(
            !text.contains("CANARY") && !text.contains("9876543") && text.contains("seen"),
            "{query} {body}: {text}"
        );
    }
}

#[test]
fn hostile_bodies_take_linear_time() {
    for part in [
        "token=12345678&",
        "<token>12345678",
        "token:",
        "token{\"",
        "token=[",
        "<token",
        "tokent",
    ] {
        assert_linear(part, |bytes| {
            let body = part.repeat(bytes / part.len());
            let text = shown("", &[], body.as_bytes());
            assert!(!text.contains("12345678"), "{part}");
        });
    }
}
