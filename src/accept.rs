//! Accept: the way of one postback from the front door to durability, in one place.
//!
//! ```text
//! Postback ─ normalise ─▶ Event ─ seal ─▶ Record ─ keep ─▶ durable: 200
//!              └─ Malformed ─ seal whole ─▶ Record ─ keep ─▶ durable in the quarantine: 400
//! ```
//!
//! **Promises.** [`Acceptor::accept`] returns `Ok` only when the event is durable, and [`Refusal::Malformed`] only when the
//! request is. An ESS delivery seen before is `Ok` with the id of the event accepted then.
//!
//! **When it fails.** [`Unavailable`]: nothing is kept that was promised, the sender may try again. A record whose waiter
//! went away may still appear, once.
//!
//! **Left to others.** Who may post, and the form of the answer ([`ingress`](crate::ingress)).

use metrics::Counter;

use crate::event::{Delivery, Event, EventType};
use crate::journal::{AppendError, Appended, Claim, Journal};
use crate::normalise::{Malformed, Reason, Rules, normalise};
use crate::postback::Postback;
use crate::publish::direct::{Direct, DirectError};
use crate::record::{Position, Record};
use crate::seal::{Sealer, new_id};
use crate::secret::SealError;

/// Takes postbacks in.
pub struct Acceptor {
    rules: Rules,
    sealer: Sealer,
    keeper: Keeper,
    accepted: Vec<Counter>,
    quarantined: Vec<Counter>,
    repeated: Counter,
    other_bytes: Counter,
    unknown_parameters: Counter,
}

/// What makes a record durable before the answer.
#[derive(Clone)]
pub enum Keeper {
    /// The journal on disk (`acknowledge_after = "journal"`).
    Journal(Journal),
    /// All in-sync replicas of Kafka (`acknowledge_after = "kafka"`).
    Kafka(Direct),
}

/// A postback that became a durable event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The CloudEvents id.
    pub id: String,
}

/// A postback that became none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Final for its sender; the raw request is durable in the quarantine.
    Malformed {
        /// What is wrong.
        malformed: Malformed,
        /// Under which id it is kept.
        quarantine_id: String,
    },
    /// Not now; the sender may try again.
    Unavailable(Unavailable),
}

/// Why a postback cannot be taken in at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unavailable {
    /// The journal's byte limit or the floor of free disk space is reached.
    JournalFull,
    /// The quarantine is full of requests that Kafka does not have yet.
    QuarantineFull,
    /// Too many postbacks wait.
    QueueFull,
    /// The process is stopping.
    Closing,
    /// A write failed; the process is about to end.
    JournalFailed,
    /// Kafka does not acknowledge (only without a journal).
    KafkaUnavailable,
    /// The system gives no randomness to seal with.
    SealFailed,
}

impl Unavailable {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::JournalFull,
        Self::QuarantineFull,
        Self::QueueFull,
        Self::Closing,
        Self::JournalFailed,
        Self::KafkaUnavailable,
        Self::SealFailed,
    ];

    /// The word in problem types, readiness and metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::JournalFull => "journal_full",
            Self::QuarantineFull => "quarantine_full",
            Self::QueueFull => "queue_full",
            Self::Closing => "closing",
            Self::JournalFailed => "journal_failed",
            Self::KafkaUnavailable => "kafka_unavailable",
            Self::SealFailed => "seal_failed",
        }
    }
}

impl Acceptor {
    /// An acceptor that normalises by `rules`, seals with `sealer` and keeps in `keeper`.
    pub fn new(rules: Rules, sealer: Sealer, keeper: Keeper) -> Self {
        let accepted = EventType::ALL
            .iter()
            .map(|kind| metrics::counter!("concur_bridge_events_accepted_total", "type" => kind.as_str()))
            .collect();
        let quarantined = Reason::ALL
            .iter()
            .map(|reason| metrics::counter!("concur_bridge_events_quarantined_total", "reason" => reason.as_str()))
            .collect();
        Self {
            rules,
            sealer,
            keeper,
            accepted,
            quarantined,
            repeated: metrics::counter!("concur_bridge_ess_repeated_total"),
            other_bytes: metrics::counter!("concur_bridge_ess_id_reused_total"),
            unknown_parameters: metrics::counter!("concur_bridge_ingress_unknown_parameters_total"),
        }
    }

