//! A simulated Concur at work: its start, its end.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::connector::Connector;
use super::desk;
use super::dispatch::Dispatcher;
use super::lane::Lane;
use super::registry::{Channel, Filter, Registry, Webhook};
use super::story::{SoFar, Story};
use super::tally::{Summary, Tally};
use super::world::World;
use super::{Simulator, Target, Topic};

/// Parcels that wait in front of a lane: enough that lanes do not starve, few enough that a stop is quick.
const WAITING: usize = 16;

/// Why a simulator cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
    /// TLS cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Trust(String),
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
    /// Binds and begins. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(self) -> Result<Running, StartError> {
        let world = World::new(self.seed);
        let so_far = Arc::new(SoFar::default());
        let registry = Registry::new(self.first_channels());
        let stop = CancellationToken::new();
        let tally = Arc::new(Tally::new());
        let is_https = [&self.target, &self.ess_target]
            .into_iter()
            .flatten()
            .any(|target| target.is_https);
        let connector = Arc::new(Connector::new(&self.trust, is_https).map_err(StartError::Trust)?);

        let mut desk = JoinSet::new();
        let mut address = None;
        if let Some(listen) = self.listen {
            let bind = async {
                TcpListener::bind(listen)
                    .await
                    .and_then(|listener| Ok((listener.local_addr()?, listener)))
            };
            let (bound, listener) = bind
                .await
                .map_err(|error| StartError::Listen(listen, error))?;
            address = Some(bound);
            let router = desk::router(world, Arc::clone(&so_far), registry.clone());
            desk.spawn(serve(listener, router, stop.clone()));
        }

        let mut senders = JoinSet::new();
        let mut lanes = Vec::new();
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
        let has_end = self.count.is_some();
        let dispatcher = Dispatcher {
            world,
            story: Story::new(world, so_far),
            channels: registry.watch(),
            v1_target: self.target.map(Arc::new),
            signing: self.signing,
            bases: self.object_base.resolve(address),
            faults: self.faults,
            clock: self.clock,
            rate: self.rate,
            count: self.count,
            prepare: self.prepare,
            lanes,
            stop: stop.clone(),
        };
        senders.spawn(dispatcher.run());
        Ok(Running {
            address,
            has_end,
            tally,
            senders,
            desk,
            stop,
        })
    }

    /// What is subscribed to at the start.
    fn first_channels(&self) -> Vec<Channel> {
        let v1 = self
            .subscribed
            .iter()
            .map(|(level, feature)| Channel::V1(*level, *feature));
        let webhook = |target: &Arc<Target>, topic: Topic| Webhook {
            id: format!("simulated.{}", topic.name()),
            topic,
            filter: Filter::all(),
            endpoint: target.url(),
            target: Arc::clone(target),
        };
        let target = self.ess_target.clone().map(Arc::new);
        let ess = target.iter().flat_map(|target| {
            self.ess_topics
                .iter()
                .map(move |topic| webhook(target, *topic))
        });
        v1.chain(ess.map(|webhook| Channel::Ess(Arc::new(webhook))))
            .collect()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a simulator is for the developer beside it: there is nobody to send it half a header"
)]
async fn serve(listener: TcpListener, router: axum::Router, stop: CancellationToken) {
    // It ends with the stop; an accept error only costs that connection.
    let _ = axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await;
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

    /// Returns when the count is reached and everything answered; never, when there is no count. The APIs go on. Cancel
    /// safe.
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
