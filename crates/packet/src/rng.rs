//! Seeded randomness: the same seed gives the same numbers, and nobody without it can guess the next.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};

/// A seeded, unpredictable random generator (`ChaCha8`).
///
/// It is used for what peers must not guess (initial sequence numbers' keys, ports, IP identifiers)
/// and for what simulations must repeat (loss, jitter).
#[derive(Clone, Debug)]
pub struct Rng(ChaCha8Rng);

impl Rng {
    /// A generator that depends on `seed` alone.
    pub fn new(seed: [u8; 32]) -> Rng {
        Rng(ChaCha8Rng::from_seed(seed))
    }

    /// A generator from a short seed, as users give it on a command line.
    pub fn from_u64(seed: u64) -> Rng {
        Rng(ChaCha8Rng::seed_from_u64(seed))
    }

    /// The next 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Thirty-two random bytes: a seed for another generator, or a key.
    pub fn next_seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.0.fill_bytes(&mut seed);
        seed
    }

    /// A number in `0..bound`, without noticeable bias; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `[0, 1)` with 53 random bits.
    pub fn fraction(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True with the given probability (0 never, 1 always).
    pub fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.fraction() < probability
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence() {
        let (mut a, mut b, mut c) = (Rng::from_u64(7), Rng::from_u64(7), Rng::from_u64(8));
        let first = a.next_u64();
        assert_eq!(first, b.next_u64());
        assert_ne!(first, c.next_u64());
    }

    #[test]
    fn bounds_hold() {
        let mut rng = Rng::from_u64(1);
        for _ in 0..1_000 {
            assert!(rng.below(10) < 10);
            assert!(rng.fraction() < 1.0);
        }
        assert_eq!(rng.below(0), 0);
        assert!(!rng.chance(0.0));
        assert!(rng.chance(1.0));
    }
}
