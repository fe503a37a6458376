//! Normalise: a pure function from a [`Postback`] to an [`Event`] or to what is wrong with it.
//!
//! **Promises.** No I/O, no clock, no randomness, no async: the same bytes give the same result. A few microseconds for
//! what Concur sends; time and memory in proportion to the input whatever is sent, about a millisecond for the worst
//! 256 KiB that are known (`tests/corpus`). Every occurrence of the request's own token in a field of the event, raw or
//! percent-encoded, is `[token]`.
//!
//! **When it fails.** [`Malformed`] has a reason from a closed set and a detail that quotes nothing of the request, so
//! both can be logged, answered and published.
//!
//! **Layout.** `v1` and `ess` each read one dialect: `v1` with `query` and `notification` (XML), `ess` with a reader of
//! JSON of its own. Both use `object_uri`, which decides what consumers may fetch, `traceparent`, and last `redact`.
//! What was chosen where the contract is silent stands at the top of each file.
//!
//! **Left to others.** Ids, sealing and fingerprints ([`seal`](crate::seal)), and so the subject of an event whose key is
//! [`Key::EventId`](crate::event::Key): that id. Who may post ([`ingress`](crate::ingress)).

mod blank;
mod ess;
mod malformed;
mod notification;
mod object_uri;
mod query;
mod redact;
pub(crate) mod traceparent;
mod v1;
mod work;

pub use malformed::{Malformed, Reason};
pub use redact::{masked, masked_request};

use crate::config::ObjectUriHosts;
use crate::event::Event;
use crate::postback::{Dialect, Postback};

/// What normalising depends on besides the request.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Hosts whose URLs may be handed to consumers as `objectUri`.
    pub object_uri_hosts: ObjectUriHosts,
}

/// The event that this postback announces.
///
/// # Errors
/// [`Malformed`] when it does not say which trip or whose data, or is not well-formed; the caller quarantines it.
pub fn normalise(postback: &Postback, rules: &Rules) -> Result<Event, Malformed> {
    match postback.dialect {
        Dialect::V1 => v1::normalise(postback, rules),
        Dialect::Ess => ess::normalise(postback, rules),
    }
}

#[cfg(test)]
mod tests;
