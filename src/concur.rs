//! Concur's own APIs, as a partner calls them: who is notified of what.
//!
//! **What it does.** [`notifications`] subscribes to and unsubscribes from v1 postbacks (itinerary, fop, profile; company
//! and user level). [`subscriptions`] manages ESS v4 webhooks, with tokens from [`oauth`], and [`drift`] compares what
//! is subscribed with what ought to be.
//!
//! **Promises.** A [`Client`] is made for one errand: every call tries at most three times and all calls together take
//! at most 60 s ([`Patience`]). 429, 5xx and a broken connection are tried again, `Retry-After` honoured; any other
//! answer is final. Redirects are never followed, since the next host would get the token. Tokens travel over https
//! only, except to loopback ([`BaseUrl`]), and never leave in an error: Concur's words are masked, cleaned of control
//! characters and shortened (`words`).
//!
//! **Trust.** Certificates are verified against the platform's roots (`SSL_CERT_FILE` is honoured). Proxies of the
//! environment are used for https, where they only see a tunnel, never for loopback.
//!
//! **What it leaves to others.** No command line, no printing, no reading of files: `cli/concur.rs`.

mod base_url;
mod call;
pub mod drift;
mod failure;
pub mod notifications;
pub mod oauth;
mod retry;
pub mod subscriptions;
mod words;

pub use base_url::{BadBaseUrl, BaseUrl};
pub use call::{Client, ClientError};
pub use failure::CallError;
pub use retry::Patience;
