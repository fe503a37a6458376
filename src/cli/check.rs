//! `concur-bridge check`

use std::io::ErrorKind;
use std::net::TcpListener;

use serde_json::json;

use super::ConfigArgs;
use super::output::{complain, print, print_json};
use crate::config::{AcknowledgeAfter, Config};
use crate::exit::Exit;
use crate::ingress;
use crate::journal::{Inspector, OpenError, host_name};
use crate::publish::{self, Findings, Settings};
use crate::secret::Vault;

/// Try configuration, disk, Kafka, topics and certificates; report all faults at once. Changes nothing.
///
/// Exit 0 when `serve` would work, 2 when it would not. Warnings do not change the exit code.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> Exit {
    let config = match args.config.load() {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let stateless = config.ingress.acknowledge_after == AcknowledgeAfter::Kafka;
    let mut findings = Findings::default();
    let instance = if stateless {
        None
    } else {
        journal(&config, &mut findings)
    };
    keys(&config, stateless, &mut findings);
    files(&config, &mut findings);
    let settings = Settings {
        instance: config
            .instance
            .clone()
            .or(instance)
            .unwrap_or_else(host_name),
        kafka: config.kafka.clone(),
        topics: config.topics.clone(),
        mode: config.events.mode,
    };
    let kafka = publish::check(&settings, stateless);
    findings.faults.extend(kafka.faults);
    findings.warnings.extend(kafka.warnings);
    findings.notes.extend(kafka.notes);
    findings.cluster_id = kafka.cluster_id;
    report(&findings, args.json)
}

/// Whether the journal can be opened, without opening it. Its instance, when there is one.
fn journal(config: &Config, findings: &mut Findings) -> Option<String> {
    let dir = &config.journal.dir;
    for key_file in [&config.tokens.key_file, &config.tokens.fingerprint_key_file] {
        if key_file.starts_with(dir) {
            findings.warnings.push(format!(
                "{} is inside journal.dir: one backup would hold both the sealed tokens and their key",
                key_file.display()
            ));
        }
    }
    if !dir.join("journal.db").exists() {
        let parent = dir
            .ancestors()
            .find(|ancestor| ancestor.is_dir())
            .unwrap_or(std::path::Path::new("."));
        if rustix::fs::access(parent, rustix::fs::Access::WRITE_OK).is_err() {
            findings.faults.push(format!(
                "journal.dir {}: {} cannot be written",
                dir.display(),
                parent.display()
            ));
        } else {
            findings
                .notes
                .push(format!("the journal will be made in {}", dir.display()));
        }
        return None;
    }
    match Inspector::open(dir).and_then(|inspector| inspector.summary().map_err(OpenError::Failed))
    {
        Ok(summary) => {
            if summary.served {
                findings.notes.push(
                    "a process holds the journal: a second one would end with exit 5".to_owned(),
                );
            }
            if summary.disk_free_bytes < config.journal.min_free_bytes {
                findings.faults.push(format!(
                    "the disk of journal.dir has {} bytes free, less than journal.min_free: postbacks would be answered 503",
                    summary.disk_free_bytes
                ));
            }
            if let Some(configured) = &config.instance
                && *configured != summary.instance
            {
                findings.faults.push(format!(
                    "instance is \"{configured}\", but the journal belongs to \"{}\"",
                    summary.instance
                ));
            }
            Some(summary.instance)
        }
        Err(error) => {
            findings.faults.push(error.to_string());
            None
        }
    }
}

fn keys(config: &Config, stateless: bool, findings: &mut Findings) {
    let files = [&config.tokens.key_file, &config.tokens.fingerprint_key_file];
    if !stateless && files.iter().all(|file| !file.exists()) {
        findings.notes.push(format!(
            "{} and {} will be made",
            files[0].display(),
            files[1].display()
        ));
    } else if let Err(error) = Vault::open(&config.tokens, false) {
        findings.faults.push(error.to_string());
    }
}

/// Secrets, keys and certificates of the ingress, and whether its ports are free.
fn files(config: &Config, findings: &mut Findings) {
    findings.faults.extend(
        ingress::check(&config.ingress, &config.auth)
            .iter()
            .map(ToString::to_string),
    );
    for address in [config.ingress.listen, config.admin.listen] {
        match TcpListener::bind(address) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                findings
                    .notes
                    .push(format!("{address} is in use, by a running bridge perhaps"));
            }
            Err(error) => findings
                .faults
                .push(format!("cannot listen on {address}: {error}")),
        }
    }
}

fn report(findings: &Findings, json: bool) -> Exit {
    let exit = if findings.faults.is_empty() {
        Exit::Success
    } else {
        Exit::Usage
    };
    if json {
        print_json(&json!({
            "ok": findings.faults.is_empty(),
            "faults": findings.faults,
            "warnings": findings.warnings,
            "notes": findings.notes,
            "clusterId": findings.cluster_id,
        }));
        return exit;
    }
    findings
        .faults
        .iter()
        .for_each(|fault| complain(&format_args!("fault: {fault}")));
    findings
        .warnings
        .iter()
        .for_each(|warning| print(&format_args!("warning: {warning}")));
    findings
        .notes
        .iter()
        .for_each(|note| print(&format_args!("note: {note}")));
    if findings.faults.is_empty() {
        print(&"ok");
    }
    exit
}
