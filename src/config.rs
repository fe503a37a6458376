//! Configuration: a TOML file, overridden key by key by the environment, read once at start.
//!
//! **Promises.** [`Config::load`] looks at every key and reports every fault at once, before anything is opened or
//! bound. An unknown key is a fault. Every default is in one place, the `read` function of its section, and in
//! `concur-bridge.example.toml`, which a test parses.
//!
//! **Layout.** `load` finds the sources and merges them, `reader` takes typed values out of a table and collects
//! faults, `sections` knows the keys, `units` durations and sizes, `hosts` the host patterns.

mod hosts;
mod load;
mod reader;
mod sections;
mod units;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use hosts::ObjectUriHosts;
use ipnet::IpNet;
pub use load::ConfigError;
pub use reader::Fault;
pub use units::parse_duration;
use url::Url;

use crate::event::Stream;

/// The whole configuration, valid.
#[derive(Debug, Clone)]
pub struct Config {
    /// Identity of this replica; `None` means the journal's own.
    pub instance: Option<String>,
    /// The listener for Concur.
    pub ingress: Ingress,
    /// Who may post.
    pub auth: Auth,
    /// Where accepted records are kept.
    pub journal: Journal,
    /// How Kafka is reached.
    pub kafka: Kafka,
    /// Where each stream goes.
    pub topics: Topics,
    /// What becomes of the OAuth token.
    pub tokens: Tokens,
    /// The form of the events.
    pub events: Events,
    /// The listener for operators.
    pub admin: Admin,
    /// How long an orderly stop may take.
    pub shutdown: Shutdown,
    /// Logging.
    pub log: Log,
    /// Traces.
    pub otel: Otel,
    /// The wanted ESS subscriptions, for `subscriptions check`.
    pub subscriptions: Vec<Subscription>,
}

/// `[ingress]`
#[derive(Debug, Clone)]
pub struct Ingress {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Path of v1 postbacks.
    pub path: String,
    /// Path of ESS v4 webhooks.
    pub ess_path: String,
    /// Largest body, in bytes.
    pub max_body_bytes: usize,
    /// From the first byte of a request, or of a connection, to the end of its head.
    pub header_timeout: Duration,
    /// From the end of the head to the end of the body.
    pub body_timeout: Duration,
    /// Between two requests on a connection.
    pub idle_timeout: Duration,
    /// Connections at a time.
    pub max_connections: usize,
    /// Requests between head and answer at a time.
    pub max_in_flight: usize,
    /// When the 200 goes out.
    pub acknowledge_after: AcknowledgeAfter,
    /// How long a stateless answer waits for Kafka.
    pub kafka_ack_timeout: Duration,
    /// Whether a non-loopback listener may do without authentication.
    pub insecure_allow_unauthenticated: bool,
    /// Whether connections begin with a PROXY protocol v2 header.
    pub proxy_protocol: bool,
    /// TLS, when configured.
    pub tls: Option<Tls>,
}

/// What a 200 waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcknowledgeAfter {
    /// The fsync of the journal.
    Journal,
    /// All in-sync replicas of Kafka: no journal, no disk.
    Kafka,
}

/// `[ingress.tls]`
#[derive(Debug, Clone)]
pub struct Tls {
    /// PEM file: the certificate and its chain.
    pub certificate: PathBuf,
    /// PEM file: the private key.
    pub key: PathBuf,
    /// PEM file: authorities of client certificates; when given, a client certificate is demanded.
    pub client_ca: Option<PathBuf>,
    /// Names of which a client certificate must bear one, as CN or DNS SAN; empty: any from `client_ca`.
    pub client_names: Vec<String>,
}

/// `[auth]`
#[derive(Debug, Clone)]
pub struct Auth {
    /// Guards `ingress.path`.
    pub v1: Guard,
    /// Guards `ingress.ess_path`.
    pub ess: Guard,
    /// What is done with `Concur-Signature` on `ingress.ess_path`.
    pub signature: SignatureMode,
    /// PEM files, keys or certificates, of which one must verify.
    pub signature_keys: Vec<PathBuf>,
}

/// The methods that guard one path; all that are named must pass.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    /// One secret a line: the last segment of the path.
    pub path_secret_file: Option<PathBuf>,
    /// `user:password` a line.
    pub basic_file: Option<PathBuf>,
    /// Source networks; empty: any.
    pub allow_from: Vec<IpNet>,
    /// Proxies whose X-Forwarded-For or PROXY header is believed.
    pub trusted_proxies: Vec<IpNet>,
}

/// What is done with `Concur-Signature`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureMode {
    /// Refuse with 401 what does not verify.
    Enforce,
    /// Verify and count, refuse nothing.
    Observe,
    /// Do not look.
    Off,
}

