//! Who publishes under this identity: one process after the other, never two in turn.
//!
//! A position record names the run that wrote it and the runs before it on its journal. Together with its place in the
//! topic that tells a predecessor, which left its last words, from a twin, which took over; no clock has a part in it.

use super::backlog::Lineage;
use super::positions::Found;

/// Whose the newest position record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// This run's.
    Ours,
    /// It was there before this process looked for the first time: a predecessor's, or another journal's.
    Earlier,
    /// A predecessor's on this journal, by its looks: it came in between the first look and the first taking of the id. It
    /// is one when it fits the journal, which has everything that a predecessor published.
    LastWords,
    /// A live process's that took over after us.
    Twins,
}

/// What a process knows of those who publish under its identity.
#[derive(Debug)]
pub(super) struct Succession {
    lineage: Lineage,
    /// Records from this offset of the positions topic on came after us. `None` before the first look.
    since: Option<i64>,
    /// Whether the id was ours once: from then on nobody who is dead can have written anything.
    taken: bool,
}

impl Succession {
    pub(super) fn new(lineage: Lineage) -> Self {
        Self {
            lineage,
            since: None,
            taken: false,
        }
    }

    pub(super) fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    /// Whether the topic has still to be looked at, which must be before the id is taken.
    pub(super) fn is_new(&self) -> bool {
        self.since.is_none()
    }

    /// The end of the positions topic, open transactions included, as seen now.
    ///
    /// One that went back is another topic of the same name, in which everything came after us, or lost its end, and then
    /// a predecessor's record may be the newest again.
    pub(super) fn look(&mut self, end: i64) {
        match self.since {
            Some(since) if since <= end => {}
            Some(_) => {
                self.since = Some(0);
                self.taken = false;
            }
            None => self.since = Some(end),
        }
    }

    /// The id was taken, then the end seen, and whatever lies before it is no twin's.
    pub(super) fn taken(&mut self, end: i64) {
        self.since = Some(end);
        self.taken = true;
    }

    pub(super) fn whose(&self, found: &Found) -> Whose {
        let since = self.since.unwrap_or(i64::MAX);
        let Some(record) = &found.record else {
            return Whose::Earlier;
        };
        if record.run == self.lineage.run {
            return Whose::Ours;
        }
        // A copy of our journal made after we had opened it.
        if record.before.contains(&self.lineage.run) {
            return Whose::Twins;
        }
        if found.offset < since {
            return Whose::Earlier;
        }
        if !self.taken && self.lineage.before.contains(&record.run) {
            return Whose::LastWords;
        }
        Whose::Twins
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::publish::positions::PositionRecord;

    const END: i64 = 100;

    fn found(offset: i64, run: Uuid, before: &[Uuid]) -> Found {
        let record = PositionRecord {
            journal: Uuid::nil(),
            generation: 1,
            run,
            before: before.to_vec(),
            position: 1,
            crc: 1,
        };
        Found {
            offset,
            record: Some(record),
        }
    }

    fn looked(run: Uuid, before: &[Uuid]) -> Succession {
        let mut succession = Succession::new(Lineage {
            run,
            before: before.to_vec(),
        });
        succession.look(END);
        succession
    }

    #[test]
    fn a_run_on_a_copy_of_our_journal_is_a_twin_wherever_its_record_lies() {
        let ours = Uuid::new_v4();
        let twins = found(END - 1, Uuid::new_v4(), &[ours]);
        assert_eq!(looked(ours, &[]).whose(&twins), Whose::Twins);
    }

    #[test]
    fn what_was_there_before_the_first_look_is_no_twins_and_what_came_later_is() {
        let mut succession = looked(Uuid::new_v4(), &[]);
        let stranger = Uuid::new_v4();
        let whose =
            |succession: &Succession, offset| succession.whose(&found(offset, stranger, &[]));
        assert_eq!(whose(&succession, END - 1), Whose::Earlier);
        assert_eq!(whose(&succession, END), Whose::Twins);
        succession.taken(END + 5);
        assert_eq!(whose(&succession, END + 4), Whose::Earlier);
        assert_eq!(whose(&succession, END + 5), Whose::Twins);
    }

    #[test]
    fn a_predecessor_has_last_words_only_until_the_id_was_taken() {
        let dead = Uuid::new_v4();
        let mut succession = looked(Uuid::new_v4(), &[dead]);
        let last = found(END, dead, &[]);
        assert_eq!(succession.whose(&last), Whose::LastWords);
        succession.taken(END);
        assert_eq!(succession.whose(&last), Whose::Twins);
    }

    #[test]
    fn in_a_topic_that_went_back_a_stranger_came_after_us_and_a_predecessor_did_not() {
        let dead = Uuid::new_v4();
        let mut succession = looked(Uuid::new_v4(), &[dead]);
        succession.taken(END);
        succession.look(3);
        let whose = |run| succession.whose(&found(2, run, &[]));
        assert_eq!(whose(Uuid::new_v4()), Whose::Twins);
        assert_eq!(whose(dead), Whose::LastWords);
    }
}
