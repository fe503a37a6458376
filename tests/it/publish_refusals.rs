//! What does the publisher do about that which Kafka refuses for good?

use crate::publish::{
    assert_published_once, end_of, start, wait_published, wait_until_nothing_is_degraded,
};
use crate::support::backlog::{MemoryBacklog, itinerary_of};
use crate::support::kafka::{Operator, SOON, bootstrap_or_skip, read_committed, settings};

#[test]
fn a_record_too_large_for_its_topic_becomes_a_stub_and_is_kept_whole() {
    let Some(bootstrap) = bootstrap_or_skip() else {
        return;
    };
    // With compression the size at the broker is known to the broker alone: random-like padding stays large.
    for codec in ["none", "lz4"] {
        let mut settings = settings(&bootstrap);
        let codec = ("compression.type".to_owned(), codec.to_owned());
        settings.kafka.properties.0.extend([codec]);
        let limit = [("max.message.bytes", "20000")];
        Operator::at(&bootstrap).create_topic(&settings.topics.itinerary, &limit);
        let backlog = MemoryBacklog::new();
        let mut ids = backlog.append_events(0, 30);
        let mut oversized = itinerary_of(30, 0);
        let noise: String = (0..1_500)
            .map(|_| uuid::Uuid::new_v4().to_string())
            .collect();
        oversized.content = format!(r#"{{"source":"/concur/v1/company","data":"{noise}"}}"#).into();
        ids.push(oversized.id.clone());
        let culprit = backlog.append(oversized);
        ids.extend(backlog.append_events(31, 30));
        let publisher = start(&settings, &backlog);
        wait_published(&publisher, backlog.last());
        assert_eq!(backlog.quarantined(), [culprit]);
        wait_until_nothing_is_degraded(&publisher);
        end_of(publisher, SOON);
        assert_published_once(&settings, &ids);
        let consumed = read_committed(&bootstrap, &settings.topics.itinerary);
        let stubs: Vec<u64> = consumed
            .iter()
            .filter(|message| message.headers["ce_type"] == "com.concur.quarantined")
            .map(|message| message.position())
            .collect();
        assert_eq!(stubs, [culprit.0]);
    }
}
