//! The bridge as its users run it: the binary, a configuration file, a journal directory.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::failure::{Doing, Failure, Outcome};
use super::http;
use super::patience::patience;
use super::process::Process;
use super::wait;

/// The binary under test, with the features of this test binary.
pub const BINARY: &str = env!("CARGO_BIN_EXE_concur-bridge");

/// How long a start may take before it counts as hung.
const START_LIMIT: Duration = Duration::from_secs(60);

/// `shutdown.drain_deadline` of every replica: longer than its default, since on a busy machine an orderly stop must not
/// end with 6 for want of time.
const DRAIN_DEADLINE: Duration = Duration::from_secs(30);

/// How long an orderly stop may take: the drain deadline, and a second for the process to end.
pub const STOP_LIMIT: Duration = DRAIN_DEADLINE.saturating_add(Duration::from_secs(1));

/// How long an answer of the admin port may take.
const ADMIN_LIMIT: Duration = Duration::from_secs(20);

/// How long the end of a process may follow the end of its connections.
const REAP_LIMIT: Duration = Duration::from_secs(1);

/// One replica: what stays the same when its process is started anew.
#[derive(Clone)]
pub struct Replica {
    /// Holds the configuration, the journal, the keys and the logs.
    pub dir: PathBuf,
    /// Configuration keys by dotted name, as TOML values.
    pub config: BTreeMap<String, String>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// The clock's shift in libfaketime's words, for example `+2h`.
    pub clock: Option<String>,
    /// Arguments after `serve --config FILE`.
    pub arguments: Vec<String>,
}

impl Replica {
    /// A replica in `dir` that publishes to `brokers`, to topics that begin with `prefix`.
    pub fn new(dir: &Path, instance: &str, brokers: &str, prefix: &str) -> Outcome<Self> {
        std::fs::create_dir_all(dir)?;
        let mut replica = Self {
            dir: dir.to_owned(),
            config: BTreeMap::new(),
            env: BTreeMap::new(),
            clock: None,
            arguments: Vec::new(),
        };
        replica.set_text("instance", instance);
        replica.set_text("ingress.listen", "127.0.0.1:0");
        replica.set_text("admin.listen", "127.0.0.1:0");
        replica.set_text("journal.dir", dir.join("journal").display());
        replica.set_text("tokens.key_file", dir.join("keys/token.key").display());
        replica.set_text(
            "tokens.fingerprint_key_file",
            dir.join("keys/fingerprint.key").display(),
        );
        replica.set_text("kafka.brokers", brokers);
        replica.set_text("log.format", "json");
        replica.set_text(
            "shutdown.drain_deadline",
            format!("{}ms", patience(DRAIN_DEADLINE).as_millis()),
        );
        for stream in TOPICS {
            replica.set_text(&format!("topics.{stream}"), format!("{prefix}.{stream}"));
        }
        Ok(replica)
    }

    /// Sets a key to a TOML value.
    pub fn set(&mut self, key: &str, value: impl Display) -> &mut Self {
        self.config.insert(key.to_owned(), value.to_string());
        self
    }

    /// Sets a key to a string.
    pub fn set_text(&mut self, key: &str, value: impl Display) -> &mut Self {
        self.set(key, format!("{:?}", value.to_string()))
    }

    /// The journal's directory.
    pub fn journal(&self) -> PathBuf {
        PathBuf::from(
            self.config
                .get("journal.dir")
                .map_or("", |dir| dir.trim_matches('"')),
        )
    }

    /// The topics that events and quarantined requests go to.
    pub fn topics(&self) -> Vec<String> {
        TOPICS
            .iter()
            .filter(|stream| **stream != "positions")
            .filter_map(|stream| {
                Some(
                    self.config
                        .get(&format!("topics.{stream}"))?
                        .trim_matches('"')
                        .to_owned(),
                )
            })
            .collect()
    }

    /// Writes the configuration and returns its path.
    pub fn write_config(&self) -> Outcome<PathBuf> {
        let path = self.dir.join("concur-bridge.toml");
        let text: String = self
            .config
            .iter()
            .map(|(key, value)| format!("{key} = {value}\n"))
            .collect();
        std::fs::write(&path, text)?;
        Ok(path)
    }

    /// Any subcommand of the binary, with this configuration.
    pub fn command(&self, words: &[&str]) -> Outcome<Command> {
        let mut command = Command::new(BINARY);
        command
            .args(words)
            .arg("--config")
            .arg(self.write_config()?)
            .envs(&self.env)
            .current_dir(&self.dir);
        if let Some(clock) = &self.clock {
            super::process::shift_clock(&mut command, clock)?;
        }
        Ok(command)
    }

    /// Runs a subcommand of the binary to its end and returns what it printed. Another exit code than 0 is a broken promise.
    pub fn run(&self, words: &[&str]) -> Outcome<String> {
        let output = self.command(words)?.stdin(Stdio::null()).output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(Failure::broken(format!(
            "{} ended with {}: {}",
            words.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        )))
    }

    /// Starts `serve` and returns at once.
    pub fn spawn(&self) -> Outcome<Bridge> {
        let mut command = self.command(&["serve"])?;
        command.args(&self.arguments);
        let runs = std::fs::read_dir(&self.dir)?.count();
        let log = (runs..)
            .map(|n| self.dir.join(format!("serve-{n}.log")))
            .find(|path| !path.exists())
            .doing("no log name")?;
        let started = Instant::now();
        Ok(Bridge {
            process: Process::start(&mut command, &log)?,
            started,
            ready: None,
        })
    }

