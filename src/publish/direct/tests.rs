use super::super::cluster::Limits;
use super::*;
use crate::clock::ManualClock;
use crate::config::Delivery;
use crate::event::EventType;
use crate::publish::model::settings;

/// A day: librdkafka's own timeout goes by the clock of the machine and never comes.
const ACK_TIMEOUT: Duration = Duration::from_secs(24 * 3_600);

/// Thinks that Kafka is up, and has a producer that reaches nobody.
fn unheard() -> Direct {
    let mut settings = settings(Delivery::AtLeastOnce);
    settings.kafka.brokers = "127.0.0.1:1".to_owned();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new());
    let producer = settings
        .cluster()
        .direct_producer(Limits::default(), ACK_TIMEOUT);
    let status = Status::new(clock.clone());
    status.kafka_is_up();
    Direct {
        shared: Arc::new(Shared {
            composer: Composer::new(settings.topics.clone(), settings.mode, None),
            meters: Meters::new(&settings.topics),
            producer: RwLock::new(Some(producer.unwrap())),
            status,
            stop: Stop::new(clock.clone()),
            clock,
            ack_timeout: ACK_TIMEOUT,
        }),
        ended: watch::channel(()).1,
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_no_broker_acknowledges_is_refused_when_its_time_is_over() {
    let direct = unheard();
    let record = Record {
        id: "id-1".to_owned(),
        kind: EventType::ItineraryCreated,
        key: None,
        received_at: jiff::Timestamp::UNIX_EPOCH,
        traceparent: None,
        correlation_id: None,
        ess_topic: None,
        quarantine: None,
        content: r#"{"source":"/concur/v1/company","data":1}"#.into(),
    };
    let began = tokio::time::Instant::now();
    let refused = direct.append(record).await;
    let text = "no acknowledgement in time".to_owned();
    assert_eq!(refused, Err(DirectError::Unavailable(text)));
    assert_eq!(began.elapsed().as_secs(), ACK_TIMEOUT.as_secs());
}
