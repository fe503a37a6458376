//! ESS v4: which events Concur posts to which webhook.
//!
//! The page: Event Subscription Management. `GET /events/v4/topics`, `PUT /events/v4/subscriptions/webhook`,
//! `GET /events/v4/subscriptions[/{id}]`, `DELETE /events/v4/subscriptions/{id}`, each with `Authorization: Bearer`.
//! A token that Concur refuses with 401 is replaced once: it may have been revoked.

use http::{Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::call::{Request, Scheme};
use super::oauth::{ClientCredentials, Grant};
use super::{CallError, Client};
use crate::config;
use crate::secret::Token;

/// What an id in a path may hold as it is (RFC 3986 unreserved).
const IN_A_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// What ESS calls are made with.
#[derive(Debug, Clone)]
pub enum Access {
    /// A token that somebody else got.
    Token(Token),
    /// Credentials to get one with.
    Credentials(ClientCredentials),
}

/// Manages the subscriptions of one application.
#[derive(Debug)]
pub struct Subscriptions {
    client: Client,
    access: Access,
    grant: Mutex<Option<Grant>>,
    correlation_id: String,
}

/// A subscription as Concur tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Its id.
    pub id: String,
    /// The topic.
    #[serde(default)]
    pub topic: String,
    /// A regular expression on the event type.
    #[serde(default)]
    pub filter: String,
    /// Where events are posted; absent for other kinds of subscription.
    #[serde(
        default,
        rename = "webHookConfig",
        skip_serializing_if = "Option::is_none"
    )]
    pub web_hook: Option<WebHook>,
    /// What else Concur tells: applicationId, companyIds, ...
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// `webHookConfig`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebHook {
    /// The URL.
    pub endpoint: String,
}

impl Subscription {
    /// The webhook's URL, empty when there is none.
    pub fn endpoint(&self) -> &str {
        self.web_hook.as_ref().map_or("", |hook| &hook.endpoint)
    }
}

impl Subscriptions {
    /// Makes calls through a client.
    pub fn new(client: Client, access: Access) -> Self {
        let correlation_id = uuid::Uuid::new_v4().to_string();
        Self {
            client,
            access,
            grant: Mutex::new(None),
            correlation_id,
        }
    }

    /// The id that Concur's support asks for: all calls carry it.
    pub fn correlation_id(&self) -> &str {
        &self.correlation_id
    }

