//! A Concur to try things with: it can be subscribed to, posts what happens, and serves what it posted about.
//!
//! **What it does.** A `story` of trips, payments and profiles in a seeded `world` is told to whoever subscribed:
//! `v1` postbacks to the registered postback URL, `ess` webhooks, signed, to each subscription's endpoint. `desk`
//! answers the subscription APIs and serves trips and profiles in Concur's documents.
//!
//! **Promises.** News of one trip arrive in their order. The same seed tells the same story. The sender is never the
//! bottleneck: over 20,000 postbacks/s on loopback. Nothing is kept that grows with the number of postbacks, except what
//! [`Simulator::prepare`] asks for.
//!
//! **When it fails.** A receiver that is away costs v1 postbacks, as with Concur; ESS events are sent again (`lane`).
//! All that happens is in the [`Summary`] and, request by request, goes to the [`Observer`].
//!
//! **What it leaves to others.** Printing and signals: `cli/simulate.rs`, `demo`.

mod certificates;
mod connector;
mod desk;
mod dice;
mod dispatch;
mod documents;
mod ess;
mod lane;
mod parcel;
mod registry;
mod running;
mod signing;
mod story;
mod tally;
mod target;
mod v1;
mod world;

use std::net::SocketAddr;

pub use certificates::{CLIENT_NAME, Certificates, CertificatesError};
pub use connector::Trust;
pub use dispatch::{Clock, Faults};
pub use ess::Topic;
pub use lane::Observer;
pub use parcel::{Answer, Outcome, Parcel};
pub use running::{Running, StartError};
pub use signing::{Salt, SigningKey, SigningKeyError};
pub use story::{News, TripChange, What};
pub use tally::{Latency, Summary};
pub use target::{BadTarget, Target};
pub use v1::Malformation;
pub use world::{Company, Traveller, Trip, World};

use crate::concur::notifications::{Feature, Level};
use dispatch::Bases;

/// How a simulated Concur behaves. Begin with [`Simulator::new`], change what matters, then [`Simulator::start`].
#[derive(Clone)]
pub struct Simulator {
    /// Address of the APIs and resources; `None`: there are none.
    pub listen: Option<SocketAddr>,
    /// The registered postback URL of v1; `None`: no v1 postbacks.
    pub target: Option<Target>,
    /// What v1 postbacks are subscribed to at the start.
    pub subscribed: Vec<(Level, Feature)>,
    /// The endpoint of the ESS subscriptions at the start; `None`: there are none.
    pub ess_target: Option<Target>,
    /// What ESS events are subscribed to at the start.
    pub ess_topics: Vec<Topic>,
    /// Signs ESS webhooks; `None`: they go out unsigned.
    pub signing: Option<SigningKey>,
    /// How receivers are trusted, and who the simulator says it is.
    pub trust: Trust,
    /// Pieces of news a second; `None`: as fast as they are taken.
    pub rate: Option<f64>,
    /// Pieces of news in all; `None`: until stopped.
    pub count: Option<u64>,
    /// Whether all of `count` is made and signed before the first is sent: signing costs more than sending.
    pub prepare: bool,
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

/// Where the URLs of trips lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectBase {
    /// To Concur, as the pages show them.
    Concur,
    /// To the simulator's own resources, so that they can be fetched.
    Own,
    /// Elsewhere; without a slash at the end.
    Url(String),
}

impl Simulator {
    /// A Concur with its APIs on a free loopback port, ten pieces of news a second, everything of v1 subscribed to at
    /// company level, nobody to post to.
    pub fn new(seed: u64) -> Self {
        Self {
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
            target: None,
            subscribed: Feature::ALL
                .map(|feature| (Level::Company, feature))
                .to_vec(),
            ess_target: None,
            ess_topics: Topic::ALL.to_vec(),
            signing: None,
            trust: Trust::default(),
            rate: Some(10.0),
            count: None,
            prepare: false,
            connections: 16,
            seed,
            clock: Clock::Wall,
            faults: Faults::default(),
            object_base: ObjectBase::Concur,
            observer: None,
        }
    }
}

impl ObjectBase {
    fn resolve(self, own: Option<SocketAddr>) -> Bases {
        match (self, own) {
            (Self::Url(url), _) => Bases {
                v1: url.clone(),
                v4: url,
            },
            (Self::Own, Some(address)) => Bases {
                v1: format!("http://{address}"),
                v4: format!("http://{address}"),
            },
            (Self::Own, None) | (Self::Concur, _) => Bases {
                v1: "https://www.concursolutions.com".to_owned(),
                v4: "https://us.api.concursolutions.com".to_owned(),
            },
        }
    }
}
