//! How fast a backlog drains into Kafka, and what that costs in memory: `cargo bench --bench publish_drain [-- RECORDS]`
//! with `KAFKA_BOOTSTRAP` set. Records are made as they are read, so memory is the publisher's alone; events have 550 bytes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use concur_bridge::clock::SystemClock;
use concur_bridge::config::{Delivery, EventsMode, Kafka, Properties, Topics};
use concur_bridge::event::EventType;
use concur_bridge::publish::{Backlog, BacklogError, Lineage, Publisher, Settings};
use concur_bridge::record::{Placed, Position, Record};
use uuid::Uuid;

/// A journal that has so many records.
struct Generated {
    journal: Uuid,
    records: u64,
    content: Bytes,
}

impl Backlog for Generated {
    fn journal(&self) -> Uuid {
        self.journal
    }

    fn generation(&self) -> u64 {
        1
    }

    fn lineage(&self) -> Lineage {
        Lineage {
            run: self.journal,
            before: Vec::new(),
        }
    }

    fn published(&self) -> (Position, Option<i64>) {
        (Position(0), None)
    }

    fn wait_beyond(&self, position: Position, timeout: Duration) -> Position {
        if self.records <= position.0 {
            std::thread::park_timeout(timeout);
        }
        Position(self.records)
    }

    fn read(
        &mut self,
        after: Position,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Placed>, BacklogError> {
        let fitting = max_records.min(max_bytes / self.content.len()) as u64;
        let last = self.records.min(after.0 + fitting);
        Ok((after.0 + 1..=last).map(|n| self.placed(n)).collect())
    }

    fn mark_published(&mut self, _position: Position, _offset_hint: Option<i64>) {}

    fn crc_at(&mut self, position: Position) -> Result<Option<u32>, BacklogError> {
        Ok(Some(position.0 as u32))
    }

    fn renew_uuid(&mut self, _after: Position) -> Result<Uuid, BacklogError> {
        Ok(self.journal)
    }

    fn quarantine_oversized(&mut self, _record: &Placed) -> Result<(), BacklogError> {
        Ok(())
    }

    fn cluster_id(&self) -> Option<String> {
        None
    }

    fn bind_cluster(&mut self, _cluster_id: &str) -> Result<(), BacklogError> {
        Ok(())
    }
}

impl Generated {
    fn placed(&self, n: u64) -> Placed {
        Placed {
            journal: self.journal,
            position: Position(n),
            crc: n as u32,
            record: Record {
                id: format!("0199f3c2-0000-7000-8000-{n:012}"),
                kind: EventType::ItineraryCreated,
                key: Some(format!("trip-{}", n % 1_000)),
                received_at: jiff::Timestamp::UNIX_EPOCH,
                traceparent: None,
                correlation_id: None,
                ess_topic: None,
                quarantine: None,
                // A copy, as reading a database makes one.
                content: Bytes::copy_from_slice(&self.content),
            },
        }
    }
}

fn main() {
    let Ok(brokers) = std::env::var("KAFKA_BOOTSTRAP") else {
        println!("skipped: needs dev/kafka");
        return;
    };
    let number = std::env::args().skip(1).find_map(|text| text.parse().ok());
    let records = number.unwrap_or(1_000_000);
    for delivery in [Delivery::ExactlyOnce, Delivery::AtLeastOnce] {
        let (rate, resident) = drain(&brokers, delivery, records);
        println!("{delivery:?}: {rate:.0} events/s, {resident} MiB resident at most");
    }
}

/// Events per second from the first that is published to the last, and the peak of resident memory in MiB.
fn drain(brokers: &str, delivery: Delivery, records: u64) -> (f64, u64) {
    let name = |what: &str| format!("bench.{what}");
    let own = Uuid::new_v4();
    let properties = std::env::var("PROPERTIES").unwrap_or_default();
    let settings = Settings {
        instance: own.to_string(),
        kafka: Kafka {
            brokers: brokers.to_owned(),
            delivery,
            create_topics: true,
            partitions: 6,
            replication_factor: -1,
            transactional_id_prefix: "bench".to_owned(),
            properties: Properties(
                properties
                    .split_whitespace()
                    .filter_map(|pair| pair.split_once('='))
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect(),
            ),
        },
        topics: Topics {
            itinerary: name(&own.to_string()),
            fop: name("fop"),
            profile: name("profile"),
            other: name("other"),
            quarantine: name("quarantine"),
            positions: name("positions"),
            routes: BTreeMap::new(),
        },
        mode: EventsMode::Structured,
    };
    let backlog = Generated {
        journal: own,
        records,
        content: Bytes::from(format!(
            r#"{{"source":"/concur/v1/company","data":"{}"}}"#,
            "0123456789".repeat(50)
        )),
    };
    #[expect(
        clippy::expect_used,
        reason = "a bench without its thread has nothing to measure"
    )]
    let publisher = Publisher::spawn(&settings, backlog, Arc::new(SystemClock)).expect("a thread");
    let published = || publisher.status().published().0;
    while published() == 0 {
        std::thread::park_timeout(Duration::from_millis(1));
    }
    let (begun, first) = (Instant::now(), published());
    while published() < records {
        std::thread::park_timeout(Duration::from_millis(1));
    }
    let rate = (records - first) as f64 / begun.elapsed().as_secs_f64();
    publisher.stop(Duration::from_secs(5));
    (rate, peak_resident_mib())
}

fn peak_resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|kib| kib.parse::<u64>().ok())
        .map_or(0, |kib| kib / 1024)
}
