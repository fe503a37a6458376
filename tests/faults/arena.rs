//! What lines share: one Kafka node behind a proxy, started when the first line asks for it, and a directory each.

use std::cell::OnceCell;
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
    shared: OnceCell<Shared>,
}

/// A node and the proxy in front of its second listener.
struct Shared {
    kafka: Kafka,
    proxy: Proxy,
}

impl Arena {
    /// Makes the directory: `FAULTS_DIR` when set, which `dev/faults` sweeps afterwards.
    pub(crate) fn open(options: &Options) -> Outcome<Self> {
        let root = match std::env::var_os("FAULTS_DIR") {
            Some(dir) => PathBuf::from(dir),
            None => tempfile::tempdir()?.keep(),
        };
        std::fs::create_dir_all(&root)?;
        Ok(Self {
            root,
            seed: options.seed,
            long: options.long,
            soak: options.soak,
            cycles: options.cycles,
            shared: OnceCell::new(),
        })
    }

    /// Everything of this run is below it.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Keeps the directory for whoever looks for the reason of a failure.
    pub(crate) fn keep(&self) -> &Path {
        // What `dev/faults` finds here it leaves alone.
        let _ = std::fs::write(self.root.join("keep"), "");
        &self.root
    }

    /// Deletes what a line that passed has left.
    pub(crate) fn forget(&self, line: &str) {
        // What cannot be deleted is swept with the whole directory.
        let _ = std::fs::remove_dir_all(self.dir(line));
    }

    /// The directory of a line.
    pub(crate) fn dir(&self, line: &str) -> PathBuf {
        self.root.join(format!("line-{line}"))
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
        let proxy = Proxy::listen()?;
        let options = ["--advertise".to_owned(), proxy.address().to_string()];
        let kafka = Kafka::up(&self.root.join("kafka"), 1, &options)?;
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