    /// Starts `serve` and waits until it is ready.
    pub fn start(&self) -> Outcome<Bridge> {
        let mut bridge = self.spawn()?;
        bridge.wait_ready(START_LIMIT)?;
        Ok(bridge)
    }
}

const TOPICS: [&str; 6] = [
    "itinerary",
    "fop",
    "profile",
    "other",
    "quarantine",
    "positions",
];

/// What the `ready` line of the log says.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Address for postbacks.
    pub ingress: SocketAddr,
    /// Address for operators.
    pub admin: SocketAddr,
    /// From the start of the process to this line.
    pub after: Duration,
}

/// A process of the bridge, killed when dropped.
pub struct Bridge {
    /// The process.
    pub process: Process,
    started: Instant,
    ready: Option<Ready>,
}

impl Bridge {
    /// Waits for the `ready` line. A process that ends before breaks a promise.
    pub fn wait_ready(&mut self, limit: Duration) -> Outcome<Ready> {
        let what = format!(
            "the bridge to be ready (log: {})",
            self.process.log().display()
        );
        let ready = wait::until(limit, &what, || {
            if let Some(line) = self.log_line("ready") {
                return parse_ready(&line, self.started.elapsed()).map(Some);
            }
            self.goes_on()?;
            Ok(None)
        })?;
        self.ready = Some(ready.clone());
        Ok(ready)
    }

    /// The `ready` line; a failure before [`Self::wait_ready`].
    pub fn ready(&self) -> Outcome<&Ready> {
        self.ready.as_ref().doing("the bridge is not ready yet")
    }

    /// The first line of the log whose `message` is this.
    pub fn log_line(&self, message: &str) -> Option<Value> {
        self.process
            .output()
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find(|line| line.get("message").and_then(Value::as_str) == Some(message))
    }

    /// The end of the log, for a report.
    pub fn last_words(&self) -> String {
        let output = self.process.output();
        let lines: Vec<&str> = output.lines().collect();
        lines[lines.len().saturating_sub(3)..].join(" | ")
    }

    /// That it did not end by itself, which would be a broken promise.
    pub fn goes_on(&self) -> Outcome {
        match self.process.ended()? {
            None => Ok(()),
            Some(status) => Err(Failure::broken(format!(
                "the bridge ended by itself, {status}: {}",
                self.last_words()
            ))),
        }
    }

    /// One GET on the admin port. A port that does not answer because the process has ended is a broken promise.
    pub fn admin(&self, path: &str) -> Outcome<http::Answer> {
        let answer = http::get(self.ready()?.admin, path, patience(ADMIN_LIMIT));
        answer.or_else(|error| {
            // The connections of a process end before the process does.
            let ended = || Ok(self.process.ended()?.map(drop));
            if wait::until(REAP_LIMIT, "its end", ended).is_ok() {
                self.goes_on()?;
            }
            Err(error).doing(format!("asking the admin port for {path}"))
        })
    }

    /// `/readyz`: the status and the body.
    pub fn readyz(&self) -> Outcome<(u16, Value)> {
        let answer = self.admin("/readyz")?;
        Ok((
            answer.status,
            serde_json::from_slice(&answer.body).doing("reading /readyz")?,
        ))
    }

    /// The sum of all series of a metric; 0 when there is none.
    pub fn metric(&self, name: &str) -> Outcome<f64> {
        let answer = self.admin("/metrics")?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        Ok(text
            .lines()
            .filter(|line| {
                line.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with(['{', ' ']))
            })
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum())
    }

    /// Waits until everything that is in the journal now is published. More may come meanwhile: then the backlog as a whole
    /// need never be seen empty.
    pub fn wait_published(&self, limit: Duration) -> Outcome {
        let published = || self.metric("concur_bridge_publish_events_total");
        let waiting = || self.metric("concur_bridge_journal_backlog_records");
        // In this order nothing that waits now is left out.
        let waiting_now = waiting()?;
        let wanted = published()? + waiting_now;
        wait::until(limit, "the backlog to be published", || {
            Ok((published()? >= wanted || waiting()? == 0.0).then_some(()))
        })
    }

    /// SIGKILL, and the end. A process that had ended by itself before has broken a promise.
    pub fn kill9(&mut self) -> Outcome {
        self.goes_on()?;
        self.process.kill9()
    }

    /// SIGTERM, and the exit code.
    pub fn stop(&self) -> Outcome<i32> {
        self.process.signal(Signal::TERM)?;
        self.process.wait_exit(STOP_LIMIT)
    }
}

/// Reads a `ready` line.
pub fn parse_ready(line: &Value, after: Duration) -> Outcome<Ready> {
    let address = |name: &str| -> Outcome<SocketAddr> {
        let text = line
            .get(name)
            .and_then(Value::as_str)
            .doing(format!("the ready line has no {name:?}"))?;
        text.parse().doing(format!("{name} of the ready line"))
    };
    Ok(Ready {
        ingress: address("ingress")?,
        admin: address("admin")?,
        after,
    })
}
