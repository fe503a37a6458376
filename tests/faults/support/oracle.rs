//! The oracle: the log of the senders against what consumers read.
//!
//! Pure. It answers which events were **lost** (answered 2xx, never read), **doubled** (the same event, or the same
//! postback, twice), **reordered** (read before an earlier one of its key that had been answered 2xx before it was
//! sent), **phantom** (never sent, or read under another id than the one answered), **altered** (invalid by schema, or
//! a field differs), and which **gaps** the positions of each journal have. A request without a 2xx may appear once or
//! not at all.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use super::observed::Observed;
use super::sender::{Fate, Id, Sent};
use super::traffic::{Key, Tag};

/// Which promises are judged: those of the mode that the bridge runs in.
#[derive(Clone, Copy, Debug)]
pub struct Promises {
    /// No event twice. Not promised by `delivery = "at_least_once"` and by the stateless mode.
    pub once: bool,
    /// Order per key. Not promised across replicas.
    pub order: bool,
    /// Positions without gaps, each once. The stateless mode has none.
    pub positions: bool,
}

impl Promises {
    /// `delivery = "exactly_once"` with a journal: everything.
    pub const ALL: Self = Self {
        once: true,
        order: true,
        positions: true,
    };
    /// No journal: nothing is lost, everything else is as good as it gets.
    pub const STATELESS: Self = Self {
        once: false,
        order: false,
        positions: false,
    };
}

/// What was found. Every list is empty when the promises were kept.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Requests answered 2xx.
    pub accepted: usize,
    /// Events read.
    pub read: usize,
    /// Quarantined requests, and stubs of records that Kafka refused, by topic and reason.
    pub quarantined: BTreeMap<(String, String), usize>,
    /// Answered 2xx and never read.
    pub lost: Vec<Tag>,
    /// Read more than once.
    pub doubled: Vec<Tag>,
    /// Read before one that had been accepted before it was sent.
    pub reordered: Vec<Tag>,
    /// Never sent, or under another id.
    pub phantom: Vec<String>,
    /// Not what was sent.
    pub altered: Vec<String>,
    /// Holes and repetitions in the positions of a journal.
    pub gaps: Vec<String>,
    /// Answers that the traffic must never get.
    pub wrong_answers: Vec<String>,
}

impl Verdict {
    /// Whether every promise was kept.
    pub fn is_clean(&self) -> bool {
        self.findings().iter().all(|(_, count, _)| *count == 0)
    }

    fn findings(&self) -> [(&'static str, usize, Option<String>); 7] {
        fn of<T: fmt::Display>(
            name: &'static str,
            list: &[T],
        ) -> (&'static str, usize, Option<String>) {
            (name, list.len(), list.first().map(T::to_string))
        }
        [
            of("lost", &self.lost),
            of("doubled", &self.doubled),
            of("reordered", &self.reordered),
            of("phantom", &self.phantom),
            of("altered", &self.altered),
            of("gaps", &self.gaps),
            of("wrong answers", &self.wrong_answers),
        ]
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} accepted, {} read", self.accepted, self.read)?;
        for (name, count, first) in self.findings() {
            match first {
                None => write!(f, ", {name} 0")?,
                Some(first) => write!(f, ", {name} {count} (first: {first})")?,
            }
        }
        Ok(())
    }
}

