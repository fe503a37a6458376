//! Tokens for ESS: the client_credentials grant.
//!
//! `POST {base}/oauth2/v0/token`, form-encoded, answered with a JWT of 60 minutes. It is kept in memory for as long as
//! the errand lasts and renewed a minute before it ends; never on disk.

use std::time::Duration;

use http::Method;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;
use url::form_urlencoded;

use super::call::Request;
use super::{CallError, Client};
use crate::secret::Token;

/// How long before its end a token is not used any more: clocks differ, calls take time.
const LEEWAY: Duration = Duration::from_secs(60);

/// The lifetime that Concur documents, for an answer that names none.
const DOCUMENTED_LIFETIME: Duration = Duration::from_secs(3600);

/// An application's own credentials.
#[derive(Debug, Clone)]
pub struct ClientCredentials {
    /// The application's `client_id`.
    pub id: String,
    /// Its `client_secret`.
    pub secret: Token,
}

/// A token and its end.
#[derive(Debug, Clone)]
pub(super) struct Grant {
    pub(super) token: Token,
    ends_at: Instant,
}

/// Concur's answer; `expires_in` is documented as text and is a number in RFC 6749.
#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    #[serde(default)]
    expires_in: Value,
}

impl Grant {
    /// Whether it is still good for a call.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        now < self.ends_at
    }
}

impl Client {
    /// Gets a token for the application.
    pub(super) async fn grant(&self, credentials: &ClientCredentials) -> Result<Grant, CallError> {
        // In the order of the page.
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("client_id", &credentials.id)
            .append_pair("client_secret", credentials.secret.expose())
            .append_pair("grant_type", "client_credentials")
            .finish();
        let request = Request {
            method: Method::POST,
            path: "/oauth2/v0/token",
            authorization: None,
            accept: "application/json",
            content_type: Some("application/x-www-form-urlencoded"),
            body: body.into_bytes(),
            correlation_id: None,
            secret: Some(&credentials.secret),
        };
        let answer = self.call(&request).await?;
        read_grant(&answer.body, Instant::now())
    }
}

fn read_grant(body: &[u8], now: Instant) -> Result<Grant, CallError> {
    let unreadable = |reason: &str| CallError::Unreadable {
        reason: reason.to_owned(),
    };
    // The parser's own words could quote the token.
    let answer: TokenAnswer = serde_json::from_slice(body)
        .map_err(|_| unreadable("no JSON object with an access_token"))?;
    if answer.access_token.is_empty()
        || !answer
            .access_token
            .bytes()
            .all(|byte| byte.is_ascii_graphic())
    {
        return Err(unreadable(
            "the access_token is none that a header can carry",
        ));
    }
    let seconds = match &answer.expires_in {
        Value::String(text) => text.trim().parse().ok(),
        number => number.as_u64(),
    };
    let lifetime = seconds
        .map_or(DOCUMENTED_LIFETIME, Duration::from_secs)
        .min(DOCUMENTED_LIFETIME * 24);
    Ok(Grant {
        token: Token::new(answer.access_token),
        ends_at: now + lifetime.saturating_sub(LEEWAY),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_used_until_a_minute_before_its_end() {
        let now = Instant::now();
        for (body, seconds) in [
            (r#"{"access_token":"t","expires_in":"3600"}"#, 3540),
            (r#"{"access_token":"t","expires_in":120}"#, 60),
            (r#"{"access_token":"t"}"#, 3540),
            (r#"{"access_token":"t","expires_in":"soon"}"#, 3540),
        ] {
            let grant = read_grant(body.as_bytes(), now).unwrap();
            assert!(
                grant.is_fresh(now + Duration::from_secs(seconds - 1)),
                "{body}"
            );
            assert!(
                !grant.is_fresh(now + Duration::from_secs(seconds)),
                "{body}"
            );
        }
    }

    #[test]
    fn an_answer_that_is_no_grant_is_named_without_its_content() {
        for body in [
            "",
            "<html>",
            "{}",
            r#"{"access_token":""}"#,
            r#"{"access_token":"a b"}"#,
            r#"{"access_token":7}"#,
        ] {
            let error = read_grant(body.as_bytes(), Instant::now()).unwrap_err();
            assert!(matches!(error, CallError::Unreadable { .. }), "{body}");
        }
    }
}
