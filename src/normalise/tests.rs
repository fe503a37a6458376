use bytes::Bytes;
use http::HeaderMap;

use super::work::assert_linear;
use super::*;

fn normalised(dialect: Dialect, query: String, body: String) {
    let postback = Postback {
        dialect,
        query,
        headers: HeaderMap::new(),
        body: Bytes::from(body),
        received_at: jiff::Timestamp::UNIX_EPOCH,
    };
    let rules = Rules {
        object_uri_hosts: ObjectUriHosts::default(),
    };
    let _ = normalise(&postback, &rules);
}

#[test]
fn hostile_queries_take_linear_time() {
    for part in [
        "token=",
        "token=a;",
        "%25",
        "x%3D",
        "a=b&",
        "?token=x",
        "%2574oken%253D",
    ] {
        assert_linear(part, |bytes| {
            let query = "type=fop&oauth_token_key=nqp8WxIs&x=".to_owned()
                + &part.repeat(bytes / part.len());
            normalised(Dialect::V1, query, String::new());
        });
    }
}

#[test]
fn hostile_notifications_take_linear_time() {
    for part in [
        "&#97;",
        " ",
        "a ",
        "<![CDATA[ ]]>",
        "<!-- -->",
        "nqp8WxIs",
        "%6eqp8WxIs",
        "%25",
    ] {
        for element in ["Context", "ObjectURI", "Unknown"] {
            assert_linear(part, |bytes| {
                let content = part.repeat(bytes / part.len());
                let body = format!(
                    "<Notification><TripId>1</TripId><{element}>https://a/{content}</{element}></Notification>"
                );
                let query = "type=itinerary&oauth_token_key=nqp8WxIs".to_owned();
                normalised(Dialect::V1, query, body);
            });
        }
    }
}

#[test]
fn hostile_deliveries_take_linear_time() {
    for part in [
        "1,",
        "1    ,",
        "1e400,",
        "1:",
        "12345678901234567890123,",
        "\"\\ud83d\",",
        "\"\\\\\",",
        "\\",
        "[",
        "[],",
        "\"nqp8WxIs\",",
        "\"%6eqp8WxIs\",",
        "\"%25\",",
    ] {
        assert_linear(part, |bytes| {
            let body = format!("{{\"facts\":[{}0]}}", part.repeat(bytes / part.len()));
            let query = "oauth_token_key=nqp8WxIs".to_owned();
            normalised(Dialect::Ess, query, body);
        });
    }
    for digit in ["1", "0", "."] {
        assert_linear(digit, |bytes| {
            let body = format!("{{\"facts\":1{}}}", digit.repeat(bytes));
            normalised(Dialect::Ess, String::new(), body);
        });
    }
}
