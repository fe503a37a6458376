//! Hands out the news: decides what happens next, packs it, and gives it to a lane when its time has come.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::dice::Dice;
use super::ess::{self, Topic};
use super::parcel::Parcel;
use super::registry::Channel;
use super::signing::SigningKey;
use super::story::{News, Plot, Story, What};
use super::target::Target;
use super::v1::{self, Malformation};
use super::world::World;
use crate::concur::notifications::Feature;
use crate::postback::Dialect;

/// Purpose of dice.
const FAULTS: u64 = 20;
const CHOICE: u64 = 21;

/// How far the pace may fall behind before it lets go: a receiver that was away is not flooded afterwards.
const CATCH_UP: Duration = Duration::from_secs(1);

/// Shares of postbacks that are sent wrong, twice or slowly; 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Faults {
    /// Sent twice, byte for byte.
    pub duplicate: f64,
    /// Got wrong.
    pub malformed: f64,
    /// Sent in drops.
    pub slow: f64,
}

/// What the time of news is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// Now.
    Wall,
    /// Made up, one second a piece from this time on, so that a seed sends the same bytes again.
    MadeUp(DateTime),
}

/// Everything that hands out needs.
pub(super) struct Dispatcher {
    pub(super) world: World,
    pub(super) story: Story<Channel>,
    pub(super) channels: watch::Receiver<Vec<Channel>>,
    pub(super) v1_target: Option<Arc<Target>>,
    pub(super) signing: Option<SigningKey>,
    pub(super) bases: Bases,
    pub(super) faults: Faults,
    pub(super) clock: Clock,
    pub(super) rate: Option<f64>,
    pub(super) count: Option<u64>,
    /// Whether all of `count` is packed, and signed, before the first is handed out.
    pub(super) prepare: bool,
    pub(super) lanes: Vec<mpsc::Sender<Parcel>>,
    pub(super) stop: CancellationToken,
}

/// What URLs in postbacks begin with.
#[derive(Debug, Clone)]
pub(super) struct Bases {
    pub(super) v1: String,
    pub(super) v4: String,
}

/// The dice of one run.
struct Chances {
    faults: Dice,
    choice: Dice,
}

impl Dispatcher {
    /// Runs until the count is reached, or the stop. Dropping the lanes' channels then lets them finish.
    pub(super) async fn run(mut self) {
        let stop = self.stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.hand_out() => {}
        }
    }

    async fn hand_out(&mut self) {
        let seed = self.world.seed();
        let mut chances = Chances {
            faults: Dice::new(seed, &[FAULTS]),
            choice: Dice::new(seed, &[CHOICE]),
        };
        let mut prepared = VecDeque::new();
        if let (true, Some(count)) = (self.prepare, self.count) {
            for number in 0..count {
                let Some(parcel) = self.next_parcel(number, &mut chances).await else {
                    return;
                };
                prepared.push_back(parcel);
                // Packing does not wait for anything: let a stop come through.
                tokio::task::yield_now().await;
            }
        }
        let mut pace = Pace::new(self.rate);
        let mut handed = 0;
        while self.count.is_none_or(|count| handed < count) {
            let parcel = match prepared.pop_front() {
                Some(parcel) => parcel,
                None => match self.next_parcel(handed, &mut chances).await {
                    Some(parcel) => parcel,
                    None => return,
                },
            };
            pace.wait().await;
            let lane = lane_of(&parcel.news, self.lanes.len());
            if self.lanes[lane].send(parcel).await.is_err() {
                return;
            }
            handed += 1;
        }
    }

    /// The next piece of news that somebody wants, packed. Waits while nobody is subscribed.
    async fn next_parcel(&mut self, number: u64, chances: &mut Chances) -> Option<Parcel> {
        loop {
            let channel = self.next_channel(&mut chances.choice).await?;
            let at = self.time(number);
            let news = self.story.next(channel.clone(), plot(&channel), at);
            if channel.wants(&news) {
                return self.pack(news, &channel, &mut chances.faults);
            }
        }
    }

    /// One of the channels, trips more often than profiles more often than payments; waits while there is none.
    async fn next_channel(&mut self, choice: &mut Dice) -> Option<Channel> {
        let has_v1 = self.v1_target.is_some();
        let weight = |channel: &Channel| {
            if has_v1 || matches!(channel, Channel::Ess(_)) {
                weight(channel)
            } else {
                0
            }
        };
        let total = |channels: &[Channel]| channels.iter().map(weight).sum::<u64>();
        let channels = self
            .channels
            .wait_for(|channels| total(channels) > 0)
            .await
            .ok()?;
        let mut left = choice.below(total(&channels));
        channels
            .iter()
            .find(|channel| {
                let is_chosen = left < weight(channel);
                left = left.saturating_sub(weight(channel));
                is_chosen
            })
            .cloned()
    }

    fn pack(&self, news: News, channel: &Channel, faults: &mut Dice) -> Option<Parcel> {
        let is_malformed = faults.chance(self.faults.malformed);
        let is_doubled = faults.chance(self.faults.duplicate);
        let is_slow = faults.chance(self.faults.slow);
        let (dialect, target, malformation) = match channel {
            Channel::V1(..) => (
                Dialect::V1,
                self.v1_target.as_ref()?,
                Malformation::of_v1(&news, faults),
            ),
            Channel::Ess(webhook) => (Dialect::Ess, &webhook.target, ess::malformation(faults)),
        };
        let malformation = is_malformed.then_some(malformation);
        let mut message = match channel {
            Channel::V1(level, _) => v1::message(self.world, &news, *level, &self.bases.v1),
            Channel::Ess(webhook) => ess::message(self.world, &news, webhook.topic, &self.bases.v4),
        };
        if let Some(how) = malformation {
            message = v1::spoil(message, how);
        }
        if let (Dialect::Ess, Some(key)) = (dialect, &self.signing) {
            message = ess::sign(message, key);
        }
        let mut parcel = Parcel::pack(news, dialect, message, target)?;
        parcel.malformation = malformation;
        parcel.is_doubled = is_doubled;
        parcel.is_slow = is_slow;
        Some(parcel)
    }

    fn time(&self, handed: u64) -> DateTime {
        match self.clock {
            Clock::Wall => TimeZone::UTC.to_datetime(Timestamp::now()),
            Clock::MadeUp(start) => start.saturating_add(SignedDuration::from_secs(
                i64::try_from(handed).unwrap_or(i64::MAX),
            )),
        }
    }
}

