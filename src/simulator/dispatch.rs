//! Hands out the news: decides what happens next, packs it, and gives it to a lane when its time has come.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::dice::Dice;
use super::parcel::Parcel;
use super::registry::Channel;
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
    pub(super) object_base: String,
    pub(super) faults: Faults,
    pub(super) clock: Clock,
    pub(super) rate: Option<f64>,
    pub(super) count: Option<u64>,
    pub(super) lanes: Vec<mpsc::Sender<Parcel>>,
    pub(super) stop: CancellationToken,
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
        let mut pace = Pace::new(self.rate);
        let mut faults = Dice::new(self.world.seed(), &[FAULTS]);
        let mut choice = Dice::new(self.world.seed(), &[CHOICE]);
        let mut handed = 0;
        while self.count.is_none_or(|count| handed < count) {
            let Some(channel) = self.next_channel(&mut choice).await else {
                return;
            };
            pace.wait().await;
            let at = self.time(handed);
            let news = self.story.next(channel.clone(), plot(&channel), at);
            let lane = lane_of(&news, self.lanes.len());
            let Some(parcel) = self.pack(news, &channel, &mut faults) else {
                return;
            };
            if self.lanes[lane].send(parcel).await.is_err() {
                return;
            }
            handed += 1;
        }
    }

    /// One of the channels, trips more often than profiles more often than payments; waits while there is none.
    async fn next_channel(&mut self, choice: &mut Dice) -> Option<Channel> {
        self.channels
            .wait_for(|channels| !channels.is_empty())
            .await
            .ok()?;
        let channels = self.channels.borrow_and_update();
        let mut left = choice.below(channels.iter().map(weight).sum());
        channels
            .iter()
            .find(|channel| {
                let here = left < weight(channel);
                left = left.saturating_sub(weight(channel));
                here
            })
            .cloned()
    }

    fn pack(&self, news: News, channel: &Channel, faults: &mut Dice) -> Option<Parcel> {
        let malformation = faults
            .chance(self.faults.malformed)
            .then(|| Malformation::of_v1(&news, faults));
        let is_doubled = faults.chance(self.faults.duplicate);
        let is_slow = faults.chance(self.faults.slow);
        let mut parcel = match channel {
            Channel::V1(level, _) => {
                let mut message = v1::message(self.world, &news, *level, &self.object_base);
                if let Some(how) = malformation {
                    message = v1::spoil(message, how);
                }
                Parcel::pack(news, Dialect::V1, message, self.v1_target.as_ref()?)?
            }
        };
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

fn plot(channel: &Channel) -> Plot {
    match channel {
        Channel::V1(_, Feature::Itinerary) => Plot::Trip,
        Channel::V1(_, Feature::Fop) => Plot::Payment,
        Channel::V1(_, Feature::Profile) => Plot::Profile,
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