    /// The topics that the application may subscribe to.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn topics(&self) -> Result<Vec<String>, CallError> {
        read(
            &self
                .call(Method::GET, "/events/v4/topics", Vec::new())
                .await?,
        )
    }

    /// All subscriptions of the application.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn list(&self) -> Result<Vec<Subscription>, CallError> {
        read(
            &self
                .call(Method::GET, "/events/v4/subscriptions", Vec::new())
                .await?,
        )
    }

    /// One subscription; `None` when Concur's list for that id is empty.
    ///
    /// # Errors
    /// See [`CallError`]; an unknown id may also be refused with 404.
    pub async fn get(&self, id: &SubscriptionId) -> Result<Option<Subscription>, CallError> {
        let body = self.call(Method::GET, &id.path(), Vec::new()).await?;
        // The page shows a list of one.
        if body.trim_ascii_start().starts_with(b"[") {
            let list: Vec<Subscription> = read(&body)?;
            return Ok(list
                .into_iter()
                .find(|subscription| subscription.id == id.0));
        }
        read(&body).map(Some)
    }

    /// Makes a subscription, or changes the one with its id. Returns Concur's words.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn put(&self, subscription: &config::Subscription) -> Result<String, CallError> {
        // In the order of the page.
        let body = json!({
            "id": subscription.id,
            "filter": subscription.filter,
            "topic": subscription.topic,
            "webHookConfig": { "endpoint": subscription.endpoint },
        });
        let answer = self
            .call(
                Method::PUT,
                "/events/v4/subscriptions/webhook",
                body.to_string().into_bytes(),
            )
            .await?;
        Ok(super::words::readable(&answer, &[]))
    }

    /// Deletes a subscription. Returns Concur's words.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn delete(&self, id: &SubscriptionId) -> Result<String, CallError> {
        let answer = self.call(Method::DELETE, &id.path(), Vec::new()).await?;
        Ok(super::words::readable(&answer, &[]))
    }

    async fn call(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Vec<u8>, CallError> {
        let mut request = Request {
            method,
            path,
            authorization: None,
            accept: "application/json",
            content_type: (!body.is_empty()).then_some("application/json"),
            body,
            correlation_id: Some(&self.correlation_id),
            secret: None,
        };
        let (token, was_kept) = self.token().await?;
        request.authorization = Some((Scheme::Bearer, &token));
        let error = match self.client.call(&request).await {
            Ok(answer) => return Ok(answer.body),
            Err(error) => error,
        };
        if !(was_kept && error.status() == Some(StatusCode::UNAUTHORIZED)) {
            return Err(error);
        }
        *self.grant.lock().await = None;
        let (token, _) = self.token().await?;
        request.authorization = Some((Scheme::Bearer, &token));
        self.client.call(&request).await.map(|answer| answer.body)
    }

    /// The token to call with, and whether it was kept from an earlier call.
    async fn token(&self) -> Result<(Token, bool), CallError> {
        let credentials = match &self.access {
            Access::Token(token) => return Ok((token.clone(), false)),
            Access::Credentials(credentials) => credentials,
        };
        let mut kept = self.grant.lock().await;
        if let Some(grant) = kept.as_ref().filter(|grant| grant.is_fresh(Instant::now())) {
            return Ok((grant.token.clone(), true));
        }
        let grant = self.client.grant(credentials).await?;
        let token = grant.token.clone();
        *kept = Some(grant);
        Ok((token, false))
    }
}

/// The id of a subscription, fit for a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionId(String);

/// A text that is no id of a subscription.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an id: lower-case letters, digits, `.` and `-`, e.g. my-company.my-scenario.prod.v1")]
pub struct BadSubscriptionId;

impl SubscriptionId {
    /// Reads an id. What Concur's page allows, and older spellings too; never a path of its own.
    ///
    /// # Errors
    /// Empty, over 256 bytes, dots alone, or with control characters.
    pub fn parse(text: &str) -> Result<Self, BadSubscriptionId> {
        let is_a_path = text.bytes().all(|byte| byte == b'.');
        if is_a_path || text.len() > 256 || text.chars().any(char::is_control) {
            return Err(BadSubscriptionId);
        }
        Ok(Self(text.to_owned()))
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn path(&self) -> String {
        format!(
            "/events/v4/subscriptions/{}",
            utf8_percent_encode(&self.0, IN_A_SEGMENT)
        )
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, CallError> {
    serde_json::from_slice(body).map_err(|error| CallError::Unreadable {
        reason: format!("not the documented JSON: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_never_becomes_a_path_of_its_own() {
        assert_eq!(
            SubscriptionId::parse("my.id-1").unwrap().path(),
            "/events/v4/subscriptions/my.id-1"
        );
        assert_eq!(
            SubscriptionId::parse("a/../b?c").unwrap().path(),
            "/events/v4/subscriptions/a%2F..%2Fb%3Fc"
        );
        for bad in ["", ".", "..", "a\nb"] {
            assert_eq!(
                SubscriptionId::parse(bad),
                Err(BadSubscriptionId),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn the_pages_own_sample_is_read_and_written_whole() {
        let page = r#"[{"id":"my-unique-subscription-id","topic":"public.test","filter":".*","webHookConfig":{"endpoint":"https://my-valid-endpoint"},"applicationId":"dabd27f0-23e7-415d-b5e5-19a7dbe4fb4d","scope":"","groups":[],"companyIds":[]}]"#;
        let list: Vec<Subscription> = read(page.as_bytes()).unwrap();
        assert_eq!(list[0].endpoint(), "https://my-valid-endpoint");
        assert_eq!(serde_json::to_string(&list).unwrap(), page);
    }
}