/// Judges what was `read`, in the order of each partition, by what was `sent`.
pub fn judge(sent: &[Sent], read: &[Observed], promises: Promises) -> Verdict {
    let fates: HashMap<Tag, Fate> = sent.iter().map(|sent| (sent.tag, sent.fate)).collect();
    let mut verdict = Verdict {
        read: read.len(),
        ..Verdict::default()
    };

    let mut copies: BTreeMap<Tag, usize> = BTreeMap::new();
    let mut ids: HashMap<Id, usize> = HashMap::new();
    for event in read {
        verdict.altered.extend(
            event
                .faults
                .iter()
                .map(|fault| format!("{:?}: {fault}", event.place)),
        );
        let Some(tag) = event.tag else {
            if let Some(reason) = &event.quarantined {
                let place = (event.place.0.clone(), reason.clone());
                *verdict.quarantined.entry(place).or_default() += 1;
            } else {
                verdict.phantom.push(format!("{:?}", event.place));
            }
            continue;
        };
        *copies.entry(tag).or_default() += 1;
        if let Some(id) = event.id {
            *ids.entry(id).or_default() += 1;
        }
        match fates.get(&tag) {
            None => verdict.phantom.push(format!("{tag} was never sent")),
            Some(Fate::Accepted(id)) if event.id != Some(*id) => {
                verdict
                    .phantom
                    .push(format!("{tag} has another id than the answer"));
            }
            Some(_) => {}
        }
    }
    for event in sent {
        match event.fate {
            Fate::Accepted(_) => {
                verdict.accepted += 1;
                if !copies.contains_key(&event.tag) {
                    verdict.lost.push(event.tag);
                }
            }
            Fate::Wrong(status) => verdict
                .wrong_answers
                .push(format!("{} got {status}", event.tag)),
            Fate::Shed | Fate::Unanswered => {}
        }
    }
    if promises.once {
        verdict.doubled.extend(
            copies
                .iter()
                .filter(|(_, copies)| **copies > 1)
                .map(|(tag, _)| *tag),
        );
        let shared = ids.values().filter(|count| **count > 1).count();
        if shared > 0 && verdict.doubled.is_empty() {
            verdict
                .phantom
                .push(format!("{shared} ids are shared by different events"));
        }
    }
    if promises.order {
        verdict.reordered = reordered(&fates, read);
    }
    if promises.positions {
        verdict.gaps = gaps(read);
    }
    verdict
}

/// Every event that was read after a later one of its key although it had been accepted before that one was sent.
fn reordered(fates: &HashMap<Tag, Fate>, read: &[Observed]) -> Vec<Tag> {
    let mut highest: HashMap<(Key, &str, i32), u32> = HashMap::new();
    let mut late = Vec::new();
    for event in read {
        let Some(tag) = event.tag else { continue };
        let (topic, partition, _) = &event.place;
        let highest = highest.entry((tag.key, topic, *partition)).or_default();
        if tag.n < *highest && matches!(fates.get(&tag), Some(Fate::Accepted(_))) {
            late.push(tag);
        }
        *highest = tag.n.max(*highest);
    }
    late
}

/// Holes and repetitions between the first and the last position of each journal, and keys whose positions go back.
fn gaps(read: &[Observed]) -> Vec<String> {
    let mut findings = Vec::new();
    let mut journals: BTreeMap<u128, Vec<u64>> = BTreeMap::new();
    let mut last_of_key: HashMap<(u128, Key), u64> = HashMap::new();
    for event in read {
        let Some((journal, position)) = event.position else {
            findings.push(format!("{:?} has no position", event.place));
            continue;
        };
        journals.entry(journal).or_default().push(position);
        if let Some(tag) = event.tag {
            let last = last_of_key.entry((journal, tag.key)).or_default();
            if position < *last {
                findings.push(format!(
                    "{tag} at position {position} follows {last} of its key"
                ));
            }
            *last = position.max(*last);
        }
    }
    for (journal, mut positions) in journals {
        positions.sort_unstable();
        let journal = uuid::Uuid::from_u128(journal);
        for pair in positions.windows(2) {
            match pair[1] - pair[0] {
                0 => findings.push(format!("{journal}: position {} twice", pair[0])),
                1 => {}
                _ => findings.push(format!(
                    "{journal}: no position between {} and {}",
                    pair[0], pair[1]
                )),
            }
        }
    }
    findings
}

/// Differences between what a reader saw during the fault and what is there afterwards: read_committed must not take
/// anything back. `during` may have seen less.
pub fn taken_back(during: &[Observed], afterwards: &[Observed]) -> Vec<String> {
    let there: HashMap<&(String, i32, i64), Option<Id>> = afterwards
        .iter()
        .map(|event| (&event.place, event.id))
        .collect();
    during
        .iter()
        .filter(|event| there.get(&event.place) != Some(&event.id))
        .map(|event| {
            format!(
                "{:?} was read during the fault and is not there afterwards",
                event.place
            )
        })
        .collect()
}
