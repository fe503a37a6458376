//! A Concur to try things with: it can be subscribed to, posts what happens, and serves what it posted about.
//!
//! **What it does.** A [`story`] of trips, payments and profiles in a seeded [`world`] is told to whoever subscribed:
//! v1 postbacks to the registered postback URL. [`desk`] answers the subscription APIs and serves trips and travel
//! profiles in Concur's documents.
//!
//! **Promises.** News of one trip arrive in their order. The same seed tells the same story. The sender is never the
//! bottleneck: over 20,000 postbacks/s on loopback. Nothing is kept that grows with the number of postbacks.
//!
//! **When it fails.** A receiver that is away costs v1 postbacks, as with Concur; see [`lane`] for the retry rules. All
//! that happens is in the [`Summary`] and, request by request, goes to the [`Observer`].
//!
//! **What it leaves to others.** Printing and signals: `cli/simulate.rs`, `demo`.

mod connector;
mod desk;
mod dice;
mod dispatch;
mod documents;
mod lane;
mod parcel;
mod registry;
mod story;
mod tally;
mod target;
mod v1;
mod world;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use dispatch::{Clock, Faults};
pub use lane::Observer;
pub use parcel::{Answer, Outcome, Parcel};
pub use story::{News, TripChange, What};
pub use tally::{Latency, Summary};
pub use target::{BadTarget, Target};
pub use v1::Malformation;
pub use world::{Company, Traveller, Trip, World};

use crate::concur::notifications::{Feature, Level};
use connector::Connector;
use dispatch::Dispatcher;
use lane::Lane;
use registry::{Channel, Registry};
use story::{SoFar, Story};
use tally::Tally;

/// Where the URLs of trips lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectBase {
    /// To Concur, as the page shows them.
    Concur,
    /// To the simulator's own resources, so that they can be fetched.
    Own,
    /// Elsewhere; without a slash at the end.
    Url(String),
}

/// Parcels that wait in front of a lane: enough that lanes do not starve, few enough that a stop is quick.
const WAITING: usize = 16;

/// How a simulated Concur behaves. Start from [`Simulator::new`] and change what matters.
#[derive(Clone)]
pub struct Simulator {
    /// Address of the APIs and resources; `None`: there are none.
    pub listen: Option<SocketAddr>,
    /// The registered postback URL of v1; `None`: nothing is posted.
    pub target: Option<Target>,
    /// What is subscribed to at the start.
    pub subscribed: Vec<(Level, Feature)>,
    /// Pieces of news a second; `None`: as fast as they are taken.
    pub rate: Option<f64>,
    /// Pieces of news in all; `None`: until stopped.
    pub count: Option<u64>,
    /// Connections, each with one request under way.
    pub connections: usize,
    /// Tells stories apart.
    pub seed: u64,
    /// The time of news.
    pub clock: Clock,
    /// Faults on demand.
    pub faults: Faults,
    /// Where the URLs of trips lead.
    pub object_base: ObjectBase,
    /// Sees every request and what came of it.
    pub observer: Option<Observer>,
}

/// A simulated Concur at work.
pub struct Running {
    address: Option<SocketAddr>,
    /// Whether there is an end to wait for.
    has_end: bool,
    tally: Arc<Tally>,
    senders: JoinSet<()>,
    desk: JoinSet<()>,
    stop: CancellationToken,
}

impl Simulator {
    /// A Concur with an API on a free loopback port, ten pieces of news a second, everything subscribed to at company
    /// level, nobody to post to.
    pub fn new(seed: u64) -> Self {
        Self {
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
            target: None,
            subscribed: Feature::ALL
                .map(|feature| (Level::Company, feature))
                .to_vec(),
            rate: Some(10.0),
            count: None,
            connections: 16,
            seed,
            clock: Clock::Wall,
            faults: Faults::default(),
            object_base: ObjectBase::Concur,
            observer: None,
        }
    }

    /// Binds and begins. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn start(self) -> std::io::Result<Running> {
        let world = World::new(self.seed);
        let so_far = Arc::new(SoFar::default());
        let channels = self
            .subscribed
            .iter()
            .map(|(level, feature)| Channel::V1(*level, *feature))
            .collect();
        let registry = Registry::new(channels);
        let stop = CancellationToken::new();
        let has_end = self
            .count
            .is_some_and(|count| count == 0 || self.target.is_some());
        let tally = Arc::new(Tally::new());

        let mut desk = JoinSet::new();
        let mut address = None;
        if let Some(listen) = self.listen {
            let listener = TcpListener::bind(listen).await?;
            address = Some(listener.local_addr()?);
            let router = desk::router(world, Arc::clone(&so_far), registry.clone());
            let stop = stop.clone();
            desk.spawn(async move {
                // It ends with the stop; an accept error only costs that connection.
                let _ = axum::serve(listener, router)
                    .with_graceful_shutdown(stop.cancelled_owned())
                    .await;
            });
        }

        let mut senders = JoinSet::new();
        if self.target.is_some() {
            let mut lanes = Vec::new();
            let connector = Arc::new(Connector);
            for _ in 0..self.connections.max(1) {
                let (sender, parcels) = mpsc::channel(WAITING);
                lanes.push(sender);
                let lane = Lane {
                    parcels,
                    connector: Arc::clone(&connector),
                    tally: Arc::clone(&tally),
                    observer: self.observer.clone(),
                    stop: stop.clone(),
                    open: Vec::new(),
                };
                senders.spawn(lane.run());
            }
            let dispatcher = Dispatcher {
                world,
                story: Story::new(world, so_far),
                channels: registry.watch(),
                v1_target: self.target.map(Arc::new),
                object_base: self.object_base.resolve(address),
                faults: self.faults,
                clock: self.clock,
                rate: self.rate,
                count: self.count,
                lanes,
                stop: stop.clone(),
            };
            senders.spawn(dispatcher.run());
        }
        Ok(Running {
            address,
            has_end,
            tally,
            senders,
            desk,
            stop,
        })
    }
}

impl ObjectBase {
    fn resolve(self, own: Option<SocketAddr>) -> String {
        match (self, own) {
            (Self::Url(url), _) => url,
            (Self::Own, Some(address)) => format!("http://{address}"),
            (Self::Own, None) | (Self::Concur, _) => "https://www.concursolutions.com".to_owned(),
        }
    }
}

impl Running {
    /// The bound address of the APIs and resources.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// What happened so far.
    pub fn summary(&self) -> Summary {
        self.tally.summary()
    }

    /// Returns when the count is reached and everything answered; never, when there is no count or nobody to post to.
    /// The APIs go on. Cancel safe.
    pub async fn sent_all(&mut self) {
        if !self.has_end {
            std::future::pending::<()>().await;
        }
        while self.senders.join_next().await.is_some() {}
    }

    /// Stops: no more news, no retries; what is under way is answered first.
    pub async fn stop(mut self) -> Summary {
        self.stop.cancel();
        while self.senders.join_next().await.is_some() {}
        let summary = self.tally.summary();
        self.desk.shutdown().await;
        summary
    }
}