/// `[journal]`
#[derive(Debug, Clone)]
pub struct Journal {
    /// The directory that is the journal.
    pub dir: PathBuf,
    /// Used pages plus the write-ahead log, in bytes, at which postbacks are refused.
    pub max_size_bytes: u64,
    /// Free bytes on the file system below which postbacks are refused.
    pub min_free_bytes: u64,
    /// Bytes of quarantined requests.
    pub quarantine_max_size_bytes: u64,
    /// How long a published record is kept.
    pub retain_for: Duration,
    /// How many bytes of published records are kept.
    pub retain_size_bytes: u64,
    /// How long the ids of ESS deliveries are remembered.
    pub dedup_for: Duration,
}

/// `[kafka]`
#[derive(Debug, Clone)]
pub struct Kafka {
    /// Bootstrap servers.
    pub brokers: String,
    /// The guarantee of publishing.
    pub delivery: Delivery,
    /// Whether missing topics are created.
    pub create_topics: bool,
    /// Partitions of created topics.
    pub partitions: i32,
    /// Replicas of created topics; -1 leaves it to the broker.
    pub replication_factor: i32,
    /// First part of the transactional id.
    pub transactional_id_prefix: String,
    /// Further librdkafka properties. May hold passwords: never printed.
    pub properties: Properties,
}

/// librdkafka properties; values may be passwords, so `Debug` shows names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties(pub BTreeMap<String, String>);

impl std::fmt::Debug for Properties {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The guarantee of publishing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Kafka transactions that carry the journal position.
    ExactlyOnce,
    /// No transactions, for brokers without them; same ids.
    AtLeastOnce,
}

/// `[topics]`
#[derive(Debug, Clone)]
pub struct Topics {
    /// Topic of itinerary events.
    pub itinerary: String,
    /// Topic of fop events.
    pub fop: String,
    /// Topic of profile events.
    pub profile: String,
    /// Topic of ESS events that are none of these and have no route.
    pub other: String,
    /// Topic of quarantined requests.
    pub quarantine: String,
    /// Topic of the position records.
    pub positions: String,
    /// ESS topic → Kafka topic.
    pub routes: BTreeMap<String, String>,
}

impl Topics {
    /// The topic of a stream; that of [`Stream::Other`] is for what has no route.
    pub fn of(&self, stream: Stream) -> &String {
        match stream {
            Stream::Itinerary => &self.itinerary,
            Stream::Fop => &self.fop,
            Stream::Profile => &self.profile,
            Stream::Other => &self.other,
            Stream::Quarantine => &self.quarantine,
        }
    }

    /// Every topic that events may go to, some perhaps more than once.
    pub fn of_events(&self) -> impl Iterator<Item = &String> {
        Stream::ALL
            .into_iter()
            .map(|stream| self.of(stream))
            .chain(self.routes.values())
    }
}

/// `[tokens]`
#[derive(Debug, Clone)]
pub struct Tokens {
    /// The form in which consumers get the token.
    pub publish: PublishToken,
    /// JWK Set that seals.
    pub key_file: PathBuf,
    /// JWK Set that fingerprints.
    pub fingerprint_key_file: PathBuf,
    /// Whether each of the two was configured rather than left to its default.
    pub key_files_given: bool,
}

/// The form in which consumers get the token. In the journal it is never in clear, except with `Plain`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishToken {
    /// Fingerprint and JWE.
    Encrypted,
    /// Fingerprint only.
    Fingerprint,
    /// Fingerprint and clear text.
    Plain,
}

/// `[events]`
#[derive(Debug, Clone)]
pub struct Events {
    /// CloudEvents mode of the Kafka message.
    pub mode: EventsMode,
    /// The form of user ids.
    pub user: UserIds,
    /// Hosts whose URLs may be `objectUri`.
    pub object_uri_hosts: ObjectUriHosts,
}

/// CloudEvents content mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventsMode {
    /// The whole event is the value.
    Structured,
    /// `data` is the value, attributes are headers.
    Binary,
}

/// The form of user ids in `idValue`, subject and key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserIds {
    /// As sent.
    Plain,
    /// HMAC with the fingerprint key.
    Hashed,
}

/// `[admin]`
#[derive(Debug, Clone)]
pub struct Admin {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// File with the bearer token, one a line.
    pub token_file: Option<PathBuf>,
    /// Names that `Host` may have besides IP literals and `localhost`.
    pub hosts: Vec<String>,
}

/// `[shutdown]`
#[derive(Debug, Clone)]
pub struct Shutdown {
    /// From the first signal to the exit.
    pub drain_deadline: Duration,
}

/// `[log]`
#[derive(Debug, Clone)]
pub struct Log {
    /// A level, or directives as `tracing` knows them.
    pub level: String,
    /// One JSON object a line, or text.
    pub format: LogFormat,
}

/// `[otel]`
#[derive(Debug, Clone)]
pub struct Otel {
    /// Base URL of the collector that takes OTLP over HTTP; `None`: no traces.
    pub endpoint: Option<Url>,
    /// The resource's `service.name`.
    pub service_name: String,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// `[[subscriptions]]`: one ESS subscription that ought to exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Its id.
    pub id: String,
    /// The ESS topic.
    pub topic: String,
    /// The filter expression.
    pub filter: String,
    /// Where Concur posts.
    pub endpoint: String,
}

#[cfg(test)]
mod tests;
