//! The publisher against a broker in memory that has thousands of bad days.
//!
//! One run: a journal, a broker, and processes that publish from the one to the other and are killed, stopped, fenced and
//! lied to at random, among them twins on copies of the journal, until the faults end and everything must be out. The
//! oracle is what a reader of `read_committed` sees: every record of the journal that remains once and in order, and of
//! processes with one identity exactly one goes on ([`Promise`] has the other two plays).
//!
//! A failure prints its seed. `CONCUR_BRIDGE_MODEL_SEED=n cargo test --lib publish::model` replays it alone,
//! `CONCUR_BRIDGE_MODEL_RUNS=n` sets how many runs are played.

mod broker;
mod journal;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use broker::{Killed, ModelCluster, Promise, Shared};
use journal::ModelJournal;

use super::engine::{Engine, Pacing};
use super::status::Status;
use super::stop::Stop;
use super::{End, Settings};
use crate::clock::{Clock, ManualClock};
use crate::config::{Delivery, EventsMode, Kafka, Properties, Topics};

/// Some seconds of a debug build.
const RUNS: u64 = 2_000;
/// More lives than any run needs: a run that uses them up does not get anywhere.
const LIVES: u32 = 2_000;

pub(super) fn settings(delivery: Delivery) -> Settings {
    let topic = |name: &str| format!("model.{name}");
    Settings {
        instance: "bridge-0".to_owned(),
        kafka: Kafka {
            brokers: String::new(),
            delivery,
            create_topics: true,
            partitions: 1,
            replication_factor: 1,
            transactional_id_prefix: "model".to_owned(),
            properties: Properties::default(),
        },
        topics: Topics {
            itinerary: topic("itinerary"),
            fop: topic("fop"),
            profile: topic("profile"),
            other: topic("other"),
            quarantine: topic("quarantine"),
            positions: topic("positions"),
            routes: BTreeMap::new(),
        },
        mode: EventsMode::Structured,
    }
}

/// No waiting; what takes time either is given up at once or goes on for as long as it takes.
fn pacing(world: &Shared) -> Pacing {
    let patience = |patient| {
        if patient {
            Duration::from_secs(3_600)
        } else {
            Duration::ZERO
        }
    };
    Pacing {
        max_records: world.pick(1..=6),
        max_bytes: 10_000,
        rest_ratio: 0,
        max_rest: Duration::ZERO,
        idle: Duration::ZERO,
        poll: Duration::ZERO,
        slice: Duration::ZERO,
        stall: patience(world.chance(0.9)),
        init_timeout: patience(world.chance(0.5)),
        commit_timeout: patience(world.chance(0.5)),
        abort_timeout: Duration::ZERO,
        pause: Duration::ZERO,
        backoff: Duration::ZERO,
        backoff_max: Duration::ZERO,
    }
}

/// One life of the process: until it is stopped or fenced; `None` when it was killed.
fn live(settings: &Settings, world: &Shared, journal: &ModelJournal) -> Option<End> {
    // It stands still: what takes time is chance.
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new());
    let stop = Stop::new(clock.clone());
    let engine = Engine::new(
        settings,
        pacing(world),
        ModelCluster::new(world.clone()),
        journal.opened(stop.clone()),
        Status::new(clock.clone()),
        stop,
        clock,
    );
    match catch_unwind(AssertUnwindSafe(|| engine.run())) {
        Ok(end) => Some(end),
        Err(payload) if payload.is::<Killed>() => None,
        Err(payload) => resume_unwind(payload),
    }
}

/// All lives on one journal.
fn perform(world: &Shared, journal: &ModelJournal) {
    let settings = settings(world.delivery());
    for _ in 0..LIVES {
        match live(&settings, world, journal) {
            None => {
                journal.killed();
                world.leave(false);
            }
            Some(End::Stopped { .. }) => world.leave(world.is_calm() && journal.all_published()),
            Some(End::Fenced) => return world.leave_for_good(),
            Some(end @ (End::Backlog(_) | End::Died)) => panic!("it ended with {end:?}"),
        }
    }
    panic!("it does not get everything out");
}

fn play(seed: u64, promise: Promise) {
    let world = Shared::new(seed, promise);
    let journal = ModelJournal::new(world.clone());
    let remaining = world.play(journal, promise == Promise::ExactlyOnce);
    world.judge(&remaining);
}

fn play_many(promise: Promise) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    if let Some(seed) = number("CONCUR_BRIDGE_MODEL_SEED") {
        return play(seed, promise);
    }
    let first: u64 = rand::random_range(0..u64::MAX / 2);
    for seed in first..first + number("CONCUR_BRIDGE_MODEL_RUNS").unwrap_or(RUNS) {
        if let Err(payload) = catch_unwind(|| play(seed, promise)) {
            #[expect(clippy::print_stderr, reason = "a failing run says how to replay it")]
            {
                eprintln!(
                    "replay with: CONCUR_BRIDGE_MODEL_SEED={seed} cargo test --lib publish::model"
                );
            }
            resume_unwind(payload);
        }
    }
}

#[test]
fn exactly_once_holds_on_thousands_of_bad_days() {
    play_many(Promise::ExactlyOnce);
}

#[test]
fn at_least_once_skips_nothing_on_thousands_of_bad_days() {
    play_many(Promise::AtLeastOnce);
}

#[test]
fn restored_backups_start_loudly_skip_nothing_and_never_use_a_position_twice() {
    play_many(Promise::NothingSkipped);
}
