//! The keys of each section, their defaults, and the rules that tie keys together.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::reader::Section;
use super::{
    AcknowledgeAfter, Admin, Auth, Config, Delivery, Events, EventsMode, Guard, Ingress, Journal,
    Kafka, Log, LogFormat, ObjectUriHosts, Properties, PublishToken, Shutdown, SignatureMode,
    Subscription, Tls, Tokens, Topics, UserIds,
};
use crate::ingress::check_exposed;
use crate::publish::OWNED_PROPERTIES;

/// Every section.
pub(super) const NAMES: [&str; 11] = [
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
    "subscriptions",
];

/// The name that Concur's client certificate has borne in all years: its authority is a public one, so "any certificate
/// from it" would be anybody who has one.
const CONCUR_CLIENT_NAME: &str = "webhook.api.concursolutions.com";

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
        ingress: ingress(root.section("ingress")),
        auth: auth(root.section("auth")),
        journal: journal(root.section("journal")),
        kafka: kafka(root.section("kafka")),
        topics: topics(root.section("topics")),
        tokens: tokens(root.section("tokens")),
        events: events(root.section("events")),
        admin: admin(root.section("admin")),
        shutdown: shutdown(root.section("shutdown")),
        log: log(root.section("log")),
        subscriptions: root
            .sections("subscriptions")
            .into_iter()
            .map(subscription)
            .collect(),
    };
    rules(&config, root);
    config
}