/// Keeps a rate.
struct Pace {
    interval: Option<Duration>,
    due: Instant,
}

impl Pace {
    fn new(rate: Option<f64>) -> Self {
        Self {
            interval: rate.map(|rate| Duration::from_secs_f64(1.0 / rate)),
            due: Instant::now(),
        }
    }

    /// Waits until the next one is due.
    async fn wait(&mut self) {
        let Some(interval) = self.interval else {
            return;
        };
        let now = Instant::now();
        if self.due > now {
            tokio::time::sleep_until(self.due).await;
        } else if now - self.due > CATCH_UP {
            self.due = now;
        }
        self.due += interval;
    }
}

impl Channel {
    fn wants(&self, news: &News) -> bool {
        match self {
            Self::V1(..) => true,
            Self::Ess(webhook) => webhook.filter.wants(ess::event_type(news, webhook.topic)),
        }
    }
}

fn plot(channel: &Channel) -> Plot {
    match channel {
        Channel::V1(_, Feature::Itinerary) => Plot::Trip,
        Channel::V1(_, Feature::Fop) => Plot::Payment,
        Channel::V1(_, Feature::Profile) => Plot::Profile,
        Channel::Ess(webhook) => match webhook.topic {
            Topic::Itinerary => Plot::Trip,
            Topic::TravelProfile | Topic::Identity => Plot::Profile,
        },
    }
}

fn weight(channel: &Channel) -> u64 {
    match plot(channel) {
        Plot::Trip => 6,
        Plot::Profile => 3,
        Plot::Payment => 1,
    }
}

/// The lane of what must stay in order.
fn lane_of(news: &News, lanes: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    match &news.what {
        What::Trip(trip, _) => (0, trip.number).hash(&mut hasher),
        What::Payment | What::Profile => (1, news.traveller.number).hash(&mut hasher),
    }
    usize::try_from(hasher.finish() % lanes as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds that so many waits take.
    async fn seconds(pace: &mut Pace, waits: u32) -> u64 {
        let began = Instant::now();
        for _ in 0..waits {
            pace.wait().await;
        }
        began.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_kept() {
        let mut pace = Pace::new(Some(100.0));
        pace.wait().await;
        assert_eq!(seconds(&mut pace, 1_000).await, 10);
        assert_eq!(seconds(&mut Pace::new(None), 1_000).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pace_that_fell_behind_catches_up_on_one_second_at_most() {
        let mut pace = Pace::new(Some(100.0));
        pace.wait().await;
        tokio::time::advance(CATCH_UP).await;
        assert_eq!(seconds(&mut pace, 100).await, 0);
        assert_eq!(seconds(&mut pace, 1_000).await, 10);
        tokio::time::advance(CATCH_UP * 5).await;
        assert_eq!(seconds(&mut pace, 1_001).await, 10);
    }
}
