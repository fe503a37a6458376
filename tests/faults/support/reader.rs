//! The reader: consumers' side of the oracle, with `isolation.level=read_committed`.
//!
//! [`Follower`] reads in a thread while the fault happens, to see what a consumer sees. [`read_all`] reads everything
//! once more afterwards, from the beginning to the end of every partition; what it returns is what is judged.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use super::failure::{Failure, Outcome};
use super::observed::{Inspector, Message, Observed};
use super::traffic::Tag;

/// How often topics and partitions are looked for that were not there before.
const DISCOVERY_PERIOD: Duration = Duration::from_millis(500);

/// How long [`read_all`] may go without progress.
const PATIENCE: Duration = Duration::from_secs(90);

/// What to read.
#[derive(Clone)]
pub struct Source {
    /// The brokers' direct listeners: what is done to the bridge's connections must not touch the reader.
    pub bootstrap: String,
    /// Every topic of the bridge, quarantine included, positions not.
    pub topics: Vec<String>,
    /// The judge of each message.
    pub inspector: Arc<Inspector>,
}

impl Source {
    fn consumer(&self) -> Outcome<BaseConsumer> {
        Ok(ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap)
            .set("group.id", "fault-reader")
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .set("reconnect.backoff.max.ms", "500")
            .set("topic.metadata.refresh.interval.ms", "1000")
            .set("fetch.wait.max.ms", "50")
            .set("fetch.queue.backoff.ms", "10")
            .create()?)
    }

    /// Assigns every partition that exists and is not in `assigned`, from its beginning.
    fn assign_new(
        &self,
        consumer: &BaseConsumer,
        assigned: &mut HashSet<(String, i32)>,
    ) -> Outcome {
        let mut new = TopicPartitionList::new();
        for topic in &self.topics {
            let Ok(metadata) = consumer.fetch_metadata(Some(topic), Duration::from_secs(2)) else {
                continue;
            };
            for partition in metadata
                .topics()
                .iter()
                .filter(|topic| topic.error().is_none())
                .flat_map(|t| t.partitions())
            {
                if assigned.insert((topic.clone(), partition.id())) {
                    new.add_partition_offset(topic, partition.id(), Offset::Beginning)?;
                }
            }
        }
        if new.count() > 0 {
            consumer.incremental_assign(&new)?;
        }
        Ok(())
    }
}

fn plain<'a>(message: &'a BorrowedMessage<'_>) -> Message<'a> {
    let headers = message.headers().map(|headers| {
        headers
            .iter()
            .map(|header| (header.key, header.value.unwrap_or_default()))
            .collect()
    });
    Message {
        topic: message.topic(),
        partition: message.partition(),
        offset: message.offset(),
        key: message.key(),
        headers: headers.unwrap_or_default(),
        payload: message.payload().unwrap_or_default(),
    }
}

/// Reads everything, from the beginning to the end of every partition. The end is that of the moment it is reached: the
/// bridge is to be stopped before.
pub fn read_all(source: &Source) -> Outcome<Vec<Observed>> {
    let consumer = source.consumer()?;
    let mut assigned = HashSet::new();
    let start = Instant::now();
    while assigned.is_empty() {
        source.assign_new(&consumer, &mut assigned)?;
        if assigned.is_empty() && start.elapsed() > Duration::from_secs(5) {
            return Ok(Vec::new());
        }
    }
    // `PartitionEOF` names no topic; but nothing is written any more, so every partition ends exactly once.
    let mut ended = 0;
    let mut read = Vec::new();
    let mut progress = Instant::now();
    while ended < assigned.len() {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                read.push(source.inspector.inspect(&plain(&message)));
                progress = Instant::now();
            }
            Some(Err(KafkaError::PartitionEOF(_))) => {
                ended += 1;
                progress = Instant::now();
            }
            Some(Err(_)) | None if progress.elapsed() < PATIENCE => {}
            Some(Err(error)) => return Err(error.into()),
            None => {
                return Err(Failure(format!(
                    "the reader reached the end of {ended} of {} partitions",
                    assigned.len()
                )));
            }
        }
    }
    Ok(read)
}

/// A reader that runs.
pub struct Follower {
    shared: Arc<Shared>,
    thread: JoinHandle<Outcome>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    begin_anew: AtomicBool,
    read: Mutex<Vec<Observed>>,
    tags: Mutex<HashSet<Tag>>,
}

impl Follower {
    /// Starts to read `source`.
    pub fn start(source: Source) -> Self {
        let shared = Arc::new(Shared::default());
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || follow(&source, &shared)
        });
        Self { shared, thread }
    }

    /// How many events were read.
    pub fn count(&self) -> usize {
        self.shared
            .read
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// How many of `tags` were not read yet.
    pub fn missing<'a>(&self, tags: impl IntoIterator<Item = &'a Tag>) -> usize {
        let seen = self
            .shared
            .tags
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        tags.into_iter().filter(|tag| !seen.contains(tag)).count()
    }

    /// Reads on with another consumer: from the beginning, passing over what was read. Errors that a mock cluster gives to everybody may leave a
    /// partition of librdkafka's consumer without a fetch for good.
    pub fn begin_anew(&self) {
        self.shared.begin_anew.store(true, Ordering::Relaxed);
    }

    /// Stops, and returns what was read, in the order of each partition.
    pub fn finish(self) -> Outcome<Vec<Observed>> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .map_err(|_| Failure("the reader panicked".into()))??;
        let mut read = self
            .shared
            .read
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::take(&mut *read))
    }
}

fn follow(source: &Source, shared: &Shared) -> Outcome {
    let mut consumer = source.consumer()?;
    let mut assigned = HashSet::new();
    let mut discovery: Option<Instant> = None;
    // A broker that comes back may have its consumers begin again at the beginning, as a new consumer does.
    let mut next: HashMap<(String, i32), i64> = HashMap::new();
    while !shared.stop.load(Ordering::Relaxed) {
        if shared.begin_anew.swap(false, Ordering::Relaxed) {
            consumer = source.consumer()?;
            assigned.clear();
            discovery = None;
        }
        if discovery.is_none_or(|at| at.elapsed() > DISCOVERY_PERIOD * (1 + assigned.len() as u32))
        {
            source.assign_new(&consumer, &mut assigned)?;
            discovery = Some(Instant::now());
        }
        // Errors are brokers that are down: that is the fault, not the reader's end.
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(20)) {
            let place = (message.topic().to_owned(), message.partition());
            let next = next.entry(place).or_default();
            if message.offset() < *next {
                continue;
            }
            *next = message.offset() + 1;
            let event = source.inspector.glance(&plain(&message));
            if let Some(tag) = event.tag {
                shared
                    .tags
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(tag);
            }
            shared
                .read
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(event);
        }
    }
    Ok(())
}
