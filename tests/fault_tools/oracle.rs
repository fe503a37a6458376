//! Plants one fault each into a run in which all was well.

use std::time::Duration;

use crate::support::observed::Observed;
use crate::support::oracle::{Promises, Verdict, judge, taken_back};
use crate::support::sender::{Fate, Sent};
use crate::support::traffic::{Form, Key, Tag};

const JOURNAL: u128 = 0x0199_f3c2_0000_7000_8000_0000_0000_0001;

fn key(index: u32) -> Key {
    Key {
        form: Form::Itinerary,
        run: 1,
        worker: 0,
        index,
    }
}

fn tag(index: u32, n: u32) -> Tag {
    Tag { key: key(index), n }
}

/// Three keys, ten postbacks each, all accepted and all read, in turn.
fn all_well() -> (Vec<Sent>, Vec<Observed>) {
    let mut sent = Vec::new();
    let mut read = Vec::new();
    for step in 0..30_u32 {
        let tag = tag(step % 3, step / 3 + 1);
        let id = 1_000 + u128::from(step);
        sent.push(Sent {
            tag,
            fate: Fate::Accepted(id),
            at: Duration::ZERO,
            took: Duration::ZERO,
        });
        read.push(Observed {
            place: ("t".into(), (step % 3) as i32, i64::from(step)),
            id: Some(id),
            tag: Some(tag),
            position: Some((JOURNAL, u64::from(step) + 1)),
            quarantined: None,
            faults: Vec::new(),
        });
    }
    (sent, read)
}

fn verdict(plant: impl FnOnce(&mut Vec<Sent>, &mut Vec<Observed>)) -> Verdict {
    let (mut sent, mut read) = all_well();
    plant(&mut sent, &mut read);
    judge(&sent, &read, Promises::ALL)
}

#[test]
fn a_run_in_which_all_was_well_is_clean() {
    let verdict = verdict(|_, _| {});
    assert!(verdict.is_clean(), "{verdict}");
    assert_eq!((verdict.accepted, verdict.read), (30, 30));
}

#[test]
fn a_lost_event_is_caught_and_leaves_a_gap() {
    let verdict = verdict(|_, read| drop(read.remove(12)));
    assert_eq!(verdict.lost, [tag(0, 5)]);
    assert_eq!(verdict.gaps.len(), 1);
    assert!(!verdict.is_clean());
}

#[test]
fn a_loss_at_the_end_is_caught_though_it_leaves_no_gap() {
    let verdict = verdict(|_, read| drop(read.pop()));
    assert_eq!(verdict.lost, [tag(2, 10)]);
    assert!(verdict.gaps.is_empty());
    assert!(!verdict.is_clean());
}

#[test]
fn an_event_published_twice_is_caught() {
    let verdict = verdict(|_, read| {
        let mut copy = read[12].clone();
        copy.place.2 = 99;
        read.push(copy);
    });
    assert_eq!(verdict.doubled, [tag(0, 5)]);
    assert!(!verdict.is_clean());
}

#[test]
fn a_postback_accepted_once_and_published_under_two_ids_is_caught() {
    let verdict = verdict(|_, read| {
        let mut copy = read[29].clone();
        (copy.id, copy.place.2, copy.position) = (Some(7), 99, Some((JOURNAL, 31)));
        read.push(copy);
    });
    assert_eq!(verdict.doubled, [tag(2, 10)]);
    assert_eq!(verdict.phantom.len(), 1);
}

#[test]
fn two_events_that_share_an_id_are_caught() {
    let verdict = verdict(|sent, read| {
        sent[1].fate = Fate::Unanswered;
        read[1].id = read[0].id;
    });
    assert_eq!(verdict.phantom.len(), 1);
    assert!(!verdict.is_clean());
}

