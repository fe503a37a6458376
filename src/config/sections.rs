//! The keys of each section, their defaults, and the rules that tie keys together.

mod ingress;
mod kafka;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::reader::Section;
use super::{
    AcknowledgeAfter, Admin, Config, Events, EventsMode, Journal, Log, LogFormat, ObjectUriHosts,
    Otel, PublishToken, Shutdown, Subscription, Tokens, UserIds,
};
use crate::ingress::check_exposed;

/// Every section.
pub(super) const NAMES: [&str; 12] = [
    "ingress",
    "auth",
    "journal",
    "kafka",
    "topics",
    "tokens",
    "events",
    "admin",
    "shutdown",
    "log",
    "otel",
    "subscriptions",
];

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const HOUR: Duration = Duration::from_secs(3600);

/// Reads the whole configuration. What it returns is meaningful only when no fault was reported.
pub(super) fn read(root: &mut Section) -> Config {
    let instance = root.string("instance");
    if let Some(instance) = &instance
        && !is_instance(instance)
    {
        root.fault(
            "instance",
            "must be 1 to 128 letters, digits, dots, dashes or underscores",
        );
    }
    let config = Config {
        instance,
        ingress: ingress::ingress(root.section("ingress")),
        auth: ingress::auth(root.section("auth")),
        journal: journal(root.section("journal")),
        kafka: kafka::kafka(root.section("kafka")),
        topics: kafka::topics(root.section("topics")),
        tokens: tokens(root.section("tokens")),
        events: events(root.section("events")),
        admin: admin(root.section("admin")),
        shutdown: shutdown(root.section("shutdown")),
        log: log(root.section("log")),
        otel: otel(root.section("otel")),
        subscriptions: root
            .sections("subscriptions")
            .into_iter()
            .map(subscription)
            .collect(),
    };
    rules(&config, root);
    config
}

/// Nothing would fit into a smaller one.
const SMALLEST_JOURNAL_BYTES: u64 = 64 * KIB;

