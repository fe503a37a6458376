//! The application: the parts of `serve` put together, in the order of the data's way, and taken apart again.
//!
//! **Start.** Keys → journal → publisher → acceptor → listeners. Everything that can be wrong with files is found before a
//! port is bound. Kafka is not waited for: the bridge is ready without it.
//!
//! **Stop**, when a signal or a part of the process asks for it: readiness is withdrawn and nothing more is taken in →
//! answers in progress are given, the open transaction is finished → the journal is closed → the last traces go out. What takes longer than
//! `shutdown.drain_deadline` is left where it is, durable, and the exit code says so.

pub(crate) mod files;
mod keeping;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::keeping::Keeping;
pub(crate) use self::keeping::{ADMIN_ADDRESS_FILE, leave};
use crate::accept::Acceptor;
use crate::clock::SystemClock;
use crate::config::{Config, ConfigError};
use crate::console::{self, Console, Guard};
use crate::exit::Exit;
use crate::health::Health;
use crate::ingress::{BindError, Drained, Ingress};
use crate::normalise::Rules;
use crate::reload::{LoadError, Reloader};
use crate::seal::Sealer;
use crate::secret::{KeyError, Vault};
use crate::shutdown::Shutdown;
use crate::traces::{Outlet, Traces, TracesError};

/// How often the metrics' histograms are folded together when nobody scrapes.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// Whether the process takes postbacks in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The bridge.
    Serve,
    /// Only publish what the journal holds, then end: for the journal of a replica that is gone.
    DrainOnly,
}

/// Why the application cannot start: an exit code and a sentence for the operator.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StartError {
    /// The process's exit code.
    pub exit: Exit,
    /// What is wrong and what to do.
    pub message: String,
}

impl StartError {
    fn new(exit: Exit, message: impl ToString) -> Self {
        Self {
            exit,
            message: message.to_string(),
        }
    }
}

/// The application, with its ports bound.
pub struct App {
    ingress: Option<Ingress<Acceptor>>,
    console: Console,
    console_listener: TcpListener,
    keeping: Keeping,
    reloader: Reloader,
    traces: Option<Traces>,
    drain_deadline: Duration,
    admin: SocketAddr,
    shutdown: Shutdown,
}

impl App {
    /// Opens and binds everything. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// Every fault of the files that are configured, before anything is made; then the first thing that stands in the
    /// way. With its exit code; nothing stays bound or locked.
    pub async fn start(
        config: &Config,
        mode: Mode,
        metrics: PrometheusHandle,
        shutdown: Shutdown,
    ) -> Result<Self, StartError> {
        let faults = files::faults(config, mode);
        if !faults.is_empty() {
            return Err(StartError::new(Exit::Usage, ConfigError(faults)));
        }
        for warning in files::warnings(config) {
            tracing::warn!("{warning}");
        }
        let outlet = Outlet::open(&config.otel)?;
        let mut reloader = Reloader::default();
        let keys_to_make = files::keys_to_make(config);
        let vault = open_vault(config, &mut reloader)?;
        for file in keys_to_make {
            tracing::info!(file = %file.display(), "made a key file");
        }
        let admin_tokens = config
            .admin
            .token_file
            .as_deref()
            .map(|file| reloader.text("admin_token", file, console::parse_tokens))
            .transpose()?;
        let sealer = Sealer::new(vault, config.events.user);
        let rules = Rules {
            object_uri_hosts: config.events.object_uri_hosts.clone(),
        };

        let keeping = Keeping::open(config, mode, Arc::new(SystemClock)).await?;
        let traces = outlet.map(|outlet| Traces::start(outlet, keeping.instance()));
        let acceptor = Acceptor::new(rules.clone(), sealer.clone(), keeping.keeper());
        let ingress = match mode {
            Mode::Serve => Some(Ingress::bind(
                &config.ingress,
                &config.auth,
                acceptor,
                traces.clone(),
                &mut reloader,
            )?),
            Mode::DrainOnly => None,
        };
        let console_listener = Console::bind(config.admin.listen)
            .await
            .map_err(|error| StartError::new(Exit::Failure, error))?;
        let admin = console_listener
            .local_addr()
            .map_err(|error| StartError::new(Exit::Failure, error))?;
        keeping.note_admin(admin);
        let console = Console {
            guard: Guard::new(admin, &config.admin.hosts, admin_tokens),
            health: Health {
                journal: keeping.journal().cloned(),
                publish: keeping.status(),
                shutdown: shutdown.clone(),
                takes_in: mode == Mode::Serve,
            },
            metrics,
            quarantine: keeping.quarantine(rules, sealer.clone()),
            sealer,
            journal_dir: config.journal.dir.clone(),
        };
        Ok(Self {
            ingress,
            console,
            console_listener,
            keeping,
            reloader,
            traces,
            drain_deadline: config.shutdown.drain_deadline,
            admin,
            shutdown,
        })
    }

