//! `concur-bridge journal`: what waits, what was sent, whether it is whole, sending it again.

mod filter;
mod replay;

use serde_json::{Value, json};

use self::filter::Filter;
use super::ConfigArgs;
use super::output::{complain, print, print_json};
use crate::config::Config;
use crate::exit::Exit;
use crate::journal::repair::{self, Plan};
use crate::journal::{Fatal, Inspector, Summary, host_name};
use crate::record::Placed;
use crate::seal::rfc3339_ms;

/// Look at the journal, check it, repair it, send from it again.
#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// How far the journal and Kafka have got, and how much room is left. Also while a process serves.
    Status(Look),
    /// Records, oldest first, one a line. Also while a process serves.
    List(Select),
    /// One record whole: position, key, headers, event. Also while a process serves.
    Show {
        #[command(flatten)]
        look: Look,
        /// Its position.
        position: u64,
    },
    /// Check every record, the mark and, while no process serves, the structure of the database. Exit 3 when damaged.
    Verify(Look),
    /// Say what a repair would do, or do it with --apply. The old files are kept beside the journal. No process may serve.
    Repair {
        #[command(flatten)]
        look: Look,
        /// Do it.
        #[arg(long)]
        apply: bool,
    },
    /// Records with their events, as JSON, one a line. Also while a process serves.
    Export(Select),
    /// Send records to Kafka again, with the header concur-bridge-replay. Says what it would send; sends with --apply. Also
    /// while a process serves.
    Replay(replay::Args),
}

