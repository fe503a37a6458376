//! Shutdown: one place that says whether the process is to go on, and why it ends.
//!
//! Two phases. *Draining* begins with the first SIGTERM or SIGINT, or when a part of the process cannot go on: readiness
//! is withdrawn, nothing new is taken in, answers and the open transaction are finished. It ends at
//! `shutdown.drain_deadline`. A second signal ends the process at once (exit 6): nothing is lost, since what was answered
//! is durable.

use std::io::IsTerminal;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::exit::Exit;

/// Asks for the end, and tells everybody who watches. Cheap to clone; the first reason stays.
#[derive(Debug, Clone)]
pub struct Shutdown {
    reason: watch::Sender<Option<Exit>>,
}

impl Shutdown {
    /// Nobody has asked yet.
    #[expect(
        clippy::new_without_default,
        reason = "a second one would be a mistake, so it is made by name"
    )]
    pub fn new() -> Self {
        Self {
            reason: watch::Sender::new(None),
        }
    }

    /// Asks for the end of the process with this exit code. A later call changes nothing.
    pub fn request(&self, exit: Exit) {
        self.reason.send_if_modified(|reason| {
            let first = reason.is_none();
            reason.get_or_insert(exit);
            first
        });
    }

    /// Whether the end was asked for, and with which exit code.
    pub fn requested(&self) -> Option<Exit> {
        *self.reason.borrow()
    }

    /// Waits until the end is asked for. Cancel safe.
    pub async fn wait(&self) -> Exit {
        let mut reason = self.reason.subscribe();
        match reason.wait_for(Option::is_some).await {
            Ok(reason) => reason.unwrap_or(Exit::Success),
            // The sender lives in `self`, so it cannot be gone.
            Err(_) => Exit::Success,
        }
    }

    /// Turns the first SIGTERM or SIGINT into a request, and ends the process at the second. SIGHUP is the end of the
    /// terminal where there is one; else, sent by habit to have files read again, it does no harm.
    ///
    /// # Errors
    /// The system gives no signal handler.
    pub fn listen(&self) -> std::io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let shutdown = self.clone();
        tokio::spawn(async move {
            let mut seen = false;
            loop {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                    _ = hangup.recv() => {
                        if std::io::stderr().is_terminal() {
                            shutdown.request(Exit::Success);
                            continue;
                        }
                        tracing::info!(
                            "SIGHUP: nothing to do; secrets, keys and certificates are read again when they change, \
                             the rest of the configuration at the next start"
                        );
                        continue;
                    }
                };
                if std::mem::replace(&mut seen, true) {
                    tracing::warn!(
                        signal = name,
                        "second signal: ending at once; what was answered is durable"
                    );
                    #[expect(
                        clippy::disallowed_methods,
                        reason = "the second signal asks for exactly this"
                    )]
                    std::process::exit(Exit::Unfinished.code().into());
                }
                tracing::info!(
                    signal = name,
                    "stopping: finishing answers and the open transaction"
                );
                shutdown.request(Exit::Success);
            }
        });
        Ok(())
    }
}
