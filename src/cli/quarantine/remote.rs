//! The admin port of the process that holds the journal.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use zeroize::Zeroizing;

use crate::app::ADMIN_ADDRESS_FILE;
use crate::cli::health::reachable;
use crate::config::Config;
use crate::secret::lines;

/// How long the process may take for one request.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Where and with which token to ask.
pub(super) struct AdminPort {
    address: SocketAddr,
    token: Option<Zeroizing<String>>,
}

/// Why the process did not do it.
#[derive(Debug, thiserror::Error)]
pub(super) enum RemoteError {
    #[error(
        "another process holds the journal, but not where its admin port is known ({0}): run the command as its user"
    )]
    Unknown(std::io::Error),
    #[error("admin.token_file: {0}")]
    Token(std::io::Error),
    #[error("the process that holds the journal does not answer at {0}: {1}")]
    Unreachable(SocketAddr, reqwest::Error),
    #[error("{0}")]
    Refused(String),
}

impl AdminPort {
    /// The one of the process that holds the configured journal.
    pub(super) fn of(config: &Config) -> Result<Self, RemoteError> {
        let noted = std::fs::read_to_string(config.journal.dir.join(ADMIN_ADDRESS_FILE))
            .map_err(RemoteError::Unknown)?;
        let address = noted
            .trim()
            .parse()
            .map_err(|error| RemoteError::Unknown(std::io::Error::other(error)))?;
        let token = match &config.admin.token_file {
            Some(file) => {
                let text =
                    Zeroizing::new(std::fs::read_to_string(file).map_err(RemoteError::Token)?);
                lines(&text)
                    .next()
                    .map(|line| Zeroizing::new(line.to_owned()))
            }
            None => None,
        };
        Ok(Self {
            address: reachable(address),
            token,
        })
    }

    /// Has something done to one request. The id of the new event, when there is one.
    pub(super) async fn act(&self, id: &str, verb: &str) -> Result<Option<String>, RemoteError> {
        let unreachable = |error| RemoteError::Unreachable(self.address, error);
        let id = percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC);
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .no_proxy()
            .build()
            .map_err(unreachable)?;
        let mut request = client
            .post(format!(
                "http://{}/api/v1/quarantine/{id}/{verb}",
                self.address
            ))
            .header(http::header::ORIGIN, format!("http://{}", self.address))
            .header(http::header::CONTENT_TYPE, "application/json")
            .body("{}");
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.as_str());
        }
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let body: Value = response.json().await.unwrap_or_default();
        let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
        if !status.is_success() {
            let reason =
                text("detail").unwrap_or_else(|| format!("the admin port answered {status}"));
            return Err(RemoteError::Refused(reason));
        }
        Ok(text("eventId"))
    }
}
