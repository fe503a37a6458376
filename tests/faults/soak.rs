//! A soak with mixed faults: hours by `--for`, a few seconds in the short form. `dev/soak` is its front.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::arena::Arena;
use crate::runner::{Line, anywhere};
use crate::support::failure::{Doing, Outcome};
use crate::support::oracle::Promises;
use crate::support::proxy::{END_TXN, PRODUCE, Strike};
use crate::support::sender::Load;
use crate::support::wait;
use crate::trial::{Trial, stop};

pub(crate) const LINE: Line = Line {
    name: "28",
    promise: "All of it, for hours: nothing lost, nothing twice, and its memory is shown",
    fault: "soak with mixed faults",
    how: "kill, SIGTERM, pause, broker down, connections cut, replies lost, in random order under load",
    possible: anywhere,
    run,
};

/// The part of the time in which faults may end the process.
const ENDING_SHARE: f64 = 0.25;
/// KiB per minute that count as flat. Printed, not judged: the allocator's noise over a short soak is more.
const FLAT_SLOPE: f64 = 128.0;

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
    let mut life = Life::default();
    while start.elapsed() < time {
        wait::pause(rng.between(Duration::from_millis(200), Duration::from_secs(3)));
        life.sample(&trial)?;
        faults += 1;
        // The process that lives from here to the end is the one whose memory is shown.
        let spared = if start.elapsed() < time.mul_f64(ENDING_SHARE) {
            0
        } else {
            2
        };
        match spared + rng.below(8 - spared) {
            0 => {
                trial.bridge.kill9()?;
                trial.restart().doing("after a kill")?;
                life = Life::default();
            }
            1 => {
                stop(&trial.bridge)?;
                trial.restart().doing("after SIGTERM")?;
                life = Life::default();
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
        trial.bridge.goes_on()?;
    }
    proxy.calm();
    let log = sender.finish()?;
    let verdict = trial.settle(&log, Promises::ALL)?;
    Ok(format!(
        "{} s, {faults} faults, {}; {verdict}",
        time.as_secs(),
        life.told()
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

    /// How long it was, and what became of its memory.
    fn told(&self) -> String {
        let (Some((_, first)), Some((minutes, last))) = (self.samples.first(), self.samples.last())
        else {
            return "no process lived long enough for its memory to be seen".into();
        };
        let slope = self.slope().map_or("no slope yet".into(), |slope| {
            let word = if slope.abs() < FLAT_SLOPE {
                "flat"
            } else {
                "not flat"
            };
            format!("slope {slope:.0} KiB/min: {word}")
        });
        format!(
            "the last process lived {minutes:.1} min, resident {first:.0} → {last:.0} KiB, {slope}"
        )
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
