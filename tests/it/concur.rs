//! Does the bridge ask Concur in Concur's own words, and say what is wrong when Concur says no?

mod command;
mod ess;

use std::time::Duration;

use concur_bridge::concur::notifications::{Change, Feature, Level};
use concur_bridge::concur::{BaseUrl, CallError, Client, Patience};
use concur_bridge::secret::Token;

use crate::fake_http::{FakeHttp, Reply, reply};

/// A token with characters that encodings change.
const TOKEN: &str = "nqp8/WxIs+Z1lZ3uR7=";

/// The default's time, which no call here uses up, without its pauses. When a call is tried again is tested where the
/// clock can be moved, in `concur::call`.
const NO_PAUSES: Patience = Patience {
    tries: 3,
    total: Duration::from_secs(60),
    backoff: Duration::ZERO,
};

fn client(server: &FakeHttp) -> Client {
    patient_client(server, NO_PAUSES)
}

fn patient_client(server: &FakeHttp, patience: Patience) -> Client {
    Client::new(BaseUrl::parse(&server.url("")).unwrap(), patience).unwrap()
}

async fn subscribe(server: &FakeHttp) -> Result<(), CallError> {
    subscribe_through(client(server)).await
}

async fn subscribe_through(client: Client) -> Result<(), CallError> {
    let token = Token::new(TOKEN.to_owned());
    client
        .notify(Change::Subscribe, Level::Company, Feature::Fop, &token)
        .await
}

#[tokio::test]
async fn every_example_request_of_the_page_is_sent_byte_for_byte() {
    // (request line and header as the page quotes them, change, level, type)
    let page = [
        (
            "POST http://www.concursolutions.com/api/company/v1.0/subscribe?type=itinerary HTTP/1.1",
            Change::Subscribe,
            Level::Company,
            Feature::Itinerary,
        ),
        (
            "POST https://www.concursolutions.com/api/company/v1.0/subscribe?type=fop HTTP/1.1",
            Change::Subscribe,
            Level::Company,
            Feature::Fop,
        ),
        (
            "POST https://www.concursolutions.com/api/company/v1.0/subscribe?type=profile HTTP/1.1",
            Change::Subscribe,
            Level::Company,
            Feature::Profile,
        ),
        (
            "POST https://www.concursolutions.com/api/company/v1.0/unsubscribe?type=itinerary HTTP/1.1",
            Change::Unsubscribe,
            Level::Company,
            Feature::Itinerary,
        ),
        (
            "POST https://www.concursolutions.com/api/company/v1.0/unsubscribe?type=fop HTTP/1.1",
            Change::Unsubscribe,
            Level::Company,
            Feature::Fop,
        ),
        (
            "POST https://www.concursolutions.com/api/company/v1.0/unsubscribe?type=profile HTTP/1.1",
            Change::Unsubscribe,
            Level::Company,
            Feature::Profile,
        ),
        (
            "POST https://www.concursolutions.com/api/user/v1.0/subscribe?type=itinerary HTTP/1.1",
            Change::Subscribe,
            Level::User,
            Feature::Itinerary,
        ),
        (
            "POST https://www.concursolutions.com/api/user/v1.0/subscribe?type=fop HTTP/1.1",
            Change::Subscribe,
            Level::User,
            Feature::Fop,
        ),
        (
            "POST https://www.concursolutions.com/api/user/v1.0/unsubscribe?type=profile HTTP/1.1",
            Change::Unsubscribe,
            Level::User,
            Feature::Profile,
        ),
    ];
    let server = FakeHttp::start(|_, _| reply("200 OK", "", "")).await;
    for (quoted, change, level, feature) in page {
        let token = Token::new(TOKEN.to_owned());
        client(&server)
            .notify(change, level, feature, &token)
            .await
            .unwrap();
        let request = server.requests().pop().unwrap();
        // The page writes the absolute form; on the wire the authority is the Host header (RFC 9112 §3.2.1).
        let path = quoted.split_once(".com").unwrap().1;
        assert_eq!(request.line(), format!("POST {path}"), "{quoted}");
        assert!(
            request
                .head
                .lines()
                .any(|line| line == format!("Authorization: OAuth {TOKEN}")),
            "{}",
            request.head
        );
        assert!(
            request
                .head
                .lines()
                .any(|line| line == "Content-Type: application/xml"),
            "{}",
            request.head
        );
        assert_eq!(request.header("content-length"), Some("0"));
        assert_eq!(request.header("host").unwrap(), server.address.to_string());
        assert!(request.body.is_empty());
    }
    assert_eq!(server.requests().len(), page.len());
}

