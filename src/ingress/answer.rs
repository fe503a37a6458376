//! The bytes of an answer: `{"id": …}` for what is durable, RFC 9457 problem documents for the rest.
//!
//! Nothing of the request is ever part of one; the only variable parts are ids of ours, the words of a closed set and,
//! for a malformed request, the reader's sentence, which quotes names of known parameters and elements at most.

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

use super::limits::RETRY_AFTER_SECONDS;
use super::refused::{Cause, Refused};
use crate::accept::Accepted;

/// An answer, whole in memory.
pub(super) type Answer = Response<Full<Bytes>>;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Problem<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quarantine_id: Option<&'a str>,
}

/// 200 with the event's id.
pub(super) fn accepted(accepted: &Accepted) -> Answer {
    // The id is a UUID of ours, or a sender's of at most 128 bytes without control characters: only quotes,
    // backslashes and what is not ASCII need serde_json's care.
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    let mut body = Vec::with_capacity(accepted.id.len() + 9);
    body.extend_from_slice(b"{\"id\":");
    if accepted.id.bytes().all(plain) {
        body.push(b'"');
        body.extend_from_slice(accepted.id.as_bytes());
        body.push(b'"');
    } else {
        body.extend_from_slice(
            serde_json::Value::from(accepted.id.as_str())
                .to_string()
                .as_bytes(),
        );
    }
    body.push(b'}');
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// The answer to a refused request. `challenge`: whether the path asks for basic authentication.
pub(super) fn refused(refused: &Refused, challenge: bool) -> Answer {
    let cause = refused.cause();
    let status = cause.status();
    let mut answer = Response::new(Full::new(problem(refused)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("POST"));
    }
    if status == StatusCode::UNAUTHORIZED && challenge {
        headers.insert(
            WWW_AUTHENTICATE,
            HeaderValue::from_static("Basic realm=\"concur-bridge\", charset=\"UTF-8\""),
        );
    }
    answer
}

/// Announces that the connection ends with this answer.
pub(super) fn closing(mut answer: Answer) -> Answer {
    answer
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// A whole answer as wire bytes, for what hyper refuses before there is a request.
pub(super) fn on_the_wire(cause: Cause) -> Bytes {
    let status = cause.status();
    let body = problem(&cause.into());
    let mut wire = format!(
        "HTTP/1.1 {} {}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default(),
        body.len(),
    )
    .into_bytes();
    wire.extend_from_slice(&body);
    wire.into()
}

fn problem(refused: &Refused) -> Bytes {
    let cause = refused.cause();
    let (detail, quarantine_id) = match refused {
        Refused::Unkept(_) => (None, None),
        Refused::Kept {
            malformed,
            quarantine_id,
        } => (Some(&*malformed.detail), Some(quarantine_id.as_str())),
    };
    let problem = Problem {
        r#type: format!("urn:concur-bridge:problem:{}", cause.problem()),
        title: cause.title(),
        status: cause.status().as_u16(),
        detail,
        quarantine_id,
    };
    // A struct of strings and a number always serialises.
    serde_json::to_vec(&problem).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normalise::{Malformed, Reason};

    #[test]
    fn a_kept_request_is_told_its_quarantine_id() {
        let kept = Refused::Kept {
            malformed: Malformed::new(Reason::BadXml, "two roots"),
            quarantine_id: "q-1".into(),
        };
        let body: serde_json::Value = serde_json::from_slice(&problem(&kept)).unwrap();
        assert_eq!(
            body,
            serde_json::json!({
                "type": "urn:concur-bridge:problem:bad_xml",
                "title": "The notification is malformed. It was put in quarantine.",
                "status": 400,
                "detail": "two roots",
                "quarantineId": "q-1",
            })
        );
    }

    #[test]
    fn a_senders_id_is_escaped() {
        use http_body_util::BodyExt;
        for id in ["0199f3c2-0000-7000-8000-000000000000", "a\"b\\c", "é"] {
            let answer = accepted(&Accepted { id: id.into() });
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            let body = runtime
                .block_on(answer.into_body().collect())
                .unwrap()
                .to_bytes();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body, serde_json::json!({ "id": id }));
        }
    }
}