/// Whether a text can be an instance: it is part of a transactional id and of a header.
pub(super) fn is_instance(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn journal(mut section: Section) -> Journal {
    let journal = Journal {
        dir: section.path("dir").unwrap_or("./data".into()),
        max_size_bytes: section.size("max_size").unwrap_or(8 * GIB),
        min_free_bytes: section.size("min_free").unwrap_or(512 * MIB),
        quarantine_max_size_bytes: section.size("quarantine_max_size").unwrap_or(256 * MIB),
        retain_for: section.duration("retain_for").unwrap_or(24 * HOUR),
        retain_size_bytes: section.size("retain_size").unwrap_or(2 * GIB),
        dedup_for: section.duration("dedup_for").unwrap_or(96 * HOUR),
    };
    if journal.max_size_bytes < SMALLEST_JOURNAL_BYTES {
        section.fault(
            "max_size",
            "must be at least 64KiB: an empty journal takes half of it",
        );
    }
    section.finish();
    journal
}

fn tokens(mut section: Section) -> Tokens {
    let key_file = section.path("key_file");
    let fingerprint_key_file = section.path("fingerprint_key_file");
    let tokens = Tokens {
        publish: section
            .choice(
                "publish",
                &[
                    ("encrypted", PublishToken::Encrypted),
                    ("fingerprint", PublishToken::Fingerprint),
                    ("plain", PublishToken::Plain),
                ],
            )
            .unwrap_or(PublishToken::Encrypted),
        key_files_given: key_file.is_some() && fingerprint_key_file.is_some(),
        key_file: key_file.unwrap_or("./keys/token.key".into()),
        fingerprint_key_file: fingerprint_key_file.unwrap_or("./keys/fingerprint.key".into()),
    };
    if tokens.key_file == tokens.fingerprint_key_file {
        section.fault(
            "fingerprint_key_file",
            "must not be the file of `tokens.key_file`",
        );
    }
    section.finish();
    tokens
}

fn events(mut section: Section) -> Events {
    let patterns: Option<Vec<String>> = section.list("object_uri_hosts", "a list of host names");
    let hosts = patterns.map_or_else(
        || Ok(ObjectUriHosts::default()),
        |patterns| ObjectUriHosts::parse(&patterns),
    );
    let events = Events {
        mode: section
            .choice(
                "mode",
                &[
                    ("structured", EventsMode::Structured),
                    ("binary", EventsMode::Binary),
                ],
            )
            .unwrap_or(EventsMode::Structured),
        user: section
            .choice(
                "user",
                &[("plain", UserIds::Plain), ("hashed", UserIds::Hashed)],
            )
            .unwrap_or(UserIds::Plain),
        object_uri_hosts: hosts.unwrap_or_else(|error| {
            section.fault("object_uri_hosts", error.to_string());
            ObjectUriHosts::default()
        }),
    };
    section.finish();
    events
}

fn admin(mut section: Section) -> Admin {
    let admin = Admin {
        listen: section.parsed("listen", ADDRESS).unwrap_or(loopback(8081)),
        token_file: section.path("token_file"),
        hosts: section
            .list("hosts", "a list of host names")
            .unwrap_or_default(),
    };
    section.finish();
    admin
}

fn shutdown(mut section: Section) -> Shutdown {
    let shutdown = Shutdown {
        drain_deadline: section
            .duration("drain_deadline")
            .unwrap_or(Duration::from_secs(10)),
    };
    section.finish();
    shutdown
}

fn log(mut section: Section) -> Log {
    let log = Log {
        level: section.string("level").unwrap_or("info".to_owned()),
        format: section
            .choice(
                "format",
                &[
                    ("text", LogFormat::Text),
                    ("json", LogFormat::Json),
                    ("auto", LogFormat::Auto),
                ],
            )
            .unwrap_or(LogFormat::Auto),
    };
    let is_level = log
        .level
        .parse::<tracing_subscriber::filter::LevelFilter>()
        .is_ok();
    let is_directives =
        log.level.contains('=') && tracing_subscriber::EnvFilter::try_new(&log.level).is_ok();
    if !is_level && !is_directives {
        section.fault("level", "must be error, warn, info, debug or trace, or directives such as \"info,concur_bridge=debug\"");
    }
    section.finish();
    log
}

fn otel(mut section: Section) -> Otel {
    let otel = Otel {
        endpoint: section.parsed("endpoint", COLLECTOR),
        service_name: section
            .string("service_name")
            .unwrap_or("concur-bridge".to_owned()),
    };
    if let Some(endpoint) = &otel.endpoint {
        let has_more = !endpoint.username().is_empty()
            || endpoint.password().is_some()
            || endpoint.query().is_some()
            || endpoint.fragment().is_some();
        if !matches!(endpoint.scheme(), "http" | "https") || !endpoint.has_host() {
            section.fault("endpoint", format!("must be {COLLECTOR}"));
        } else if has_more {
            section.fault(
                "endpoint",
                "must have no user, query or fragment: credentials go into OTEL_EXPORTER_OTLP_HEADERS",
            );
        }
    }
    if otel.service_name.is_empty() {
        section.fault("service_name", "must not be empty");
    }
    section.finish();
    otel
}

fn subscription(mut section: Section) -> Subscription {
    let filter = section.string("filter").unwrap_or(".*".to_owned());
    let mut text = |key: &'static str| {
        section.string(key).unwrap_or_else(|| {
            section.fault(key, "is missing");
            String::new()
        })
    };
    let subscription = Subscription {
        id: text("id"),
        topic: text("topic"),
        filter,
        endpoint: text("endpoint"),
    };
    section.finish();
    subscription
}

/// What ties sections together.
fn rules(config: &Config, root: &Section) {
    // On another address as well: one of them may be the wildcard, or become it.
    if config.ingress.listen.port() == config.admin.listen.port() && config.admin.listen.port() != 0
    {
        root.fault("admin.listen", "must not have the port of `ingress.listen`");
    }
    if config.ingress.acknowledge_after == AcknowledgeAfter::Kafka && !config.tokens.key_files_given
    {
        root.fault(
            "tokens",
            "needs `key_file` and `fingerprint_key_file` when `ingress.acknowledge_after = \"kafka\"`: \
             keys that each replica makes for itself would open nothing elsewhere",
        );
    }
    if config.ingress.proxy_protocol
        && config.auth.v1.trusted_proxies.is_empty()
        && config.auth.ess.trusted_proxies.is_empty()
    {
        root.fault(
            "ingress.proxy_protocol",
            "needs `auth.trusted_proxies`: nobody else's header is believed",
        );
    }
    for exposed in check_exposed(&config.ingress, &config.auth) {
        root.fault(exposed.section, exposed.to_string());
    }
}

const COLLECTOR: &str = "the base URL of an OTLP/HTTP collector such as \"http://127.0.0.1:4318\"";

const ADDRESS: &str = "an address and port such as \"127.0.0.1:8080\"";

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