/// Whether a text can be an instance: it is part of a transactional id and of a header.
pub(super) fn is_instance(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn ingress(mut section: Section) -> Ingress {
    let ingress = Ingress {
        listen: section.parsed("listen", ADDRESS).unwrap_or(loopback(8080)),
        path: section.string("path").unwrap_or("/postback".to_owned()),
        ess_path: section.string("ess_path").unwrap_or("/ess".to_owned()),
        max_body_bytes: section.size("max_body").unwrap_or(256 * KIB) as usize,
        header_timeout: section
            .duration("header_timeout")
            .unwrap_or(Duration::from_secs(10)),
        body_timeout: section
            .duration("body_timeout")
            .unwrap_or(Duration::from_secs(30)),
        idle_timeout: section
            .duration("idle_timeout")
            .unwrap_or(Duration::from_secs(75)),
        max_connections: section
            .integer("max_connections", 1..=1_000_000)
            .unwrap_or(4096) as usize,
        max_in_flight: section
            .integer("max_in_flight", 1..=1_000_000)
            .unwrap_or(8192) as usize,
        acknowledge_after: section
            .choice(
                "acknowledge_after",
                &[
                    ("journal", AcknowledgeAfter::Journal),
                    ("kafka", AcknowledgeAfter::Kafka),
                ],
            )
            .unwrap_or(AcknowledgeAfter::Journal),
        kafka_ack_timeout: section
            .duration("kafka_ack_timeout")
            .unwrap_or(Duration::from_secs(5)),
        insecure_allow_unauthenticated: section
            .boolean("insecure_allow_unauthenticated")
            .unwrap_or(false),
        proxy_protocol: section.boolean("proxy_protocol").unwrap_or(false),
        tls: section.optional_section("tls").map(tls),
    };
    for (key, path) in [("path", &ingress.path), ("ess_path", &ingress.ess_path)] {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
        if !path.starts_with('/')
            || path.len() < 2
            || path.ends_with('/')
            || !path.bytes().all(plain)
        {
            section.fault(
                key,
                "must be an absolute path of unreserved characters that does not end in a slash",
            );
        }
    }
    let nested = |inner: &str, outer: &str| {
        inner == outer
            || inner
                .strip_prefix(outer)
                .is_some_and(|rest| rest.starts_with('/'))
    };
    if nested(&ingress.path, &ingress.ess_path) || nested(&ingress.ess_path, &ingress.path) {
        section.fault(
            "ess_path",
            "must not be, contain or lie below `ingress.path`: the last segment may be a secret",
        );
    }
    section.finish();
    ingress
}

fn tls(mut section: Section) -> Tls {
    let client_ca = section.path("client_ca");
    let client_names = section.list("client_names", "a list of names");
    if client_ca.is_none() && client_names.is_some() {
        section.fault("client_names", "means nothing without `client_ca`");
    }
    let tls = Tls {
        certificate: required_path(&mut section, "certificate"),
        key: required_path(&mut section, "key"),
        client_ca,
        client_names: client_names.unwrap_or_else(|| vec![CONCUR_CLIENT_NAME.to_owned()]),
    };
    section.finish();
    tls
}

fn required_path(section: &mut Section, key: &'static str) -> PathBuf {
    section.path(key).unwrap_or_else(|| {
        section.fault(key, "is missing");
        PathBuf::new()
    })
}

fn auth(mut section: Section) -> Auth {
    let mut ess = section.section("ess");
    let signature_keys: Vec<PathBuf> = ess.list("keys", "a list of PEM files").unwrap_or_default();
    let signature = ess
        .choice(
            "signature",
            &[
                ("enforce", SignatureMode::Enforce),
                ("observe", SignatureMode::Observe),
                ("off", SignatureMode::Off),
            ],
        )
        .unwrap_or(if signature_keys.is_empty() {
            SignatureMode::Off
        } else {
            SignatureMode::Enforce
        });
    if signature != SignatureMode::Off && signature_keys.is_empty() {
        ess.fault(
            "keys",
            "is missing: signatures need at least one key or certificate to be verified with",
        );
    }
    let auth = Auth {
        v1: guard(&mut section),
        ess: guard(&mut ess),
        signature,
        signature_keys,
    };
    ess.finish();
    section.finish();
    auth
}

fn guard(section: &mut Section) -> Guard {
    const NETWORKS: &str = "a list of networks such as \"192.0.2.0/24\"";
    Guard {
        path_secret_file: section.path("path_secret_file"),
        basic_file: section.path("basic_file"),
        allow_from: section.list("allow_from", NETWORKS).unwrap_or_default(),
        trusted_proxies: section
            .list("trusted_proxies", NETWORKS)
            .unwrap_or_default(),
    }
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
    section.finish();
    journal
}

fn kafka(mut section: Section) -> Kafka {
    let mut properties = section.map("properties").unwrap_or_default();
    if let Some(file) = section.path("properties_file") {
        match std::fs::read_to_string(&file) {
            Ok(text) => {
                for line in text
                    .lines()
                    .map(str::trim)
                    .filter(|line| !line.is_empty() && !line.starts_with('#'))
                {
                    match line.split_once('=') {
                        Some((name, value)) => {
                            properties.insert(name.trim().to_owned(), value.trim().to_owned());
                        }
                        None => {
                            section.fault("properties_file", "has a line that is no `name=value`")
                        }
                    }
                }
            }
            Err(error) => section.fault("properties_file", format!("{}: {error}", file.display())),
        }
    }
    for name in properties
        .keys()
        .filter(|name| OWNED_PROPERTIES.contains(&name.as_str()))
    {
        section.fault(
            "properties",
            format!("`{name}` belongs to the bridge and cannot be set"),
        );
    }
    let kafka = Kafka {
        brokers: section
            .string("brokers")
            .unwrap_or("127.0.0.1:9092".to_owned()),
        delivery: section
            .choice(
                "delivery",
                &[
                    ("exactly_once", Delivery::ExactlyOnce),
                    ("at_least_once", Delivery::AtLeastOnce),
                ],
            )
            .unwrap_or(Delivery::ExactlyOnce),
        create_topics: section.boolean("create_topics").unwrap_or(true),
        partitions: section.integer("partitions", 1..=100_000).unwrap_or(6) as i32,
        replication_factor: section
            .integer("replication_factor", -1..=1_000)
            .unwrap_or(-1) as i32,
        transactional_id_prefix: section
            .string("transactional_id_prefix")
            .unwrap_or("concur-bridge".to_owned()),
        properties: Properties(properties),
    };
    if kafka.brokers.trim().is_empty() {
        section.fault("brokers", "names no broker");
    }
    if kafka.replication_factor == 0 {
        section.fault(
            "replication_factor",
            "must be -1 (the broker's default) or at least 1",
        );
    }
    if !is_instance(&kafka.transactional_id_prefix) {
        section.fault(
            "transactional_id_prefix",
            "must be 1 to 128 letters, digits, dots, dashes or underscores",
        );
    }
    section.finish();
    kafka
}

fn topics(mut section: Section) -> Topics {
    let mut topic = |key: &'static str, default: &str| {
        let name = section.string(key).unwrap_or(default.to_owned());
        if !is_topic(&name) {
            section.fault(key, NO_TOPIC);
        }
        name
    };
    let mut topics = Topics {
        itinerary: topic("itinerary", "concur.itinerary"),
        fop: topic("fop", "concur.fop"),
        profile: topic("profile", "concur.profile"),
        other: topic("other", "concur.other"),
        quarantine: topic("quarantine", "concur.quarantine"),
        positions: topic("positions", "concur.bridge.positions"),
        routes: Default::default(),
    };
    topics.routes = section.map("routes").unwrap_or_default();
    if topics.routes.values().any(|name| !is_topic(name)) {
        section.fault("routes", NO_TOPIC);
    }
    let events = [
        &topics.itinerary,
        &topics.fop,
        &topics.profile,
        &topics.other,
        &topics.quarantine,
    ];
    if events
        .into_iter()
        .chain(topics.routes.values())
        .any(|name| *name == topics.positions)
    {
        section.fault("positions", "must be a topic of its own");
    }
    section.finish();
    topics
}

const NO_TOPIC: &str =
    "must be a Kafka topic: 1 to 249 letters, digits, dots, dashes or underscores";

fn is_topic(name: &str) -> bool {
    (1..=249).contains(&name.len())
        && name != "."
        && name != ".."
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
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

fn subscription(mut section: Section) -> Subscription {
    let mut text = |key: &'static str| {
        section.string(key).unwrap_or_else(|| {
            section.fault(key, "is missing");
            String::new()
        })
    };
    let subscription = Subscription {
        id: text("id"),
        topic: text("topic"),
        filter: text("filter"),
        endpoint: text("endpoint"),
    };
    section.finish();
    subscription
}

/// What ties sections together.
fn rules(config: &Config, root: &Section) {
    if config.ingress.listen == config.admin.listen && config.admin.listen.port() != 0 {
        root.fault(
            "admin.listen",
            "must not be the address of `ingress.listen`",
        );
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

const ADDRESS: &str = "an address and port such as \"127.0.0.1:8080\"";

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
