//! A real Apache Kafka, driven through `dev/kafka`: a cluster in a directory of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::failure::{Doing, Outcome};
use super::process::run;

/// A cluster, deleted when dropped.
pub struct Kafka {
    dir: PathBuf,
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

    fn command(&self) -> Command {
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/dev/kafka"));
        command.arg("--dir").arg(&self.dir);
        command
    }

    /// Any command of `dev/kafka`: `stop 1`, `kill all`, `topics --delete --topic x`.
    pub fn tell(&self, words: &str) -> Outcome<String> {
        run(self.command().args(words.split_whitespace())).doing(format!("dev/kafka {words}"))
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // What is left behind is swept by `dev/faults`.
        let _ = run(self.command().args(["down", "--purge"]));
    }
}
