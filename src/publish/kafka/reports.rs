//! Waiting for delivery reports.
//!
//! rdkafka's `poll` rounds what is left of its timeout down to milliseconds and asks librdkafka again and again through the
//! last one: a wait of a millisecond is a millisecond of a core, measured as half of what the publisher used. So it is only
//! asked for what is there already, and the waiting is done here, in naps that grow while nothing comes.

use std::time::{Duration, Instant};

use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};

/// The first nap: a fraction of what a broker on the same machine takes to answer.
const SHORTEST_NAP: Duration = Duration::from_micros(400);
/// The longest: what a report may be late when nothing came for a while.
const LONGEST_NAP: Duration = Duration::from_millis(5);

/// Handles reports for as long as `timeout`, or until the last message in flight was reported.
pub(super) fn handle<C: ProducerContext>(producer: &BaseProducer<C>, timeout: Duration) {
    let until = Instant::now() + timeout;
    let mut nap = SHORTEST_NAP;
    loop {
        let reported = handle_waiting(producer);
        if reported && producer.in_flight_count() == 0 {
            return;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        if reported {
            nap = SHORTEST_NAP;
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "librdkafka has no wait that does not spin"
        )]
        std::thread::sleep(nap.min(left));
        nap = (nap * 2).min(LONGEST_NAP);
    }
}

/// Handles what is there; whether messages were reported. Asked without a timeout, `poll` takes one event.
fn handle_waiting<C: ProducerContext>(producer: &BaseProducer<C>) -> bool {
    let before = producer.in_flight_count();
    let mut last = before;
    loop {
        producer.poll(Duration::ZERO);
        let now = producer.in_flight_count();
        if now >= last {
            return now < before;
        }
        last = now;
    }
}
