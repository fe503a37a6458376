//! Randomness that a seed replays: SplitMix64, so that a run depends on nothing but the number that was printed.

use std::time::Duration;

/// A stream of random numbers.
#[derive(Clone)]
pub struct Rng(u64);

impl Rng {
    /// The stream of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A stream of its own for each `purpose`, so that one more draw here changes nothing there.
    pub fn fork(&self, purpose: u64) -> Self {
        let mut rng = Self(self.0 ^ purpose.wrapping_mul(0xA24B_AED4_963E_E407));
        rng.next();
        rng
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0. The bias of the remainder is of no account for bounds this small.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A duration from `low` to `high`.
    pub fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let span = high.saturating_sub(low).as_micros().max(1);
        low + Duration::from_micros(self.below(u64::try_from(span).unwrap_or(u64::MAX)))
    }
}
