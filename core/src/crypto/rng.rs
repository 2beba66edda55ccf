//! The engine's only source of randomness: ChaCha20, seeded once by the driver.

use core::fmt;

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

/// A deterministic generator. A clone continues with the same bytes, which is what forking an engine needs and what
/// a driver must never do in production: give every engine its own 32 bytes from the operating system.
#[derive(Clone, PartialEq, Eq)]
pub struct Rng(ChaCha20Rng);

impl Rng {
    /// A generator of the given 32-byte seed.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ChaCha20Rng::from_seed(seed))
    }

    /// `N` fresh bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        self.0.fill_bytes(&mut out);
        out
    }

    /// Fills `out` with fresh bytes.
    pub fn fill(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }

    /// A uniform number in `0..bound`. `bound` must not be 0; 0 gives 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        // Multiply-shift with rejection (Lemire): unbiased, and the same on every machine.
        let bound64 = u64::from(bound);
        let threshold = bound.wrapping_neg().checked_rem(bound).unwrap_or(0);
        loop {
            let product = u64::from(self.0.next_u32()) * bound64;
            #[allow(clippy::cast_possible_truncation, reason = "the low half is what the method compares")]
            if product as u32 >= threshold {
                return (product >> 32) as u32;
            }
        }
    }

    /// How many 32-bit words were taken: identifies the generator's state without showing it.
    #[must_use]
    pub fn position(&self) -> u128 {
        self.0.get_word_pos()
    }
}

/// The seed's own words are in the state, so two generators with equal positions and different seeds differ.
impl core::hash::Hash for Rng {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.0.get_seed().hash(state);
        self.position().hash(state);
    }
}

impl fmt::Debug for Rng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rng").field("position", &self.position()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::Rng;

    #[test]
    fn below_covers_its_range_and_nothing_else() {
        let mut rng = Rng::from_seed([7; 32]);
        let mut seen = [0u32; 16];
        for _ in 0..4000 {
            seen[rng.below(16) as usize] += 1;
        }
        assert!(seen.iter().all(|n| (150..350).contains(n)), "{seen:?}");
        assert_eq!(rng.below(0), 0);
    }
}
