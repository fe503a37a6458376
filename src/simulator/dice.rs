//! Repeatable chance: the same seed throws the same numbers, on every machine and in every version.

/// SplitMix64 (Steele, Lea, Flood 2014). Not for secrets; the simulator's are worth nothing.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    /// Dice for one purpose: `of` tells the things of a seed apart.
    pub(super) fn new(seed: u64, of: &[u64]) -> Self {
        let mut dice = Self(seed);
        for part in of {
            dice.0 = dice.throw() ^ part.wrapping_mul(0xd6e8_feb8_6659_fd93);
        }
        dice
    }

    /// Any number.
    pub(super) fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.throw() % end.max(1)
    }

    /// One of a list that is not empty.
    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let index = usize::try_from(self.below(from.len() as u64)).unwrap_or(0);
        &from[index]
    }

    /// Yes with a probability between 0 and 1.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        // 53 bits fill a double's mantissa.
        ((self.throw() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }

    /// A text of `length` characters of an alphabet.
    pub(super) fn text(&mut self, length: usize, alphabet: &[u8]) -> String {
        (0..length)
            .map(|_| char::from(*self.pick(alphabet)))
            .collect()
    }

    /// A version 4 UUID.
    pub(super) fn uuid(&mut self) -> uuid::Uuid {
        let bytes = (u128::from(self.throw()) << 64 | u128::from(self.throw())).to_be_bytes();
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_throws_the_same_numbers_for_ever() {
        let mut dice = Dice::new(7, &[1, 2]);
        let thrown: Vec<_> = (0..3).map(|_| dice.below(1_000_000)).collect();
        assert_eq!(
            thrown,
            [317_645, 879_172, 425_403],
            "a change here changes what every --seed sends"
        );
        assert_ne!(Dice::new(7, &[1, 3]).throw(), Dice::new(7, &[1, 2]).throw());
    }

    #[test]
    fn chance_keeps_its_probability() {
        let mut dice = Dice::new(1, &[]);
        let hits = (0..10_000).filter(|_| dice.chance(0.05)).count();
        assert!((400..600).contains(&hits), "{hits}");
        assert!(!dice.chance(0.0) && dice.chance(1.0));
    }
}
