//! A soak with mixed faults: hours by `--for`, a few seconds in the short form. `dev/soak` is its front.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::arena::Arena;
use crate::runner::{Line, anywhere};
use crate::support::failure::{Doing, Outcome, ensure};
use crate::support::oracle::Promises;
use crate::support::proxy::{END_TXN, PRODUCE, Strike};
use crate::support::sender::Load;
use crate::support::wait;
use crate::trial::{STOP_LIMIT, Trial};

pub(crate) const LINE: Line = Line {
    name: "28",
    promise: "All of it, for hours: nothing lost, nothing twice, memory flat",
    fault: "soak with mixed faults",
    how: "kill, SIGTERM, pause, broker down, connections cut, replies lost, in random order under load",
    possible: anywhere,
    run,
};

/// KiB per minute. The allocator's noise over a short soak is more: then the slope is printed, not judged.
const SLOPE_LIMIT: f64 = 256.0;
const JUDGED_FROM: Duration = Duration::from_secs(600);

fn run(arena: &Arena) -> Outcome<String> {
    let mut rng = arena.rng("28");
    let time = arena
        .soak
        .unwrap_or(Duration::from_secs(if arena.long { 1_800 } else { 20 }));
    let proxy = arena.proxy()?;
    proxy.calm();
    let mut replica = arena.replica("28", "bridge-0")?;
    replica.set_text("kafka.brokers", proxy.address());
    let mut trial = Trial::begin(arena, replica)?;
    let sender = Load::new(1, rng.next()).at_rate(150).start(&trial.target);
    let start = Instant::now();
    let mut faults = 0_u32;
    let mut slopes = Vec::new();
    let mut life = Life::default();
    while start.elapsed() < time {
        wait::pause(rng.between(Duration::from_millis(200), Duration::from_secs(3)));
        life.sample(&trial)?;
        faults += 1;
        match rng.below(8) {
            0 => {
                trial.bridge.process.kill9()?;
                trial.restart().doing("after a kill")?;
                slopes.extend(std::mem::take(&mut life).slope());
            }
            1 => {
                let code = trial.bridge.stop(STOP_LIMIT)?;
                ensure(code == 0, || {
                    format!("SIGTERM ended with {code}: {}", trial.bridge.last_words())
                })?;
                trial.restart().doing("after SIGTERM")?;
                slopes.extend(std::mem::take(&mut life).slope());
            }
            2 => {
                trial.bridge.process.signal(Signal::STOP)?;
                wait::pause(rng.between(Duration::from_millis(100), Duration::from_secs(3)));
                trial.bridge.process.signal(Signal::CONT)?;
            }
            3 => {
                let kind = if rng.below(2) == 0 {
                    "kill 1"
                } else {
                    "stop 1"
                };
                arena.kafka()?.tell(kind)?;
                wait::pause(rng.between(Duration::from_millis(100), Duration::from_secs(5)));
                arena.kafka()?.tell("start 1")?;
            }
            4 => proxy.cut_all(),
            5 => proxy.strike(END_TXN, Strike::Cut, 1),
            6 => proxy.strike(PRODUCE, Strike::Cut, 1),
            _ => proxy.strike(
                END_TXN,
                Strike::Hold(rng.between(Duration::from_millis(50), Duration::from_secs(2))),
                1,
            ),
        }
        ensure(trial.bridge.process.ended()?.is_none(), || {
            format!("the bridge ended: {}", trial.bridge.last_words())
        })?;
    }
    proxy.calm();
    let log = sender.finish()?;
    let verdict = trial.settle(&log, Promises::ALL)?;
    slopes.extend(life.slope());
    let slope = slopes.iter().sum::<f64>() / slopes.len().max(1) as f64;
    if time >= JUDGED_FROM {
        ensure(slope < SLOPE_LIMIT, || {
            format!("resident memory grows by {slope:.0} KiB a minute")
        })?;
    }
    Ok(format!(
        "{} s, {faults} faults, {slope:.0} KiB/min over {} lives; {verdict}",
        time.as_secs(),
        slopes.len()
    ))
}

/// Resident memory over the life of one process.
#[derive(Default)]
struct Life {
    start: Option<Instant>,
    samples: Vec<(f64, f64)>,
}

impl Life {
    fn sample(&mut self, trial: &Trial) -> Outcome {
        let start = *self.start.get_or_insert_with(Instant::now);
        let resident = trial.bridge.process.resident_kib()? as f64;
        self.samples
            .push((start.elapsed().as_secs_f64() / 60.0, resident));
        Ok(())
    }

    /// KiB per minute by least squares; none for a life too short to tell. The first third warms caches up.
    fn slope(&self) -> Option<f64> {
        let samples = &self.samples[self.samples.len() / 3..];
        if samples.len() < 5 {
            return None;
        }
        let n = samples.len() as f64;
        let (x, y) = samples.iter().fold((0.0, 0.0), |(x, y), sample| {
            (x + sample.0 / n, y + sample.1 / n)
        });
        let (num, den) = samples.iter().fold((0.0, 0.0), |(num, den), sample| {
            (
                num + (sample.0 - x) * (sample.1 - y),
                den + (sample.0 - x).powi(2),
            )
        });
        (den > 0.0).then(|| num / den)
    }
}
