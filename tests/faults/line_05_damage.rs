//! Damage to a journal that is at rest: bits flipped, files cut short, missing, foreign, or from another version.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use crate::arena::Arena;
use crate::runner::{Line, anywhere};
use crate::support::bridge::{Bridge, Replica};
use crate::support::failure::{Doing, Failure, Outcome, ensure};
use crate::support::proxy::Proxy;
use crate::support::rng::Rng;
use crate::support::sender::{Load, Target};
use crate::support::traffic::Form;
use crate::support::wait;

pub(crate) const LINE: Line = Line {
    name: "5",
    promise: "Damage to what was acknowledged stops the start with 3, file and command; never a silent skip",
    fault: "bit flips, truncation, missing, foreign and newer files",
    how: "each on a copy of a journal of 450 records, some of them in the log only; untouched files, or every record as before",
    possible: anywhere,
    run,
};

const START_LIMIT: Duration = Duration::from_secs(60);

const PAGE: u64 = 4096;
const DATABASE: &str = "journal.db";
const LOG: &str = "journal.db-wal";

/// What is done to the files of a journal.
#[derive(Debug)]
enum Damage {
    Flip {
        file: &'static str,
        byte: u64,
        bit: u32,
    },
    Cut {
        file: &'static str,
        length: u64,
    },
    Remove(&'static str),
    Overwrite(&'static str),
    Newer,
}

impl Damage {
    fn apply(&self, journal: &Path) -> Outcome {
        match self {
            Self::Flip { file, byte, bit } => {
                let path = journal.join(file);
                let mut bytes = std::fs::read(&path)?;
                bytes[*byte as usize] ^= 1 << bit;
                std::fs::write(path, bytes)?;
            }
            Self::Cut { file, length } => {
                std::fs::File::options()
                    .write(true)
                    .open(journal.join(file))?
                    .set_len(*length)?;
            }
            Self::Remove(file) => std::fs::remove_file(journal.join(file))?,
            Self::Overwrite(file) => {
                std::fs::write(journal.join(file), "this is no journal\n".repeat(1_000))?;
            }
            Self::Newer => {
                // The user version is a big-endian number at offset 60 of the first page.
                let path = journal.join(DATABASE);
                let mut bytes = std::fs::read(&path)?;
                bytes[60..64].copy_from_slice(&999_u32.to_be_bytes());
                std::fs::write(path, bytes)?;
            }
        }
        Ok(())
    }
}

#[derive(Default)]
struct Tally {
    detected: u32,
    harmless: u32,
}

fn run(arena: &Arena) -> Outcome<String> {
    let mut rng = arena.rng("5");
    let dir = arena.dir("5");
    // Nobody there: the sample keeps all its records.
    let sample = Replica::new(&dir.join("sample"), "bridge-0", "127.0.0.1:1", "line-5")?;
    make_sample(&sample, rng.next())?;
    let whole = export(&sample.clone(), &dir.join("whole"))?;
    ensure(whole.lines().count() >= 400, || {
        format!("the sample has {} records", whole.lines().count())
    })?;

    let flips = arena.cycles(40, u32::MAX);
    let cases = cases(&sample.journal(), flips, &mut rng)?;
    let mut tally = Tally::default();
    for (n, damage) in cases.iter().enumerate() {
        let mut copy = sample.clone();
        copy.dir = dir.join(format!("case-{n}"));
        copy.set_text("journal.dir", copy.dir.join("journal").display());
        copy_journal(&sample.journal(), &copy.journal())?;
        damage.apply(&copy.journal()).doing(format!("{damage:?}"))?;
        judge(&copy, &whole, &mut tally).doing(format!("{damage:?} in {}", copy.dir.display()))?;
        std::fs::remove_dir_all(&copy.dir)?;
    }
    met_while_serving(arena, rng.next()).doing("damage that the publisher meets")?;
    Ok(format!(
        "{} cases: {} stopped the start with 3 and left the files alone, {} met unused bytes and every record was as before, 0 silent; \
         met by the publisher: stopped with 3",
        cases.len(),
        tally.detected,
        tally.harmless
    ))
}

/// Two lives, each ended by a kill: the second's start copies the first's records from the log into the database, so that
/// there are records in both files. SQLite's own checksums cover only the log.
fn make_sample(sample: &Replica, seed: u64) -> Outcome {
    for (life, records) in [(1, 300), (2, 150)] {
        let mut bridge = sample.start()?;
        let target = Target::default();
        target.set(bridge.ready()?.ingress);
        let mut load = Load::new(life, seed);
        load.forms = &[Form::Itinerary, Form::Profile, Form::Fop, Form::Ess];
        let sender = load.start(&target);
        wait::until(START_LIMIT, "postbacks to be accepted", || {
            bridge.goes_on()?;
            Ok((sender.accepted() >= records).then_some(()))
        })?;
        sender.finish()?;
        bridge.kill9()?;
    }
    Ok(())
}

/// Every page of the database and of the log once, or as many as asked for; then everything else.
fn cases(journal: &Path, flips: u32, rng: &mut Rng) -> Outcome<Vec<Damage>> {
    let mut places = Vec::new();
    for file in [DATABASE, LOG] {
        let length = std::fs::metadata(journal.join(file))?.len();
        places.extend(
            (0..length.div_ceil(PAGE))
                .map(|page| (file, page * PAGE, PAGE.min(length - page * PAGE))),
        );
    }
    while places.len() > flips as usize {
        places.swap_remove(rng.below(places.len() as u64) as usize);
    }
    let mut cases: Vec<Damage> = places
        .into_iter()
        .map(|(file, start, length)| Damage::Flip {
            file,
            byte: start + rng.below(length),
            bit: rng.below(8) as u32,
        })
        .collect();
    for file in [DATABASE, LOG] {
        let length = std::fs::metadata(journal.join(file))?.len();
        for _ in 0..4 {
            cases.push(Damage::Cut {
                file,
                length: rng.below(length.max(1)),
            });
        }
        cases.extend([Damage::Remove(file), Damage::Overwrite(file)]);
    }
    cases.push(Damage::Newer);
    Ok(cases)
}

/// The start stops with 3 and tells, or serves and has every record.
fn judge(copy: &Replica, whole: &str, tally: &mut Tally) -> Outcome {
    let before = contents(&copy.journal())?;
    let bridge = copy.spawn()?;
    let code = wait::until(START_LIMIT, "the start to end one way or the other", || {
        if bridge.log_line("ready").is_some() {
            return Ok(Some(None));
        }
        Ok(bridge.process.ended()?.map(|status| Some(status.code())))
    })?;
    match code {
        Some(Some(3)) => {
            tells(&bridge, copy)?;
            ensure(contents(&copy.journal())? == before, || {
                "the files were touched".into()
            })?;
            tally.detected += 1;
            Ok(())
        }
        None => {
            let code = bridge.stop()?;
            ensure(code == 0 || code == 3, || {
                format!("served, then stopped with {code}: {}", bridge.last_words())
            })?;
            if code == 3 {
                tally.detected += 1;
                return tells(&bridge, copy);
            }
            let found = copy.run(&["journal", "export"])?;
            ensure(found == whole, || {
                "served, and does not have every record: a silent skip".into()
            })?;
            tally.harmless += 1;
            Ok(())
        }
        Some(code) => Err(Failure::broken(format!(
            "ended with {code:?} instead of 3: {}",
            bridge.last_words()
        ))),
    }
}

/// A record is damaged after the start has looked at it, before Kafka has it.
fn met_while_serving(arena: &Arena, seed: u64) -> Outcome {
    let proxy = Proxy::listen()?;
    let replica = Replica::new(
        &arena.dir("5").join("serving"),
        "bridge-0",
        &proxy.address().to_string(),
        "line-5-serving",
    )?;
    make_sample(&replica, seed)?;
    let bridge = replica.start()?;
    // The start has copied the log into the database.
    let database = replica.journal().join(DATABASE);
    let bytes = std::fs::read(&database)?;
    let word = b"\"specversion\"";
    let places = bytes
        .windows(word.len())
        .enumerate()
        .filter(|(_, window)| window == word);
    // In place: the process has the file open. In every record: the unused parts of pages have copies, too.
    let file = std::fs::File::options().write(true).open(&database)?;
    for (place, _) in places {
        file.write_all_at(&[bytes[place] ^ 1], place as u64)?;
    }
    proxy.forward_to(
        *arena
            .kafka()?
            .proxied
            .first()
            .doing("no proxied listener")?,
    );
    let code = bridge.process.wait_exit(START_LIMIT)?;
    ensure(code == 3, || {
        format!("ended with {code}: {}", bridge.last_words())
    })?;
    tells(&bridge, &replica)?;
    ensure(bridge.process.output().contains("\"ERROR\""), || {
        format!("no line is an error: {}", bridge.last_words())
    })
}

/// The operator is told which file, and what to type.
fn tells(bridge: &Bridge, copy: &Replica) -> Outcome {
    let words = bridge.process.output();
    let journal = copy.journal().display().to_string();
    for word in [journal.as_str(), "concur-bridge journal"] {
        ensure(words.contains(word), || {
            format!(
                "the message does not name {word:?}: {}",
                bridge.last_words()
            )
        })?;
    }
    Ok(())
}

/// What is in the journal, read from a copy: reading must not change the sample.
fn export(sample: &Replica, to: &Path) -> Outcome<String> {
    let mut copy = sample.clone();
    copy.dir = to.to_owned();
    copy.set_text("journal.dir", to.join("journal").display());
    copy_journal(&sample.journal(), &copy.journal())?;
    copy.run(&["journal", "export"])
}

/// What the files hold. SQLite leaves an empty log where there was none.
fn contents(journal: &Path) -> Outcome<Vec<Option<Vec<u8>>>> {
    let content = |file| {
        std::fs::read(journal.join(file))
            .ok()
            .filter(|content| !content.is_empty())
    };
    Ok([DATABASE, LOG, "journal.mark"].map(content).to_vec())
}

fn copy_journal(from: &Path, to: &Path) -> Outcome {
    std::fs::create_dir_all(to)?;
    for file in [DATABASE, LOG, "journal.mark"] {
        std::fs::copy(from.join(file), to.join(file)).doing(file)?;
    }
    Ok(())
}
