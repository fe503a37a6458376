use super::*;
use crate::config::Config;

const EXACTLY_ONCE: Option<Delivery> = Some(Delivery::ExactlyOnce);

fn topics() -> Topics {
    let text = "kafka.brokers = \"127.0.0.1:9092\"";
    Config::parse(text, std::iter::empty()).unwrap().topics
}

/// All that is wanted, as it should be.
fn seen(wanted: &[Wanted]) -> Vec<Seen> {
    let facts = Facts {
        partitions: 1,
        replicas: 3,
        ..Facts::default()
    };
    wanted
        .iter()
        .map(|topic| Seen {
            name: topic.name.clone(),
            state: Ok(facts.clone()),
        })
        .collect()
}

/// As [`seen`], but the first partition of the first topic has no leader.
fn seen_without_a_leader(wanted: &[Wanted]) -> Vec<Seen> {
    let mut seen = seen(wanted);
    if let Ok(facts) = &mut seen[0].state {
        facts.leaderless = Some(0);
    }
    seen
}

#[test]
fn what_is_as_it_should_be_can_be_used_and_is_settled() {
    let wanted = wanted(&topics(), EXACTLY_ONCE);
    let seen = seen(&wanted);
    assert_eq!(judge(&wanted, &seen), (vec![], vec![]));
    assert!(are_settled(&wanted, &seen));
}

#[test]
fn a_partition_without_a_leader_keeps_transactions_waiting() {
    let wanted = wanted(&topics(), EXACTLY_ONCE);
    let seen = seen_without_a_leader(&wanted);
    let (faults, warnings) = judge(&wanted, &seen);
    let text = format!("topic {} partition 0: no leader", seen[0].name);
    assert_eq!(faults, [Failure::new(FailureKind::Unreachable, text)]);
    assert_eq!(warnings, [""; 0]);
    assert!(!are_settled(&wanted, &seen));
}

#[test]
fn without_transactions_it_is_a_warning_because_all_other_partitions_can_be_used() {
    for delivery in [Some(Delivery::AtLeastOnce), None] {
        let wanted = wanted(&topics(), delivery);
        let seen = seen_without_a_leader(&wanted);
        let text = format!("topic {} partition 0: no leader", seen[0].name);
        assert_eq!(judge(&wanted, &seen), (vec![], vec![text]), "{delivery:?}");
    }
}

#[test]
fn topics_that_are_unknown_or_cannot_be_asked_for_are_not_settled() {
    let wanted = wanted(&topics(), EXACTLY_ONCE);
    assert!(!are_settled(&wanted, &[]));
    for (kind, settled) in [
        (FailureKind::Topic, false),
        (FailureKind::Unreachable, false),
        (FailureKind::Authorization, true),
    ] {
        let mut seen = seen(&wanted);
        seen[0].state = Err(Failure::new(kind, "why"));
        assert_eq!(are_settled(&wanted, &seen), settled, "{kind:?}");
    }
}
