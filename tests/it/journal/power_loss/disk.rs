//! The directory as a power loss leaves it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::recording::{Change, Recording};

/// What a disk writes whole.
const SECTOR_BYTES: usize = 512;

/// What is lost of that which no sync covers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Loss {
    Nothing,
    AllUnsynced,
    /// Some of it, as the dice say.
    Some,
}

/// Puts the directory together as it may be found when the power went at `moment` of the recording.
pub(super) fn lay_out(
    recording: &Recording,
    moment: usize,
    loss: Loss,
    dice: &mut Dice,
    directory: &Path,
) {
    let begun = recording
        .changes
        .iter()
        .filter(|timed| timed.is_begun(moment));
    // A file system's log keeps the order of names: of those not synced the first so many are kept.
    let unsynced_names = begun
        .clone()
        .filter(|timed| !is_content(&timed.change) && !timed.is_durable(moment))
        .count();
    let mut names_kept = match loss {
        Loss::Nothing => unsynced_names,
        Loss::AllUnsynced => 0,
        Loss::Some => dice.below(unsynced_names + 1),
    };
    let keep_of_8 = 1 + dice.below(7);
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    let mut directories: BTreeSet<&str> = BTreeSet::new();
    let mut contents: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    for timed in begun {
        let durable = timed.is_durable(moment);
        let kept = match loss {
            _ if durable => true,
            Loss::Nothing => true,
            Loss::AllUnsynced => false,
            Loss::Some if is_content(&timed.change) => dice.below(8) < keep_of_8,
            Loss::Some => {
                let kept = names_kept > 0;
                names_kept = names_kept.saturating_sub(1);
                kept
            }
        };
        if !kept {
            continue;
        }
        match &timed.change {
            Change::Write { file, at, bytes } => {
                let content = contents.entry(*file).or_default();
                let torn = !durable && matches!(loss, Loss::Some) && dice.below(4) == 0;
                for (start, sector) in sectors(*at, bytes) {
                    if torn && dice.below(2) == 0 {
                        continue;
                    }
                    let end = start + sector.len();
                    content.resize(content.len().max(end), 0);
                    content[start..end].copy_from_slice(sector);
                }
            }
            Change::Resize { file, bytes } => contents.entry(*file).or_default().resize(*bytes, 0),
            Change::Name { name, file } => {
                names.insert(name, *file);
            }
            Change::Unname(name) => {
                names.remove(name.as_str());
            }
            Change::MakeDirectory(name) => {
                directories.insert(name);
            }
        }
    }
    for name in directories {
        std::fs::create_dir_all(directory.join(name)).unwrap();
    }
    for (name, file) in names {
        let content = contents.get(&file).map_or(&[][..], Vec::as_slice);
        std::fs::write(directory.join(name), content).unwrap();
    }
}

/// Whether it is about a file's bytes, not about names.
fn is_content(change: &Change) -> bool {
    matches!(change, Change::Write { .. } | Change::Resize { .. })
}

/// The parts of a write that go to one sector each, with their place in the file.
fn sectors(at: usize, bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut start = at;
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let room = SECTOR_BYTES - start % SECTOR_BYTES;
        let (sector, behind) = rest.split_at(room.min(rest.len()));
        let place = start;
        (start, rest) = (start + sector.len(), behind);
        Some((place, sector))
    })
}

/// Random numbers that a seed repeats (SplitMix64).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).unwrap()
    }
}
