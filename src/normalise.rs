//! Normalise: a pure function from a [`Postback`] to an [`Event`] or to what is wrong with it.
//!
//! **Promises.** No I/O, no clock, no randomness, no async: the same bytes give the same result. A few hundred
//! microseconds at most for any input within the ingress limits; memory in proportion to the input. Every occurrence of
//! the request's own token in a field of the event, raw or percent-encoded, is `[token]`.
//!
//! **When it fails.** [`Malformed`] has a reason from a closed set and a detail that quotes nothing of the request, so
//! both can be logged, answered and published.
//!
//! **Left to others.** Ids, sealing and fingerprints ([`seal`](crate::seal)); who may post ([`ingress`](crate::ingress)).

mod malformed;

pub use malformed::{Malformed, Reason};

use crate::config::ObjectUriHosts;
use crate::event::Event;
use crate::postback::Postback;

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
    let _ = (postback, rules);
    Err(Malformed::new(Reason::MissingType, "not written yet"))
}
