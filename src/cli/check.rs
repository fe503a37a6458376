//! `concur-bridge check`

use std::io::ErrorKind;
use std::net::TcpListener;

use serde_json::json;

use super::ConfigArgs;
use super::output::{complain, print, print_json};
use crate::app::{Mode, files};
use crate::config::{AcknowledgeAfter, Config};
use crate::exit::Exit;
use crate::journal::{DATABASE, Inspector, check_access, host_name};
use crate::publish::{self, Findings, Settings};
use crate::traces::Outlet;

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
    let config = match args.config.read_with_files(Mode::Serve) {
        Ok(config) => config,
        Err(error) if args.json => {
            let findings = Findings {
                faults: error.0.iter().map(ToString::to_string).collect(),
                ..Findings::default()
            };
            return report(&findings, true);
        }
        Err(error) => {
            complain(&error);
            return Exit::Usage;
        }
    };
    let stateless = config.ingress.acknowledge_after == AcknowledgeAfter::Kafka;
    let mut findings = Findings::default();
    let instance = if stateless {
        None
    } else {
        journal(&config, &mut findings)
    };
    files(&config, &mut findings);
    collector(&config, &mut findings);
    findings.warnings.extend(files::warnings(&config));
    let instance = config.instance.clone().or(instance);
    let settings = Settings::of(&config, instance.unwrap_or_else(host_name));
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
    if !dir.join(DATABASE).exists() {
        to_be_made(config, findings);
        return None;
    }
    // Where SQLite would only say that it cannot.
    let looked = check_access(dir).and_then(|()| Inspector::open(dir));
    let looked = looked.and_then(|inspector| {
        let summary = inspector.summary()?;
        Ok((inspector, summary))
    });
    match looked {
        Ok((inspector, summary)) => {
            if summary.served {
                findings.notes.push(
                    "a process holds the journal: a second one would end with exit 5".to_owned(),
                );
            } else {
                match inspector.check_start() {
                    Ok(doubt) => findings.warnings.extend(doubt),
                    Err(error) => findings.faults.push(error.to_string()),
                }
            }
            room(config, summary.disk_free_bytes, findings);
            if let Some(configured) = &config.instance
                && *configured != summary.instance
            {
                findings.faults.push(format!(
                    "instance is \"{configured}\", but the journal belongs to \"{}\"",
                    summary.instance
                ));
            }
            let prefix = &config.kafka.transactional_id_prefix;
            if *prefix != summary.transactional_prefix {
                findings.faults.push(format!(
                    "kafka.transactional_id_prefix is \"{prefix}\", but the journal belongs to \"{}\"",
                    summary.transactional_prefix
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

/// Whether a journal can be made, and has room.
fn to_be_made(config: &Config, findings: &mut Findings) {
    let dir = &config.journal.dir;
    let parent = files::nearest_existing(dir);
    if let Some(reason) = files::unwritable(&parent) {
        findings
            .faults
            .push(format!("journal.dir {}: {reason}", dir.display()));
        return;
    }
    findings
        .notes
        .push(format!("the journal will be made in {}", dir.display()));
    // A disk that does not tell is found out by `serve`.
    if let Ok(disk) = rustix::fs::statvfs(&parent) {
        let free_bytes = disk.f_bavail.saturating_mul(disk.f_frsize);
        room(config, free_bytes, findings);
    }
}

fn room(config: &Config, disk_free_bytes: u64, findings: &mut Findings) {
    if disk_free_bytes < config.journal.min_free_bytes {
        findings.faults.push(format!(
            "the disk of journal.dir has {disk_free_bytes} bytes free, less than journal.min_free: postbacks would be answered 503"
        ));
    }
}

/// Secrets, keys and certificates, and whether the ports are free.
fn files(config: &Config, findings: &mut Findings) {
    findings.faults.extend(
        files::faults(config, Mode::Serve)
            .iter()
            .map(ToString::to_string),
    );
    findings.notes.extend(
        files::keys_to_make(config)
            .iter()
            .map(|file| format!("{} will be made", file.display())),
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

/// Whether there is a way to the collector of traces. Asks it nothing.
fn collector(config: &Config, findings: &mut Findings) {
    let Ok(runtime) = tokio::runtime::Runtime::new() else {
        return;
    };
    let _context = runtime.enter();
    if let Err(error) = Outlet::open(&config.otel) {
        findings.faults.push(error.to_string());
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
