//! Every retriable error of every API that the bridge uses, given by librdkafka's mock cluster.
//!
//! The mock shows aborted records and does not fence: it is no witness for "once". For what is lost and in which order
//! things first appear it is.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Code};

use crate::arena::Arena;
use crate::runner::{Line, anywhere};
use crate::support::bridge::Replica;
use crate::support::failure::{Doing, Outcome, ensure};
use crate::support::oracle::{Promises, judge};
use crate::support::sender::Load;
use crate::support::wait;
use crate::trial::{Trial, stop};

pub(crate) const LINE: Line = Line {
    name: "10",
    promise: "A retriable error of Kafka costs time, never an event or the order",
    fault: "every retriable error of every API",
    how: "error stacks of librdkafka's mock cluster, one pair after the other under load; the short form draws pairs",
    possible: anywhere,
    run,
};

const CODES: [Code; 11] = [
    Code::RD_KAFKA_RESP_ERR__TRANSPORT,
    Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
    Code::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
    Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
    Code::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
    Code::RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION,
    Code::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
    Code::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
    Code::RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
    Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
    Code::RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS,
];

/// Asked for all the time.
const STEADY: [Api; 3] = [Api::Produce, Api::AddPartitionsToTxn, Api::EndTxn];

/// Asked for by the start sequence: the process is started anew for each.
const AT_START: [Api; 5] = [
    Api::Metadata,
    Api::FindCoordinator,
    Api::InitProducerId,
    Api::ListOffsets,
    Api::Fetch,
];

/// For these librdkafka gives a message up, so that its transaction is aborted. The mock would show the position record of
/// an aborted one, and what it covers would be passed over: no broker does that to a reader of `read_committed`.
const GIVEN_UP: [Code; 2] = [
    Code::RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION,
    Code::RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS,
];

/// What pauses the publisher is tried again every 10 s; an unknown topic is asked for 30 s.
const RECOVERY_LIMIT: Duration = Duration::from_secs(90);

fn run(arena: &Arena) -> Outcome<String> {
    let mut rng = arena.rng("10");
    let mut pairs: Vec<(Api, Code)> = STEADY
        .into_iter()
        .chain(AT_START)
        .flat_map(|api| CODES.map(|code| (api, code)))
        .collect();
    let all = pairs.len();
    pairs.retain(|(api, code)| !(*api == Api::Produce && GIVEN_UP.contains(code)));
    while pairs.len() > arena.cycles(16, u32::MAX) as usize {
        pairs.swap_remove(rng.below(pairs.len() as u64) as usize);
    }

    let cluster = MockCluster::new(1)?;
    let bootstrap = cluster.bootstrap_servers();
    let dir = arena.dir("10").join("bridge-0");
    let mut replica = Replica::new(&dir, "bridge-0", &bootstrap, "line-10")?;
    // The mock knows no API to make or describe topics.
    replica.set("kafka.create_topics", false);
    for topic in replica.topics() {
        cluster.create_topic(&topic, 4, 1)?;
    }
    cluster.create_topic("line-10.positions", 1, 1)?;
    let mut trial = Trial::on(arena, replica, &bootstrap)?;
    let sender = Load::new(1, rng.next()).at_rate(200).start(&trial.target);
    let mut slowest = Duration::ZERO;
    // By the processes before.
    let mut published_before = 0.0;
    for (api, code) in &pairs {
        let doing = format!("{code:?} of {api:?}");
        let at_start = AT_START.contains(api);
        if at_start {
            // The mock gives an error to whoever asks next: the reader must not ask for these.
            trial.follower.pause().doing(&doing)?;
            published_before += published(&trial)?;
            // In order: the mock would show what a killed process had not committed, its position included.
            stop(&trial.bridge).doing(&doing)?;
        }
        cluster.request_errors(*api, &[*code, *code]);
        if at_start {
            trial.restart().doing(&doing)?;
        }
        let (start, before) = (Instant::now(), published(&trial)?);
        wait::until(RECOVERY_LIMIT, "publishing to go on", || {
            Ok((published(&trial)? > before + 40.0).then_some(()))
        })
        .doing(&doing)?;
        slowest = slowest.max(start.elapsed());
        cluster.clear_request_errors(*api);
        if at_start {
            trial.follower.read_on().doing(&doing)?;
            // The mock keeps 5 MiB of a partition: the reader catches up before they are passed.
            let wanted = published_before + published(&trial)?;
            trial
                .wait(RECOVERY_LIMIT, "the reader to catch up", || {
                    trial.follower.count() as f64 >= wanted
                })
                .doing(&doing)?;
        }
        trial.bridge.goes_on().doing(&doing)?;
    }
    let log = sender.finish()?;
    // Errors may have left a partition of the reader's consumer without a fetch for good: the end is read by another.
    trial.follower.pause()?;
    trial.follower.read_on()?;
    // Not read again from the beginning: the mock keeps 5 MiB of a partition.
    let (mut read, whole) = trial.read_along(&log)?;
    // Aborted attempts are visible here: each event counts where it first appears.
    let mut seen = HashSet::new();
    read.retain(|event| event.tag.is_none_or(|tag| seen.insert(tag)));
    let promises = Promises {
        order: true,
        ..Promises::STATELESS
    };
    let mut verdict = judge(&log, &read, promises);
    if whole.is_err() {
        verdict.lost.clear();
    }
    ensure(verdict.is_clean(), || verdict.to_string())?;
    whole?;
    Ok(format!(
        "{} of {all} pairs, publishing again after at most {:.1} s; {verdict}",
        pairs.len(),
        slowest.as_secs_f64()
    ))
}

/// Events that the process which runs now has published.
fn published(trial: &Trial) -> Outcome<f64> {
    trial.bridge.metric("concur_bridge_publish_events_total")
}