    /// Takes one postback in.
    ///
    /// Cancel safety: dropped after its record was queued, the record may still become durable, once.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn accept(&self, postback: Postback) -> Result<Accepted, Refusal> {
        match normalise(&postback, &self.rules) {
            Ok(event) => self.keep_event(event).await.map_err(Refusal::Unavailable),
            Err(malformed) => Err(self.keep_malformed(&postback, malformed).await),
        }
    }

    async fn keep_event(&self, mut event: Event) -> Result<Accepted, Unavailable> {
        let kind = event.kind;
        if event.unknown_parameters > 0 {
            self.unknown_parameters
                .increment(event.unknown_parameters as u64);
        }
        let delivery = event.delivery.take();
        let mut sealed = self.sealer.seal(event)?;
        let (mut id, mut claim) = match delivery {
            Some(Delivery {
                topic,
                sender_id: Some(sender_id),
                serves,
                sha256,
            }) => (
                if serves { sender_id.clone() } else { new_id() },
                Some(Claim {
                    topic,
                    sender_id,
                    sha256,
                    // Under an id of ours nothing is taken: other bytes are another event.
                    second: !serves,
                }),
            ),
            Some(Delivery {
                sender_id: None, ..
            })
            | None => (new_id(), None),
        };
        let mut kept = self.keep(sealed.to_record(&id)?, claim.clone()).await;
        if matches!(kept, Err(KeepError::IdTaken)) {
            // The same id with other bytes is another event: it gets an id of ours and says the sender's.
            sealed.set_sender_id(std::mem::replace(&mut id, new_id()));
            claim
                .as_mut()
                .into_iter()
                .for_each(|claim| claim.second = true);
            self.other_bytes.increment(1);
            kept = self.keep(sealed.to_record(&id)?, claim).await;
        }
        match kept {
            Ok(Appended::Durable(_)) => {
                self.accepted[kind as usize].increment(1);
                Ok(Accepted { id })
            }
            Ok(Appended::Repeated { id }) => {
                self.repeated.increment(1);
                Ok(Accepted { id })
            }
            Err(KeepError::Unavailable(unavailable)) => Err(unavailable),
            // A second claim is never refused for its id; were it, the sender tries again.
            Err(KeepError::IdTaken) => Err(Unavailable::QueueFull),
        }
    }

    async fn keep_malformed(&self, postback: &Postback, malformed: Malformed) -> Refusal {
        let id = new_id();
        let record = match self.sealer.quarantine(postback, &malformed, &id) {
            Ok(record) => record,
            Err(_) => return Refusal::Unavailable(Unavailable::SealFailed),
        };
        match self.keep(record, None).await {
            Ok(_) => {
                self.quarantined[malformed.reason as usize].increment(1);
                Refusal::Malformed {
                    malformed,
                    quarantine_id: id,
                }
            }
            Err(KeepError::Unavailable(unavailable)) => Refusal::Unavailable(unavailable),
            Err(KeepError::IdTaken) => Refusal::Unavailable(Unavailable::QueueFull),
        }
    }

    async fn keep(&self, record: Record, claim: Option<Claim>) -> Result<Appended, KeepError> {
        match &self.keeper {
            Keeper::Journal(journal) => Ok(journal.append(record, claim).await?),
            // Without a journal nobody remembers deliveries: consumers deduplicate by source and id.
            Keeper::Kafka(direct) => match direct.append(record).await {
                Ok(()) => Ok(Appended::Durable(Position::default())),
                Err(error) => Err(KeepError::Unavailable(error.into())),
            },
        }
    }
}

/// Why a record was not kept.
enum KeepError {
    IdTaken,
    Unavailable(Unavailable),
}

impl From<AppendError> for KeepError {
    fn from(error: AppendError) -> Self {
        Self::Unavailable(match error {
            AppendError::IdTaken => return Self::IdTaken,
            AppendError::Full(_) => Unavailable::JournalFull,
            AppendError::QuarantineFull => Unavailable::QuarantineFull,
            AppendError::QueueFull => Unavailable::QueueFull,
            AppendError::Closing => Unavailable::Closing,
            AppendError::Poisoned(_) => Unavailable::JournalFailed,
        })
    }
}

impl From<DirectError> for Unavailable {
    fn from(error: DirectError) -> Self {
        match error {
            DirectError::Closing => Self::Closing,
            DirectError::QueueFull => Self::QueueFull,
            DirectError::Unavailable(_) => Self::KafkaUnavailable,
        }
    }
}

impl From<SealError> for Unavailable {
    fn from(_: SealError) -> Self {
        Self::SealFailed
    }
}