#[test]
fn a_swap_within_a_key_is_caught() {
    let verdict = verdict(|_, read| {
        // The same places and positions, the events the other way round.
        let (first, second) = (read[3].clone(), read[6].clone());
        (read[3].tag, read[3].id) = (second.tag, second.id);
        (read[6].tag, read[6].id) = (first.tag, first.id);
    });
    assert_eq!(verdict.reordered, [tag(0, 2)]);
    assert!(!verdict.is_clean());
}

#[test]
fn a_swap_between_keys_is_none() {
    let verdict = verdict(|_, read| read.swap(3, 4));
    assert!(verdict.is_clean(), "{verdict}");
}

#[test]
fn a_request_without_answer_may_be_missing_or_late_but_not_doubled() {
    let unanswered = |sent: &mut Vec<Sent>| sent[29].fate = Fate::Unanswered;
    let verdict_missing = verdict(|sent, read| {
        unanswered(sent);
        read.pop();
    });
    assert!(verdict_missing.is_clean(), "{verdict_missing}");
    let verdict_late = verdict(|sent, read| {
        sent[26].fate = Fate::Unanswered;
        (read[26].tag, read[29].tag) = (read[29].tag, read[26].tag);
        (read[26].id, read[29].id) = (read[29].id, read[26].id);
    });
    assert!(verdict_late.is_clean(), "{verdict_late}");
    let verdict_doubled = verdict(|sent, read| {
        unanswered(sent);
        let mut copy = read[29].clone();
        copy.position = Some((JOURNAL, 31));
        read.push(copy);
    });
    assert_eq!(verdict_doubled.doubled, [tag(2, 10)]);
}

#[test]
fn a_phantom_is_caught() {
    let verdict = verdict(|sent, _| sent.truncate(29));
    assert_eq!(verdict.phantom.len(), 1);
    assert!(!verdict.is_clean());
}

#[test]
fn an_event_that_names_no_postback_is_a_phantom() {
    let verdict = verdict(|sent, read| {
        sent[29].fate = Fate::Unanswered;
        read[29].tag = None;
    });
    assert_eq!(verdict.phantom.len(), 1);
}

#[test]
fn an_event_under_another_id_than_the_answer_is_caught() {
    let verdict = verdict(|_, read| read[4].id = Some(5));
    assert_eq!(verdict.phantom.len(), 1);
    assert!(!verdict.is_clean());
}

#[test]
fn an_altered_event_is_caught() {
    let verdict = verdict(|_, read| read[4].faults.push("subject is ...".into()));
    assert_eq!(verdict.altered.len(), 1);
    assert!(!verdict.is_clean());
}

#[test]
fn a_position_given_twice_is_caught() {
    let verdict = verdict(|_, read| read[4].position = Some((JOURNAL, 4)));
    assert_eq!(
        verdict.gaps.len(),
        2,
        "twice the 4, none between 4 and 6: {:?}",
        verdict.gaps
    );
}

#[test]
fn positions_of_a_key_that_go_back_are_caught() {
    let verdict = verdict(|_, read| {
        let (early, late) = (read[3].position, read[6].position);
        (read[3].position, read[6].position) = (late, early);
    });
    assert!(!verdict.gaps.is_empty());
}

#[test]
fn an_answer_that_this_traffic_must_never_get_is_caught() {
    let verdict = verdict(|sent, read| {
        sent[29].fate = Fate::Wrong(400);
        read.pop();
    });
    assert_eq!(verdict.wrong_answers, ["i1-0-2#10 got 400"]);
    assert!(!verdict.is_clean());
}

#[test]
fn without_the_promise_of_once_a_doubled_event_is_none() {
    let (sent, mut read) = all_well();
    read.push(read[12].clone());
    assert!(judge(&sent, &read, Promises::STATELESS).is_clean());
    read.remove(5);
    assert!(
        !judge(&sent, &read, Promises::STATELESS).is_clean(),
        "a loss still is one"
    );
}

#[test]
fn what_a_committed_reader_saw_and_is_gone_is_caught() {
    let (_, read) = all_well();
    assert!(taken_back(&read[..10], &read).is_empty());
    assert_eq!(taken_back(&read, &read[1..]).len(), 1);
}
