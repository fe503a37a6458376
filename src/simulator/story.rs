//! What happens in a simulated Concur, one piece of news after another.
//!
//! A trip is created, changed some times, and cancelled or travelled; its news come in that order, and all of one trip
//! through one channel. Other trips' news lie between. Which and when is decided by dice alone, so a seed tells the
//! same story again.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::civil::DateTime;
use uuid::Uuid;

use super::dice::Dice;
use super::world::{COMPANIES, TRAVELLERS, Traveller, Trip, World};

/// Purpose of dice.
const STORY: u64 = 10;

/// Trips of one channel that are between creation and end at a time.
const LIVING: usize = 64;

/// A piece of news.
#[derive(Debug, Clone)]
pub struct News {
    /// Which one of the story, from 0.
    pub number: u64,
    /// What happened.
    pub what: What,
    /// Whose data it is.
    pub traveller: Traveller,
    /// When, to the second.
    pub at: DateTime,
    /// An id for formats that have one.
    pub id: Uuid,
    /// An id that ties together what belongs to one change.
    pub correlation_id: Uuid,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum What {
    /// To a trip.
    Trip(Box<Trip>, TripChange),
    /// To a form of payment.
    Payment,
    /// To a travel profile.
    Profile,
}

/// What happened to a trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TripChange {
    /// It was made.
    Created,
    /// Something of it changed; the n-th time.
    Updated(u8),
    /// It will not be travelled.
    Cancelled,
}

/// What the story is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Plot {
    Trip,
    Payment,
    Profile,
}

/// Tells the story. `Channel` keeps the lives of trips apart.
pub(super) struct Story<Channel> {
    world: World,
    dice: Dice,
    told: u64,
    begun: u64,
    living: HashMap<Channel, Vec<Life>>,
    so_far: Arc<SoFar>,
}

#[derive(Debug, Clone, Copy)]
struct Life {
    trip: u64,
    steps: u8,
}

/// How far each trip's life has come: what its resource shows. Bounded: only trips that still have news to come.
#[derive(Debug, Default)]
pub(super) struct SoFar(Mutex<Progress>);

#[derive(Debug, Default)]
struct Progress {
    begun: u64,
    living: HashMap<u64, TripChange>,
}

impl<Channel: Eq + Hash> Story<Channel> {
    pub(super) fn new(world: World, so_far: Arc<SoFar>) -> Self {
        let dice = Dice::new(world.seed(), &[STORY]);
        Self {
            world,
            dice,
            told: 0,
            begun: 0,
            living: HashMap::new(),
            so_far,
        }
    }

    /// The next piece of news, for a channel.
    pub(super) fn next(&mut self, channel: Channel, plot: Plot, at: DateTime) -> News {
        let (what, traveller) = match plot {
            Plot::Trip => {
                let (trip, change) = self.next_of_a_trip(channel);
                let traveller = trip.traveller;
                (What::Trip(Box::new(trip), change), traveller)
            }
            Plot::Payment => (What::Payment, self.dice.below(COMPANIES * TRAVELLERS)),
            Plot::Profile => (What::Profile, self.dice.below(COMPANIES * TRAVELLERS)),
        };
        let number = self.told;
        self.told += 1;
        let traveller = self.world.traveller(traveller);
        News {
            number,
            what,
            traveller,
            at,
            id: self.dice.uuid(),
            correlation_id: self.dice.uuid(),
        }
    }

    fn next_of_a_trip(&mut self, channel: Channel) -> (Trip, TripChange) {
        let living = self.living.entry(channel).or_default();
        let is_new = living.is_empty() || (living.len() < LIVING && self.dice.chance(0.4));
        let index = if is_new {
            living.push(Life {
                trip: self.begun,
                steps: 0,
            });
            self.begun += 1;
            living.len() - 1
        } else {
            usize::try_from(self.dice.below(living.len() as u64)).unwrap_or(0)
        };
        let life = &mut living[index];
        let trip = self.world.trip(life.trip);
        let change = trip.change(life.steps);
        life.steps += 1;
        let is_over = life.steps >= trip.steps();
        if is_over {
            living.swap_remove(index);
        }
        self.so_far.note(&trip, change, is_over);
        (trip, change)
    }
}

impl Trip {
    /// Pieces of news in the trip's life.
    fn steps(&self) -> u8 {
        1 + self.updates + u8::from(self.is_cancelled)
    }

    fn change(&self, step: u8) -> TripChange {
        match step {
            0 => TripChange::Created,
            update if update <= self.updates => TripChange::Updated(update),
            _ => TripChange::Cancelled,
        }
    }

    fn last_change(&self) -> TripChange {
        self.change(self.steps() - 1)
    }
}

impl SoFar {
    /// The latest that happened to a trip, `None` when it has not been made.
    pub(super) fn of(&self, trip: &Trip) -> Option<TripChange> {
        let progress = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if trip.number >= progress.begun {
            return None;
        }
        Some(
            progress
                .living
                .get(&trip.number)
                .copied()
                .unwrap_or_else(|| trip.last_change()),
        )
    }

    fn note(&self, trip: &Trip, change: TripChange, is_over: bool) {
        let mut progress = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        progress.begun = progress.begun.max(trip.number + 1);
        if is_over {
            progress.living.remove(&trip.number);
        } else {
            progress.living.insert(trip.number, change);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: DateTime = jiff::civil::datetime(2026, 1, 5, 12, 0, 0, 0);

    #[test]
    fn a_trip_is_created_before_it_is_updated_before_it_is_cancelled() {
        let so_far = Arc::new(SoFar::default());
        let mut story = Story::new(World::new(3), Arc::clone(&so_far));
        let mut seen: HashMap<u64, (u8, TripChange)> = HashMap::new();
        let mut cancelled = 0;
        for turn in 0..5_000_u32 {
            let news = story.next(turn % 2, Plot::Trip, NOON);
            let What::Trip(trip, change) = news.what else {
                panic!("asked for a trip")
            };
            assert_eq!(so_far.of(&trip), Some(change));
            let fits = match (seen.get(&trip.number), change) {
                (None, TripChange::Created) => true,
                (Some((0, TripChange::Created)), TripChange::Updated(1)) => true,
                (Some((_, TripChange::Updated(last))), TripChange::Updated(this)) => {
                    this == last + 1
                }
                (
                    Some((_, TripChange::Created | TripChange::Updated(_))),
                    TripChange::Cancelled,
                ) => true,
                _ => false,
            };
            assert!(fits, "{change:?} after {:?}", seen.get(&trip.number));
            let steps = seen.get(&trip.number).map_or(0, |(steps, _)| steps + 1);
            seen.insert(trip.number, (steps, change));
            cancelled += u32::from(change == TripChange::Cancelled);
        }
        assert!(
            cancelled > 100 && seen.len() > 1_000,
            "{cancelled} of {}",
            seen.len()
        );
        assert!(so_far.of(&World::new(3).trip(1_000_000)).is_none());
    }

    #[test]
    fn a_seed_tells_the_same_story_again() {
        let tell = |seed| {
            let mut story = Story::new(World::new(seed), Arc::default());
            let plots = [Plot::Trip, Plot::Payment, Plot::Profile];
            (0..50)
                .map(|turn| format!("{:?}", story.next((), plots[turn % 3], NOON)))
                .collect::<Vec<_>>()
        };
        assert_eq!(tell(1), tell(1));
        assert_ne!(tell(1), tell(2));
    }
}
