//! A real Apache Kafka, driven through `dev/kafka`: a cluster in a directory of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::failure::{Doing, Outcome};
use super::patience::patience;
use super::process::run;

/// How long a cluster may take until it serves.
const UP_LIMIT: Duration = Duration::from_secs(240);

/// A cluster, deleted when dropped unless it is shared.
pub struct Kafka {
    dir: PathBuf,
    shared: bool,
    /// The direct listeners.
    pub bootstrap: String,
    /// The listeners that advertise a proxy, node 1 first.
    pub proxied: Vec<SocketAddr>,
    /// The SASL listeners, where there are any.
    pub sasl: Option<String>,
}

impl Kafka {
    /// Makes and starts a cluster of 1 or 3 nodes, with further options of `dev/kafka up`.
    pub fn up(dir: &Path, nodes: u32, options: &[String]) -> Outcome<Self> {
        let mut kafka = Self {
            dir: dir.to_owned(),
            shared: false,
            bootstrap: String::new(),
            proxied: Vec::new(),
            sasl: None,
        };
        let mut command = kafka.command();
        run(command
            .args(["up", "--nodes", &nodes.to_string()])
            .args(options))
        .doing("starting Kafka")?;
        let environment = run(kafka.command().arg("env"))?;
        let value = |name: &str| {
            environment.lines().find_map(|line| {
                line.strip_prefix("export ")?
                    .strip_prefix(name)?
                    .strip_prefix('=')
            })
        };
        kafka.bootstrap = value("KAFKA_BOOTSTRAP")
            .doing("dev/kafka env names no KAFKA_BOOTSTRAP")?
            .to_owned();
        kafka.sasl = value("KAFKA_SASL_BOOTSTRAP").map(str::to_owned);
        for node in 1..=nodes {
            if let Some(address) = value(&format!("KAFKA_PROXIED_{node}")) {
                kafka.proxied.push(address.parse()?);
            }
        }
        Ok(kafka)
    }

    /// As [`Self::up`], for a cluster that outlives this process: one that runs already is taken as it is.
    pub fn shared(dir: &Path, nodes: u32, options: &[String]) -> Outcome<Self> {
        let mut kafka = Self::up(dir, nodes, options)?;
        kafka.shared = true;
        Ok(kafka)
    }

    /// Stops and deletes the cluster in `dir`, if there is one.
    pub fn remove(dir: &Path) -> Outcome {
        if dir.join("cluster").exists() {
            run(dev_kafka(dir).args(["down", "--purge"]))?;
        }
        Ok(())
    }

    fn command(&self) -> Command {
        dev_kafka(&self.dir)
    }

    /// Any command of `dev/kafka`: `stop 1`, `kill all`, `topics --delete --topic x`.
    pub fn tell(&self, words: &str) -> Outcome<String> {
        run(self.command().args(words.split_whitespace())).doing(format!("dev/kafka {words}"))
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        if !self.shared {
            // What is left behind is swept by `dev/faults`.
            let _ = Self::remove(&self.dir);
        }
    }
}

fn dev_kafka(dir: &Path) -> Command {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/dev/kafka"));
    let up_limit = patience(UP_LIMIT).as_secs().max(1);
    command
        .arg("--dir")
        .arg(dir)
        .env("DEV_KAFKA_WAIT", up_limit.to_string());
    command
}
