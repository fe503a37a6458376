//! What a person can do to quarantined requests: look at them, send them through again, drop them.
//!
//! **Promises.** A request is shown with its token masked unless it is asked for in clear. [`Quarantine::requeue`] sends it through the
//! same way as a new one, with the original receipt time and a new id, and drops it from the quarantine in the same
//! transaction; what is still malformed stays where it is.
//!
//! **Left to others.** Durability ([`journal`](crate::journal)); who may ask ([`console`](crate::console)).

use serde::Serialize;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::journal::{AppendError, Fatal, Inspector, Journal, QuarantineEntry};
use crate::normalise::{self, Malformed, Rules, normalise};
use crate::postback::Postback;
use crate::record::Position;
use crate::seal::{Sealer, new_id, rfc3339_ms};
use crate::secret::{OpenError, SealError, Vault};

/// A quarantined request as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// The `quarantineId` of the answer.
    pub id: String,
    /// Its place in the journal.
    pub position: u64,
    /// Why.
    pub reason: String,
    /// Why, in words.
    pub detail: String,
    /// When it was received.
    pub received_at: String,
    /// Bytes of the whole request.
    pub size: u64,
}

impl Listed {
    /// The entry without its body.
    pub fn of(entry: &QuarantineEntry) -> Self {
        let facts = entry.record.quarantine.clone().unwrap_or_default();
        Self {
            id: entry.record.id.clone(),
            position: entry.position.0,
            reason: facts.reason,
            detail: facts.detail,
            received_at: rfc3339_ms(entry.record.received_at),
            size: facts.size,
        }
    }
}

/// Why a quarantined request cannot be opened or sent through.
#[derive(Debug, thiserror::Error)]
pub enum QuarantineError {
    /// There is none with this id.
    #[error("nothing is quarantined under this id")]
    Unknown,
    /// It is a record that Kafka refused, not a request.
    #[error(
        "this is a record that Kafka refused for its size: raise the topic's max.message.bytes and use `journal replay`"
    )]
    NotARequest,
    /// It cannot be opened.
    #[error("it cannot be opened: {0}")]
    Sealed(#[from] OpenError),
    /// It is still malformed; it stays.
    #[error("it is still malformed: {0}")]
    StillMalformed(Malformed),
    /// The journal takes nothing.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] Fatal),
    /// Sealing failed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// What requeuing needs. Cheap to clone.
#[derive(Clone)]
pub struct Quarantine {
    journal: Journal,
    rules: Rules,
    sealer: Sealer,
}

impl Quarantine {
    /// On an open journal.
    pub fn new(journal: Journal, rules: Rules, sealer: Sealer) -> Self {
        Self {
            journal,
            rules,
            sealer,
        }
    }

    /// Sends a request through again. The id of its event.
    ///
    /// # Errors
    /// See [`QuarantineError`]; on any the request is still there.
    pub async fn requeue(&self, entry: &QuarantineEntry) -> Result<String, QuarantineError> {
        let postback = open(entry, self.sealer.vault())?;
        let mut event =
            normalise(&postback, &self.rules).map_err(QuarantineError::StillMalformed)?;
        // One that cannot serve as an id is in the event already.
        let sender_id = event
            .delivery
            .take()
            .filter(|delivery| delivery.serves)
            .and_then(|delivery| delivery.sender_id);
        let mut sealed = self.sealer.seal(event)?;
        if let Some(sender_id) = sender_id {
            sealed.set_sender_id(sender_id);
        }
        let id = new_id();
        let record = sealed.to_record(&id)?;
        match self.journal.requeue(entry.position, record).await? {
            Some(_) => {
                tracing::info!(
                    quarantine_id = entry.record.id,
                    event_id = id,
                    "a quarantined request was requeued"
                );
                Ok(id)
            }
            None => Err(QuarantineError::Unknown),
        }
    }

    /// Drops a request for good.
    ///
    /// # Errors
    /// See [`QuarantineError`].
    pub async fn discard(&self, entry: &QuarantineEntry) -> Result<(), QuarantineError> {
        if !self.journal.discard(entry.position).await? {
            return Err(QuarantineError::Unknown);
        }
        tracing::info!(
            quarantine_id = entry.record.id,
            "a quarantined request was discarded"
        );
        Ok(())
    }
}

/// The request with this id.
///
/// # Errors
/// [`QuarantineError::Unknown`], or the journal cannot be read.
pub fn find(inspector: &Inspector, id: &str) -> Result<QuarantineEntry, QuarantineError> {
    inspector.quarantined(id)?.ok_or(QuarantineError::Unknown)
}

/// Requests beyond `after`, oldest first.
///
/// # Errors
/// The journal cannot be read.
pub fn list(inspector: &Inspector, after: Position, limit: usize) -> Result<Vec<Listed>, Fatal> {
    Ok(inspector
        .quarantine(after, limit)?
        .iter()
        .map(Listed::of)
        .collect())
}

/// The postback that a quarantined request was.
///
/// # Errors
/// It is none, or its key is gone.
pub fn open(entry: &QuarantineEntry, vault: &Vault) -> Result<Postback, QuarantineError> {
    let document: Value =
        serde_json::from_slice(&entry.record.content).map_err(|_| QuarantineError::NotARequest)?;
    let sealed = document
        .pointer("/data/sealedRequest")
        .and_then(Value::as_str)
        .ok_or(QuarantineError::NotARequest)?;
    let wire: Zeroizing<Vec<u8>> = vault.open_jwe(sealed)?;
    Postback::from_wire(&wire, entry.record.received_at).map_err(|_| QuarantineError::NotARequest)
}

/// The request as text for a person: with all that may be its token masked ([`normalise::masked_request`]), or in clear. Bytes that are no text are
/// escaped, so that nothing in it can act on a terminal.
pub fn shown(postback: &Postback, reveal: bool) -> String {
    let text = Zeroizing::new(if reveal {
        let wire = Zeroizing::new(postback.to_wire());
        String::from_utf8_lossy(&wire).into_owned()
    } else {
        normalise::masked_request(postback)
    });
    text.chars()
        .flat_map(|character| {
            let plain = !character.is_control() || matches!(character, '\n' | '\t');
            let escaped = (!plain && character != '\r').then(|| character.escape_default());
            plain
                .then_some(character)
                .into_iter()
                .chain(escaped.into_iter().flatten())
        })
        .collect()
}
