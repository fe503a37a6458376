//! Journals that earlier releases left, opened by this binary.

use std::path::Path;

use crate::arena::Arena;
use crate::runner::{Line, anywhere};
use crate::support::bridge::Replica;
use crate::support::failure::{Doing, Outcome, ensure};
use crate::trial::stop;

pub(crate) const LINE: Line = Line {
    name: "26",
    promise: "A journal of an earlier release is read as it was written",
    fault: "old journal, new binary",
    how: "each directory of tests/golden, as by kill -9: verified, served from, exported; the export stays the same",
    possible: anywhere,
    run,
};

fn run(arena: &Arena) -> Outcome<String> {
    let golden = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"));
    let mut figures = Vec::new();
    for entry in std::fs::read_dir(golden)? {
        let old = entry?.path();
        if !old.join("journal.db").is_file() {
            continue;
        }
        let name = old
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .doing("no name")?;
        let records = opens(arena, &old, &name).doing(&name)?;
        figures.push(format!("{name}: {records} records as written"));
    }
    ensure(!figures.is_empty(), || {
        format!("{} holds no journal", golden.display())
    })?;
    Ok(figures.join(", "))
}

fn opens(arena: &Arena, old: &Path, name: &str) -> Outcome<usize> {
    // Nobody there: what is not published stays so.
    let mut replica = Replica::new(
        &arena.dir("26").join(name),
        "unused",
        "127.0.0.1:1",
        "line-26",
    )?;
    replica.config.remove("instance");
    // Nothing is old enough to be deleted.
    replica.set_text("journal.retain_for", "876000h");
    let journal = replica.journal();
    std::fs::create_dir_all(&journal)?;
    for entry in std::fs::read_dir(old)? {
        let entry = entry?;
        std::fs::copy(entry.path(), journal.join(entry.file_name()))?;
    }
    let export = |replica: &Replica| replica.run(&["journal", "export"]);
    let before = export(&replica)?;
    replica.run(&["journal", "verify"])?;
    stop(&replica.start()?)?;
    ensure(export(&replica)? == before, || {
        "serving from it changed what it holds".into()
    })?;
    let records = before.lines().count();
    ensure(records > 0, || "it holds no record".into())?;
    Ok(records)
}
