//! Does the start sequence come to an end on a positions topic that others never stop writing to?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use concur_bridge::publish::End;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::publish::{outcome, start, wait_published};
use crate::support::backlog::MemoryBacklog;
use crate::support::kafka::{SOON, bootstrap_or_skip, settings};

/// Neighbours that commit to a topic without a pause, so that at each moment one of them has a transaction open.
struct Neighbours {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Neighbours {
    fn on(bootstrap: &str, topic: &str) -> Self {
        let pair = ["a", "b"].map(|name| {
            let producer: BaseProducer = ClientConfig::new()
                .set("bootstrap.servers", bootstrap)
                .set("transactional.id", format!("{topic}.{name}"))
                .set("linger.ms", "0")
                .create()
                .unwrap();
            producer.init_transactions(SOON).unwrap();
            producer
        });
        let (stop, topic) = (Arc::new(AtomicBool::new(false)), topic.to_owned());
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut open: Option<&BaseProducer> = None;
            for producer in pair.iter().cycle() {
                producer.begin_transaction().unwrap();
                let record = BaseRecord::to(&topic).key("a neighbour").payload("its own");
                producer.send(record).unwrap();
                producer.flush(SOON).unwrap();
                if let Some(other) = open.replace(producer) {
                    other.commit_transaction(SOON).unwrap();
                }
                if stopped.load(Ordering::Relaxed) {
                    return producer.abort_transaction(SOON).unwrap();
                }
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Neighbours {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_some_and(|ended| ended.is_ok()));
    }
}

#[test]
fn a_start_and_the_leaving_of_a_fenced_process_end_in_seconds_while_neighbours_commit_all_the_time()
{
    let Some(bootstrap) = bootstrap_or_skip() else {
        return;
    };
    let settings = settings(&bootstrap);
    let backlog = MemoryBacklog::new();
    backlog.append_events(0, 20);
    let mut first = start(&settings, &backlog);
    wait_published(&first, backlog.last());
    let _neighbours = Neighbours::on(&bootstrap, &settings.topics.positions);

    // A start with a hint, and one that reads from the beginning.
    for forgets in [false, true] {
        first.stop(SOON);
        outcome(&mut first);
        if forgets {
            backlog.forget_published();
        }
        backlog.append_events(100, 5);
        first = start(&settings, &backlog);
        wait_published(&first, backlog.last());
    }

    let twins = backlog.copy();
    let mut twin = start(&settings, &twins);
    twins.append_events(200, 5);
    wait_published(&twin, twins.last());
    backlog.append_events(300, 1);
    assert_eq!(outcome(&mut first), End::Fenced);
    twin.stop(SOON);
    outcome(&mut twin);
}
