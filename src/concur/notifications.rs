//! v1 notifications: which changes Concur posts to the partner's postback URL.
//!
//! The page: Travel Profile v1 - Company Notification (and User Notification). One call per type:
//! `POST {base}/api/company/v1.0/subscribe?type=itinerary` with `Authorization: OAuth {access token}`, answered `200 OK`.
//! The postback URL is not part of the call: a partner registers one with Concur for all types.

use std::fmt;

use http::{Method, StatusCode};

use super::call::{Request, Scheme};
use super::{CallError, Client, words};
use crate::secret::Token;

/// What changes a notification is about: the query parameter `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Feature {
    /// Trips.
    Itinerary,
    /// Forms of payment.
    Fop,
    /// Travel profiles.
    Profile,
}

/// Whose changes: those of a company's users, or those of the token's user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Level {
    /// The token is an administrator's.
    Company,
    /// The token is the user's own.
    User,
}

/// To be notified, or not any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// From now on.
    Subscribe,
    /// No more.
    Unsubscribe,
}

impl Feature {
    /// Every one, in the page's order.
    pub const ALL: [Self; 3] = [Self::Itinerary, Self::Fop, Self::Profile];

    /// The value of `type`, as the page spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Itinerary => "itinerary",
            Self::Fop => "fop",
            Self::Profile => "profile",
        }
    }
}

impl Level {
    /// The path segment.
    pub fn name(self) -> &'static str {
        match self {
            Self::Company => "company",
            Self::User => "user",
        }
    }
}

impl Change {
    /// The path segment.
    pub fn name(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
        }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Client {
    /// Subscribes to, or unsubscribes from, one type of notification. On return Concur has answered 200.
    ///
    /// # Errors
    /// See [`CallError`]; a success other than 200 is not what the page documents, and refused.
    pub async fn notify(
        &self,
        change: Change,
        level: Level,
        feature: Feature,
        token: &Token,
    ) -> Result<(), CallError> {
        let path = format!(
            "/api/{}/v1.0/{}?type={feature}",
            level.name(),
            change.name()
        );
        let request = Request {
            method: Method::POST,
            path: &path,
            authorization: Some((Scheme::OAuth, token)),
            accept: "application/xml",
            content_type: Some("application/xml"),
            body: Vec::new(),
            correlation_id: None,
            secret: None,
        };
        let answer = self.call(&request).await?;
        if answer.status == StatusCode::OK {
            Ok(())
        } else {
            Err(CallError::Refused {
                status: answer.status,
                words: words::readable(&answer.body, &[token]),
            })
        }
    }
}