/// Which journal, and how to print.
#[derive(clap::Args)]
pub(super) struct Look {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Which records of which journal.
#[derive(clap::Args)]
pub(super) struct Select {
    #[command(flatten)]
    look: Look,
    #[command(flatten)]
    filter: Filter,
}

pub(super) fn run(command: Command) -> Exit {
    let result = match command {
        Command::Status(look) => look
            .open()
            .and_then(|(_, inspector)| status(&look, &inspector)),
        Command::List(select) => list(&select),
        Command::Show { look, position } => look
            .open()
            .and_then(|(_, inspector)| show(&inspector, position)),
        Command::Verify(look) => look
            .open()
            .and_then(|(_, inspector)| verify(&look, &inspector)),
        Command::Repair { look, apply } => look
            .config
            .load()
            .and_then(|config| mend(&look, &config, apply)),
        Command::Export(select) => export(&select),
        Command::Replay(args) => replay::run(&args),
    };
    result.unwrap_or_else(|exit| exit)
}

impl Look {
    /// The journal of the configuration, opened for reading.
    pub(super) fn open(&self) -> Result<(Config, Inspector), Exit> {
        let config = self.config.load()?;
        let inspector = Inspector::open(&config.journal.dir).map_err(|error| {
            complain(&error);
            error.exit()
        })?;
        Ok((config, inspector))
    }
}

fn fail(fatal: &Fatal) -> Exit {
    complain(fatal);
    fatal.exit()
}

fn status(look: &Look, inspector: &Inspector) -> Result<Exit, Exit> {
    let summary = inspector.summary().map_err(|fatal| fail(&fatal))?;
    let Summary {
        instance,
        uuid,
        transactional_prefix,
        cluster_id,
        generation,
        first,
        last,
        published,
        ..
    } = &summary;
    let oldest = summary.oldest_unpublished.map(rfc3339_ms);
    let backlog = last.0.saturating_sub(published.0);
    if look.json {
        print_json(&json!({
            "instance": instance,
            "journal": uuid,
            "transactionalId": format!("{transactional_prefix}.{instance}"),
            "clusterId": cluster_id,
            "generation": generation,
            "firstPosition": first.0,
            "lastPosition": last.0,
            "publishedPosition": published.0,
            "backlogRecords": backlog,
            "backlogBytes": summary.backlog_bytes,
            "oldestUnpublished": oldest,
            "quarantineBytes": summary.quarantine_bytes,
            "fileBytes": summary.file_bytes,
            "diskFreeBytes": summary.disk_free_bytes,
            "served": summary.served,
        }));
        return Ok(Exit::Success);
    }
    for (name, value) in [
        ("instance", instance.clone()),
        ("journal", uuid.to_string()),
        (
            "transactional id",
            format!("{transactional_prefix}.{instance}"),
        ),
        (
            "kafka cluster",
            cluster_id.clone().unwrap_or_else(|| "none yet".to_owned()),
        ),
        (
            "opened",
            format!(
                "{generation} times, {}",
                if summary.served {
                    "held by a process now"
                } else {
                    "not held now"
                }
            ),
        ),
        ("records", format!("{first} to {last}")),
        (
            "published",
            format!("up to {published}, as far as the journal has noted"),
        ),
        (
            "backlog",
            format!(
                "{backlog} records, {} bytes{}",
                summary.backlog_bytes,
                oldest
                    .map(|time| format!(", oldest received {time}"))
                    .unwrap_or_default()
            ),
        ),
        ("quarantine", format!("{} bytes", summary.quarantine_bytes)),
        (
            "files",
            format!(
                "{} bytes, {} free on the disk",
                summary.file_bytes, summary.disk_free_bytes
            ),
        ),
    ] {
        print(&format_args!("{name:<17} {value}"));
    }
    Ok(Exit::Success)
}

fn line(placed: &Placed) -> Value {
    let record = &placed.record;
    json!({
        "position": placed.position.0,
        "receivedAt": rfc3339_ms(record.received_at),
        "type": record.kind.as_str(),
        "key": record.key,
        "id": record.id,
    })
}

fn list(select: &Select) -> Result<Exit, Exit> {
    let (_, inspector) = select.look.open()?;
    select.filter.walk(&inspector, |placed| {
        if select.look.json {
            print_json(&line(placed));
        } else {
            let record = &placed.record;
            let key = record.key.as_deref().unwrap_or("-");
            print(&format_args!(
                "{:>10}  {}  {:<31}  {}  {}",
                placed.position.0,
                rfc3339_ms(record.received_at),
                record.kind.as_str(),
                record.id,
                key.escape_debug()
            ));
        }
        Ok(())
    })?;
    Ok(Exit::Success)
}

/// A record whole, as JSON. The token in it is sealed, or not, as configuration had it when the record was accepted.
fn whole(placed: &Placed) -> Value {
    let record = &placed.record;
    let mut shown = line(placed);
    shown["journal"] = json!(placed.journal);
    shown["traceparent"] = json!(record.traceparent);
    shown["correlationId"] = json!(record.correlation_id);
    shown["event"] = serde_json::from_slice(&record.content).unwrap_or(Value::Null);
    shown
}

fn show(inspector: &Inspector, position: u64) -> Result<Exit, Exit> {
    let filter = Filter::one(position);
    let count = filter.walk(inspector, |placed| {
        print(&format_args!("{:#}", whole(placed)));
        Ok(())
    })?;
    if count == 0 {
        complain(&format_args!(
            "the journal does not hold position {position}"
        ));
        return Err(Exit::Failure);
    }
    Ok(Exit::Success)
}

fn export(select: &Select) -> Result<Exit, Exit> {
    let (_, inspector) = select.look.open()?;
    select.filter.walk(&inspector, |placed| {
        print_json(&whole(placed));
        Ok(())
    })?;
    Ok(Exit::Success)
}

fn verify(look: &Look, inspector: &Inspector) -> Result<Exit, Exit> {
    let verified = inspector.verify(|_, _| ()).map_err(|fatal| fail(&fatal))?;
    let damages: Vec<_> = verified.told.iter().map(ToString::to_string).collect();
    if look.json {
        print_json(&json!({
            "whole": verified.damages == 0,
            "firstPosition": verified.first.0,
            "lastPosition": verified.last.0,
            "wholeRecords": verified.whole_records,
            "damages": verified.damages,
            "told": damages,
            "structureChecked": verified.structure_checked,
        }));
    } else {
        damages.iter().for_each(|damage| print(damage));
        print(&format_args!(
            "{} records from {} to {} are whole, {} damages{}",
            verified.whole_records,
            verified.first,
            verified.last,
            verified.damages,
            if verified.structure_checked {
                ""
            } else {
                "; the structure of the database is checked only while no process serves"
            }
        ));
    }
    Ok(if verified.damages == 0 {
        Exit::Success
    } else {
        Exit::JournalDamaged
    })
}

fn mend(look: &Look, config: &Config, apply: bool) -> Result<Exit, Exit> {
    let directory = &config.journal.dir;
    let instance = config.instance.clone().unwrap_or_else(host_name);
    let plan = if apply {
        repair::repair(directory, &instance, &config.kafka.transactional_id_prefix)
    } else {
        repair::plan(directory)
    };
    let plan = plan.map_err(|error| {
        complain(&error);
        error.exit()
    })?;
    if look.json {
        print_json(&json!({
            "needed": !plan.is_needless(),
            "applied": apply && !plan.is_needless(),
            "firstPosition": plan.first.0,
            "lastPosition": plan.last.0,
            "dropped": plan.dropped,
            "stubs": plan.stubs.iter().map(|position| position.0).collect::<Vec<_>>(),
            "lostAtEnd": plan.lost_at_end,
            "publishesAgain": plan.publishes_again,
            "oldFiles": plan.aside,
        }));
    } else {
        tell(&plan, apply);
    }
    Ok(Exit::Success)
}

fn tell(plan: &Plan, applied: bool) {
    if plan.is_needless() {
        return print(&"the journal is whole: nothing to repair");
    }
    plan.verified.told.iter().for_each(|damage| print(damage));
    let would = if applied { "" } else { "would be " };
    print(&format_args!(
        "records {} to {} {would}kept",
        plan.first, plan.last
    ));
    if plan.dropped > 0 {
        print(&format_args!(
            "{} records at the beginning {would}dropped: Kafka has them",
            plan.dropped
        ));
    }
    for position in &plan.stubs {
        print(&format_args!(
            "position {position} is lost: a stub in the quarantine topic {would}put in its place"
        ));
    }
    if plan.lost_at_end > 0 {
        print(&format_args!(
            "{} acknowledged records at the end are lost, unless Kafka has them",
            plan.lost_at_end
        ));
    }
    if plan.publishes_again {
        print(&"the mark of what Kafka has is lost: everything kept is published again");
    }
    print(&format_args!(
        "the old files {would}moved to {}",
        plan.aside.display()
    ));
    if !applied {
        print(&"nothing was changed; repeat with --apply to do it");
    }
}
