//! What reads bytes from outside, as a crate of its own for the fuzz targets (`fuzz/`): not a module of the bridge.
//!
//! The same files under the same names, without what they never call: SQLite, librdkafka, OpenSSL, the HTTP server. So
//! built, the targets are ready in a minute instead of half an hour. `Cargo.toml` lists it as an example of the bridge as
//! well, so that every `cargo clippy --all-targets` notices when a reader came to need more than is here.

#![allow(
    dead_code,
    missing_docs,
    rustdoc::broken_intra_doc_links,
    reason = "what calls the readers, and what their documentation points to, is left out"
)]

pub mod event;
pub mod normalise;
pub mod postback;
pub mod record;

pub mod config {
    mod hosts;

    pub use hosts::{BadPattern, ObjectUriHosts};
}

pub mod ingress {
    pub mod proxy_protocol;

    pub mod signature {
        mod header;

        pub use header::decode_header;
    }
}

pub mod journal {
    pub mod record_codec;
}

pub mod secret {
    mod token;

    pub use token::Token;
}
