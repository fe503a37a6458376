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
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use super::failure::{Doing, Failure, Outcome};
use super::observed::{Inspector, Message, Observed};
use super::patience::patience;
use super::traffic::Tag;
use super::wait;

/// How often topics and partitions are looked for that were not there before.
const DISCOVERY_PERIOD: Duration = Duration::from_millis(500);

/// How long [`read_all`] may go without progress.
const READ_LIMIT: Duration = Duration::from_secs(90);

/// How long the brokers may take to name the partitions of a topic.
const METADATA_LIMIT: Duration = Duration::from_secs(2);

/// How long a follower may take to let go of its consumer.
const PAUSE_LIMIT: Duration = Duration::from_secs(30);

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

    /// Assigns every partition that exists and is not in `assigned`, from its `next` offset or its beginning. Returns
    /// whether the brokers told of every topic which partitions it has, or that there is no such topic.
    fn assign_new(
        &self,
        consumer: &BaseConsumer,
        assigned: &mut HashSet<(String, i32)>,
        next: &HashMap<(String, i32), i64>,
    ) -> Outcome<bool> {
        let mut new = TopicPartitionList::new();
        let mut all_told = true;
        for topic in &self.topics {
            let metadata = consumer.fetch_metadata(Some(topic), patience(METADATA_LIMIT));
            let found = metadata.as_ref().ok().and_then(|all| all.topics().first());
            match found.map(|found| (found, found.error())) {
                Some((found, None)) => {
                    for partition in found.partitions() {
                        let place = (topic.clone(), partition.id());
                        let from = next.get(&place);
                        let from = from.map_or(Offset::Beginning, |next| Offset::Offset(*next));
                        if assigned.insert(place) {
                            new.add_partition_offset(topic, partition.id(), from)?;
                        }
                    }
                }
                Some((_, Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART))) => {}
                Some((_, Some(_))) | None => all_told = false,
            }
        }
        if new.count() > 0 {
            consumer.incremental_assign(&new)?;
        }
        Ok(all_told)
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
    // What is not assigned would count as lost.
    wait::until(READ_LIMIT, "the partitions of all topics", || {
        let all_told = source.assign_new(&consumer, &mut assigned, &HashMap::new())?;
        Ok((all_told && !assigned.is_empty()).then_some(()))
    })?;
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
            Some(Err(_)) | None if progress.elapsed() < patience(READ_LIMIT) => {}
            Some(Err(error)) => return Err(error.into()),
            None => {
                return Err(Failure::not_shown(format!(
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
    pause: AtomicBool,
    paused: AtomicBool,
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

    /// Lets go of its consumer: until [`Self::read_on`] no request of it reaches a broker. Errors that a mock cluster gives
    /// to whoever asks next are then left for the bridge.
    pub fn pause(&self) -> Outcome {
        self.shared.pause.store(true, Ordering::SeqCst);
        wait::until_true(PAUSE_LIMIT, "the reader to pause", || {
            self.shared.paused.load(Ordering::SeqCst)
        })
    }

    /// Reads on, with another consumer, from where the one before was.
    pub fn read_on(&self) -> Outcome {
        self.shared.pause.store(false, Ordering::SeqCst);
        wait::until_true(PAUSE_LIMIT, "the reader to read on", || {
            !self.shared.paused.load(Ordering::SeqCst)
        })
    }

    /// Stops, and returns what was read, in the order of each partition.
    pub fn finish(self) -> Outcome<Vec<Observed>> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .map_err(|_| Failure::not_shown("the reader panicked"))?
            .doing("reading during the fault")?;
        let mut read = self
            .shared
            .read
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::take(&mut *read))
    }
}

fn follow(source: &Source, shared: &Shared) -> Outcome {
    // A broker that comes back may have its consumers begin again at the beginning, as a new consumer does.
    let mut next: HashMap<(String, i32), i64> = HashMap::new();
    while !shared.stop.load(Ordering::Relaxed) {
        follow_until_paused(source, shared, &mut next)?;
        shared.paused.store(true, Ordering::SeqCst);
        while shared.pause.load(Ordering::SeqCst) && !shared.stop.load(Ordering::Relaxed) {
            wait::pause(Duration::from_millis(5));
        }
        shared.paused.store(false, Ordering::SeqCst);
    }
    Ok(())
}

/// Reads with one consumer until the follower is to pause or to stop. `next` is the offset of each partition from which on
/// nothing was read yet.
fn follow_until_paused(
    source: &Source,
    shared: &Shared,
    next: &mut HashMap<(String, i32), i64>,
) -> Outcome {
    let consumer = source.consumer()?;
    let mut assigned = HashSet::new();
    let mut discovery: Option<Instant> = None;
    while !shared.stop.load(Ordering::Relaxed) && !shared.pause.load(Ordering::SeqCst) {
        if discovery.is_none_or(|at| at.elapsed() > DISCOVERY_PERIOD * (1 + assigned.len() as u32))
        {
            source.assign_new(&consumer, &mut assigned, next)?;
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