    /// The bound address of the ingress; none with [`Mode::DrainOnly`].
    pub fn ingress(&self) -> Option<SocketAddr> {
        self.ingress.as_ref().map(Ingress::local_addr)
    }

    /// The bound address of the admin port.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Runs until the shutdown is requested, then stops in order.
    pub async fn run(mut self) -> Exit {
        let stop = CancellationToken::new();
        self.announce();
        let mut ingress = self
            .ingress
            .take()
            .map(|ingress| tokio::spawn(ingress.serve(stop.clone(), self.drain_deadline)));
        let mut console = tokio::spawn(self.console.clone().serve(self.console_listener));
        tokio::spawn(self.reloader.run(stop.clone()));
        tokio::spawn(keep_metrics(self.console.metrics.clone(), stop.clone()));

        let reason = tokio::select! {
            reason = self.shutdown.wait() => reason,
            reason = self.keeping.ended() => reason,
            drained = ended(&mut ingress) => {
                tracing::error!(?drained, "the ingress ended by itself");
                Exit::Failure
            }
            ended = &mut console => {
                tracing::error!(?ended, "the admin port ended by itself");
                Exit::Failure
            }
        };
        self.shutdown.request(reason);

        let deadline = Instant::now() + self.drain_deadline;
        stop.cancel();
        let answers_open = match ingress {
            Some(task) => task.await.is_ok_and(|drained| drained != Drained::Complete),
            None => false,
        };
        let transaction_open = self.keeping.close(deadline).await;
        if let Some(traces) = self.traces {
            traces.close(deadline).await;
        }
        if answers_open || transaction_open {
            tracing::warn!(
                answers_open,
                transaction_open,
                "not finished at shutdown.drain_deadline; nothing is lost"
            );
        }
        let exit = match reason {
            Exit::Success if answers_open || transaction_open => Exit::Unfinished,
            reason => reason,
        };
        tracing::info!(code = exit.code(), "stopped");
        exit
    }

    /// The line that scripts wait for.
    fn announce(&self) {
        let ingress = self
            .ingress()
            .map(|address| address.to_string())
            .unwrap_or_default();
        let (journal, position) = self.keeping.place();
        tracing::info!(
            ingress,
            admin = %self.admin,
            instance = self.keeping.instance(),
            journal,
            position,
            version = env!("CARGO_PKG_VERSION"),
            "ready"
        );
    }
}

/// The end of the ingress, which is not to be expected; never, when there is none.
async fn ended(ingress: &mut Option<JoinHandle<Drained>>) -> Option<Drained> {
    match ingress {
        Some(task) => {
            let drained = task.await.ok();
            *ingress = None;
            drained
        }
        None => std::future::pending().await,
    }
}

async fn keep_metrics(metrics: PrometheusHandle, stop: CancellationToken) {
    let mut upkeep = tokio::time::interval(METRICS_UPKEEP);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = upkeep.tick() => metrics.run_upkeep(),
        }
    }
}

fn open_vault(config: &Config, reloader: &mut Reloader) -> Result<Vault, StartError> {
    let vault = Vault::open(&config.tokens, files::may_make_keys(config))?;
    let (watched, tokens) = (vault.clone(), config.tokens.clone());
    let files = [tokens.key_file.clone(), tokens.fingerprint_key_file.clone()];
    reloader.watch("token_keys", &files, move || {
        watched
            .reload(&tokens)
            .map_err(|error| error.into_load_error("token_keys"))
    })?;
    Ok(vault)
}

impl From<KeyError> for StartError {
    fn from(error: KeyError) -> Self {
        Self::new(Exit::Usage, error)
    }
}

impl From<LoadError> for StartError {
    fn from(error: LoadError) -> Self {
        Self::new(Exit::Usage, error)
    }
}

impl From<TracesError> for StartError {
    fn from(error: TracesError) -> Self {
        Self::new(Exit::Usage, error)
    }
}

impl From<BindError> for StartError {
    fn from(error: BindError) -> Self {
        let exit = match error {
            BindError::InUse { .. } | BindError::Address { .. } => Exit::Failure,
            BindError::Load(_) => Exit::Usage,
        };
        Self::new(exit, error)
    }
}
