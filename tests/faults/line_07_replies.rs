//! Replies of the broker lost or held after it has applied the request.

use std::time::Duration;

use crate::arena::Arena;
use crate::runner::{Line, anywhere};
use crate::support::failure::{Doing, Outcome};
use crate::support::oracle::Promises;
use crate::support::proxy::{ADD_PARTITIONS_TO_TXN, END_TXN, INIT_PRODUCER_ID, PRODUCE, Strike};
use crate::support::sender::Load;
use crate::support::wait;
use crate::trial::Trial;

pub(crate) const LINE: Line = Line {
    name: "7",
    promise: "Exactly once, whatever the network does to Kafka's answers",
    fault: "reply lost, or held, after the broker applied the request",
    how: "a proxy in front of the broker cuts, drops or holds replies of Produce, AddPartitionsToTxn, EndTxn, InitProducerId",
    possible: anywhere,
    run,
};

const APIS: [(i16, &str); 4] = [
    (PRODUCE, "Produce"),
    (ADD_PARTITIONS_TO_TXN, "AddPartitionsToTxn"),
    (END_TXN, "EndTxn"),
    (INIT_PRODUCER_ID, "InitProducerId"),
];

/// How long until the publisher asks again for what got no answer.
const RECOVERY_LIMIT: Duration = Duration::from_secs(150);

fn run(arena: &Arena) -> Outcome<String> {
    let mut rng = arena.rng("7");
    let runs = arena.cycles(2, 25);
    let proxy = arena.proxy()?;
    proxy.calm();
    let mut replica = arena.replica("7", "bridge-0")?;
    replica.set_text("kafka.brokers", proxy.address());
    let mut trial = Trial::begin(arena, replica)?;
    let sender = Load::new(1, rng.next()).at_rate(200).start(&trial.target);

    let hold = if arena.long {
        Duration::from_secs(30)
    } else {
        Duration::from_secs(3)
    };
    let mut struck = 0;
    let mut slowest = Duration::ZERO;
    for run in 0..runs {
        for (api, name) in APIS {
            // A dropped reply costs a request timeout of the client: the long form has the time.
            let strikes = if arena.long && run % 5 == 0 {
                vec![Strike::Cut, Strike::Hold(hold), Strike::Drop]
            } else if run % 2 == 0 {
                vec![Strike::Cut, Strike::Hold(hold)]
            } else {
                vec![Strike::Cut]
            };
            for strike in strikes {
                let doing = format!("{strike:?} of {name}, run {run}");
                wait::pause(rng.between(Duration::from_millis(20), Duration::from_millis(200)));
                let before = proxy.struck();
                let times = 1 + rng.below(2) as u32;
                proxy.strike(api, strike, if api == INIT_PRODUCER_ID { 1 } else { times });
                if api == INIT_PRODUCER_ID {
                    // Asked only by a new producer.
                    trial.bridge.kill9()?;
                    trial.restart()?;
                }
                proxy
                    .wait_struck(before + 1, RECOVERY_LIMIT)
                    .doing(&doing)?;
                let start = std::time::Instant::now();
                trial.wait_flow(RECOVERY_LIMIT, 20).doing(&doing)?;
                slowest = slowest.max(start.elapsed());
                proxy.calm();
                trial.bridge.goes_on().doing(&doing)?;
                struck += proxy.struck() - before;
            }
        }
    }
    let log = sender.finish()?;
    let verdict = trial.settle(&log, Promises::ALL)?;
    Ok(format!(
        "{struck} replies struck over {} APIs, publishing again after at most {:.1} s; {verdict}",
        APIS.len(),
        slowest.as_secs_f64()
    ))
}
