//! What lines share: one Kafka node behind a proxy, started when the first line asks for it, and a directory each.
//!
//! The node outlives the process of a line. The proxy lives in that process, so that the line can strike replies; the
//! runner keeps the socket that it listens on, whose address the node tells its clients, and hands it to each process as
//! its standard input.

use std::cell::OnceCell;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use serde_json::Value;

use crate::runner::Options;
use crate::support::bridge::{BINARY, Replica};
use crate::support::failure::{Doing, Outcome};
use crate::support::kafka::Kafka;
use crate::support::observed::Inspector;
use crate::support::process::run;
use crate::support::proxy::Proxy;
use crate::support::reader::Source;
use crate::support::rng::Rng;

/// The place where lines run.
pub(crate) struct Arena {
    root: PathBuf,
    /// The seed of the run.
    pub seed: u64,
    /// Whether the long form was asked for.
    pub long: bool,
    /// How long a soak lasts.
    pub soak: Option<std::time::Duration>,
    cycles: Option<u32>,
    attempt: u32,
    shared: OnceCell<Shared>,
}

/// The directory of one attempt at a line.
pub(crate) fn line_dir(root: &Path, line: &str, attempt: u32) -> PathBuf {
    root.join(match attempt {
        1 => format!("line-{line}"),
        _ => format!("line-{line}-attempt-{attempt}"),
    })
}

/// The directory of the node that lines share.
pub(crate) fn shared_kafka(root: &Path) -> PathBuf {
    root.join("kafka")
}

/// A node and the proxy in front of its second listener.
struct Shared {
    kafka: Kafka,
    proxy: Proxy,
}

impl Arena {
    /// For the process of one line, below `options.root`.
    pub(crate) fn enter(options: &Options) -> Self {
        Self {
            root: options.root.clone(),
            seed: options.seed,
            long: options.long,
            soak: options.soak,
            cycles: options.cycles,
            attempt: options.attempt,
            shared: OnceCell::new(),
        }
    }

    /// The directory of a line; a second attempt has its own.
    pub(crate) fn dir(&self, line: &str) -> PathBuf {
        line_dir(&self.root, line, self.attempt)
    }

    /// How often a line does its work: as asked for, else by the form.
    pub(crate) fn cycles(&self, short: u32, long: u32) -> u32 {
        self.cycles.unwrap_or(if self.long { long } else { short })
    }

    /// The random numbers of a line.
    pub(crate) fn rng(&self, line: &str) -> Rng {
        let name = line.bytes().fold(0_u64, |name, byte| {
            name.wrapping_mul(257).wrapping_add(u64::from(byte))
        });
        Rng::new(self.seed).fork(name)
    }

    fn shared(&self) -> Outcome<&Shared> {
        if let Some(shared) = self.shared.get() {
            return Ok(shared);
        }
        let listener = std::io::stdin().as_fd().try_clone_to_owned()?;
        let proxy =
            Proxy::on(TcpListener::from(listener)).doing("listening on the runner's socket")?;
        let options = ["--advertise".to_owned(), proxy.address().to_string()];
        let kafka = Kafka::shared(&shared_kafka(&self.root), 1, &options)?;
        proxy.forward_to(
            *kafka
                .proxied
                .first()
                .doing("dev/kafka names no proxied listener")?,
        );
        Ok(self.shared.get_or_init(|| Shared { kafka, proxy }))
    }

    /// The node.
    pub(crate) fn kafka(&self) -> Outcome<&Kafka> {
        Ok(&self.shared()?.kafka)
    }

    /// The proxy in front of it: a bridge that bootstraps from its address stays behind it.
    pub(crate) fn proxy(&self) -> Outcome<&Proxy> {
        Ok(&self.shared()?.proxy)
    }

    /// A replica of this line, directly on the node.
    pub(crate) fn replica(&self, line: &str, instance: &str) -> Outcome<Replica> {
        let brokers = self.kafka()?.bootstrap.clone();
        Replica::new(
            &self.dir(line).join(instance),
            instance,
            &brokers,
            &format!("line-{line}"),
        )
    }

    /// What a consumer of this replica reads. Its key files must exist: the bridge makes them at its first start.
    pub(crate) fn source(&self, replica: &Replica, bootstrap: &str) -> Outcome<Source> {
        let read = |name: &str| {
            std::fs::read_to_string(replica.dir.join("keys").join(name))
                .doing(format!("reading {name}"))
        };
        let mut inspector = Inspector::with_keys(&read("token.key")?, &read("fingerprint.key")?)?;
        for (name, schema) in schemas()? {
            inspector
                .schemas
                .insert(name, jsonschema::validator_for(&schema)?);
        }
        Ok(Source {
            bootstrap: bootstrap.to_owned(),
            topics: replica.topics(),
            inspector: Arc::new(inspector),
        })
    }
}

/// What `concur-bridge schema` prints of each stream, by `dataschema`.
fn schemas() -> Outcome<Vec<(String, Value)>> {
    let mut schemas = Vec::new();
    for stream in ["itinerary", "fop", "profile", "other", "quarantine"] {
        let printed = run(Command::new(BINARY).args(["schema", stream]))?;
        let schema: Value = serde_json::from_str(&printed).doing("reading a schema")?;
        let name = schema
            .get("$id")
            .and_then(Value::as_str)
            .doing("a schema has no $id")?;
        schemas.push((name.to_owned(), schema));
    }
    Ok(schemas)
}
