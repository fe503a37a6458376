//! How long the publisher waits, and for what.

mod play;

use play::{GOOD_DAY, Script, gaps, play};

use super::*;
use crate::publish::failure::FailureKind;

#[test]
fn what_only_an_operator_can_mend_is_tried_again_every_ten_seconds() {
    let play = play(Script {
        survey: |_| Some(FailureKind::Topic),
        pauses: 5,
        ..GOOD_DAY
    });
    assert!(play.is_degraded(Degraded::TopicMissing));
    let state = play.state();
    assert_eq!(state.pauses, [Duration::from_secs(10); 5]);
    assert_eq!(gaps(&state.surveys), [Duration::from_secs(10); 4]);
}

#[test]
fn waits_for_brokers_grow_from_100_ms_to_two_seconds() {
    let play = play(Script {
        survey: |_| Some(FailureKind::Unreachable),
        pauses: 8,
        ..GOOD_DAY
    });
    assert!(play.is_degraded(Degraded::KafkaDown));
    for (number, pause) in play.state().pauses.iter().enumerate() {
        let middle = Duration::from_millis(100 << number).min(Duration::from_secs(2));
        let range = middle / 2..middle * 3 / 2;
        assert!(range.contains(pause), "{number}: {pause:?}");
    }
}

#[test]
fn topics_are_looked_at_when_nothing_was_delivered_for_two_seconds() {
    let play = play(Script {
        survey: |number| (number == 2).then_some(FailureKind::Topic),
        delivers: false,
        records: 1,
        pauses: 1,
        ..GOOD_DAY
    });
    let state = play.state();
    let stall = Duration::from_secs(2);
    assert_eq!(gaps(&state.surveys), [stall, stall]);
    assert_eq!(state.pauses, [Duration::from_secs(10)]);
    assert!(state.published.is_empty());
}

#[test]
fn a_commit_that_is_not_done_after_fifteen_seconds_costs_the_producer() {
    let play = play(Script {
        commit_takes: None,
        records: 1,
        pauses: 1,
        ..GOOD_DAY
    });
    assert!(play.is_degraded(Degraded::KafkaDown));
    let text = play.status.last_error().unwrap();
    assert!(
        text.contains("a commit was not done after 15 s: it is slow"),
        "{text}"
    );
    let state = play.state();
    let first = state.commits[0];
    let last = *state.commits.last().unwrap();
    assert_eq!(last - first, Duration::from_millis(14_500));
}

#[test]
fn the_publisher_rests_eight_times_as_long_as_a_batch_took_and_150_ms_at_most() {
    for (commit, rest) in [(5, 48), (10, 88), (100, 150)] {
        let commit = Duration::from_millis(commit);
        let play = play(Script {
            commit_takes: Some(commit),
            records: 3,
            idles: 1,
            ..GOOD_DAY
        });
        let state = play.state();
        let positions: Vec<u64> = state.published.iter().map(|noted| noted.1).collect();
        assert_eq!(positions, [0, 1, 2, 3]);
        let times: Vec<Instant> = state.published.iter().map(|noted| noted.0).collect();
        // A batch takes a poll of a millisecond and its commit.
        let poll = Duration::from_millis(1);
        let between = Duration::from_millis(rest) + poll + commit;
        assert_eq!(gaps(&times)[1..], [between, between]);
    }
}

#[test]
fn brokers_that_are_gone_are_asked_every_second_whether_they_are_back() {
    let play = play(Script {
        lost_all_brokers: true,
        idles: 40,
        ..GOOD_DAY
    });
    assert!(play.is_degraded(Degraded::KafkaDown));
    let state = play.state();
    // As often as an idle wait of 100 ms and a poll of 1 ms allow.
    assert_eq!(gaps(&state.probes), [Duration::from_millis(1_010); 3]);
}

#[test]
fn an_alarm_is_over_when_the_position_that_ended_it_is_seen() {
    let play = play(Script {
        survey: |number| (number == 0).then_some(FailureKind::Authorization),
        records: 1,
        idles: 1,
        ..GOOD_DAY
    });
    let seen: Vec<(u64, Vec<Degraded>)> = play
        .state()
        .published
        .iter()
        .map(|(_, position, degraded)| (*position, degraded.clone()))
        .collect();
    assert_eq!(
        seen,
        [(0, vec![Degraded::Authorization]), (1, Vec::new())],
        "the position record of the start publishes nothing"
    );
}
