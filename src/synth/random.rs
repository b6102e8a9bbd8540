//! Random numbers that are identical on every machine.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// A seeded stream of random numbers.
pub(super) struct Random(Pcg64Mcg);

impl Random {
    /// Stream number `stream` of `seed`; streams are independent.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mixed = seed ^ stream.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self(Pcg64Mcg::seed_from_u64(mixed))
    }

    /// 64 random bits.
    pub(super) fn word(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound` (0 when `bound` is 0).
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.word()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// A random index into a list of `length` entries.
    pub(super) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// A random entry of a non-empty list.
    pub(super) fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.index(list.len())]
    }

    /// True with probability `millionth` per million.
    pub(super) fn chance(&mut self, millionth: u64) -> bool {
        self.below(1_000_000) < millionth
    }

    /// A factor around 1 in thousandths, the product of six draws: approximately log-normal with a
    /// spread of about 0.37.
    pub(super) fn spread(&mut self) -> u64 {
        let mut bits = self.word();
        let mut factor = 1_000_000;
        for _ in 0..6 {
            factor = factor * (760 + (bits & 1023) * 520 / 1023) / 1000;
            bits >>= 10;
        }
        factor / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_never_changes() {
        let mut random = Random::new(42, 0);
        let words = [random.word(), random.word()];
        assert_eq!(words, [3_679_412_060_479_191_269, 7_542_833_892_341_319_867]);
    }

    #[test]
    fn factors_lie_around_one() {
        let mut random = Random::new(1, 1);
        let mut factors: Vec<u64> = (0..10_001).map(|_| random.spread()).collect();
        factors.sort_unstable();
        assert!((900..1100).contains(&factors[5_000]), "median {}", factors[5_000]);
        assert!((550..800).contains(&factors[1_600]), "lower {}", factors[1_600]);
        assert!((1300..1700).contains(&factors[8_400]), "upper {}", factors[8_400]);
    }
}
