//! `[kafka]` and `[topics]`.

use super::super::reader::Section;
use super::super::{Delivery, Kafka, Properties, Topics};
use super::is_instance;
use crate::publish::property_fault;
use crate::secret::lines;

pub(super) fn kafka(mut section: Section) -> Kafka {
    let mut properties = section.map("properties").unwrap_or_default();
    if let Some(file) = section.path("properties_file") {
        match std::fs::read_to_string(&file) {
            Ok(text) => {
                for line in lines(&text) {
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
    for (name, value) in &properties {
        if let Some(fault) = property_fault(name, value) {
            section.fault("properties", fault);
        }
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

pub(super) fn topics(mut section: Section) -> Topics {
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
    if topics.of_events().any(|name| *name == topics.positions) {
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