#[tokio::test]
async fn refusals_are_final_and_shown_in_concurs_words_without_the_token() {
    for (status, words, advice) in [
        ("400 Bad Request", "wrong type", "check the arguments"),
        ("401 Unauthorized", "invalid token", "get a new one"),
        ("403 Forbidden", "no right", "Company Administrator"),
        ("404 Not Found", "no such page", "check --base-url"),
        ("201 Created", "done?", "check --base-url"),
    ] {
        let body =
            format!("<Error><Message>{words} {TOKEN} nqp8%2FWxIs%2bZ1lZ3uR7%3D</Message></Error>");
        let server = FakeHttp::start(move |_, _| reply(status, "", &body)).await;
        let error = subscribe(&server).await.unwrap_err();
        let said = error.to_string();
        assert!(
            said.contains(words) && said.contains("[token] [token]") && !said.contains("nqp8"),
            "{said}"
        );
        assert!(
            error.advice().contains(advice),
            "{status}: {}",
            error.advice()
        );
        assert_eq!(server.requests().len(), 1, "{status} is final");
    }
}

#[tokio::test]
async fn passing_faults_are_tried_three_times() {
    for status in [
        "429 Too Many Requests",
        "500 Internal Server Error",
        "502 Bad Gateway",
        "503 Service Unavailable",
    ] {
        let server = FakeHttp::start(move |number, _| {
            if number < 2 {
                reply(status, "", "")
            } else {
                reply("200 OK", "", "")
            }
        })
        .await;
        subscribe(&server).await.unwrap();
        assert_eq!(server.requests().len(), 3, "{status}");

        let server = FakeHttp::start(move |_, _| {
            reply(status, "", "<html><body><h1>Down</h1></body></html>")
        })
        .await;
        let error = subscribe(&server).await.unwrap_err();
        assert!(
            matches!(error, CallError::Busy { tries: 3, .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains(": Down"), "{error}");
        assert_eq!(server.requests().len(), 3, "{status}");
    }
}

#[tokio::test]
async fn a_broken_connection_is_tried_again() {
    let server = FakeHttp::start(|number, _| {
        if number == 0 {
            Reply::Close
        } else {
            reply("200 OK", "", "")
        }
    })
    .await;
    subscribe(&server).await.unwrap();
    assert_eq!(server.requests().len(), 2);
    let server = FakeHttp::start(|_, _| Reply::Close).await;
    assert!(matches!(
        subscribe(&server).await,
        Err(CallError::Unreachable { tries: 3, .. })
    ));
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let server = FakeHttp::start(|number, _| match number {
        0 => reply("429 Too Many Requests", "Retry-After: 0\r\n", ""),
        _ => reply("200 OK", "", ""),
    })
    .await;
    // Its own pause would not fit into the time.
    let patience = Patience {
        backoff: NO_PAUSES.total * 2,
        ..NO_PAUSES
    };
    subscribe_through(patient_client(&server, patience))
        .await
        .unwrap();
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_pause_longer_than_the_time_left_ends_the_errand_at_once() {
    let server =
        FakeHttp::start(|_, _| reply("503 Service Unavailable", "Retry-After: 3600\r\n", "")).await;
    let error = subscribe(&server).await.unwrap_err();
    assert!(error.to_string().contains("asks to wait 3600 s"), "{error}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn silence_ends_the_call() {
    let server = FakeHttp::start(|_, _| Reply::Hang).await;
    let patience = Patience {
        total: Duration::from_millis(100),
        ..NO_PAUSES
    };
    let error = subscribe_through(patient_client(&server, patience))
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::Silent { .. }), "{error:?}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = FakeHttp::start(|_, _| reply("200 OK", "", "")).await;
    let location = format!("Location: {}?t={TOKEN}\r\n", elsewhere.url("/x"));
    let server = FakeHttp::start(move |_, _| reply("302 Found", &location, "")).await;
    let error = subscribe(&server).await.unwrap_err();
    assert!(matches!(error, CallError::Redirected { .. }), "{error:?}");
    assert!(!error.to_string().contains("nqp8"), "{error}");
    assert!(elsewhere.requests().is_empty());
}
