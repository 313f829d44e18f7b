//! Randomness from OpenSSL's generator, for all threads.

use std::sync::{Mutex, PoisonError};

use attest::{Entropy, EntropyError};

/// OpenSSL's generator, seeded by the kernel.
#[derive(Clone, Copy, Debug)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        openssl::rand::rand_bytes(out).map_err(|_| EntropyError)
    }
}

/// One source for all threads.
pub struct SharedEntropy(Mutex<Box<dyn Entropy + Send>>);

impl SharedEntropy {
    /// Share `source`.
    #[must_use]
    pub fn new(source: Box<dyn Entropy + Send>) -> Self {
        Self(Mutex::new(source))
    }

    /// A borrowed source.
    #[must_use]
    pub fn lease(&self) -> Lease<'_> {
        Lease(self)
    }
}

/// Locks for each draw, so that one slow user never holds others up.
pub struct Lease<'a>(&'a SharedEntropy);

impl Entropy for Lease<'_> {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).fill(out)
    }
}

#[cfg(test)]
mod tests {
    use attest::Watched;

    use super::*;

    /// As many draws as 10^5 challenges make: none repeats, every bit is fair, every byte as frequent as every other.
    #[test]
    fn a18_the_draws_of_a_hundred_thousand_challenges() {
        const CHALLENGES: usize = 100_000;
        let source = SharedEntropy::new(Box::new(Watched::new(OsEntropy)));
        let mut seen = std::collections::HashSet::with_capacity(2 * CHALLENGES);
        // How often each byte stands at each place of a draw.
        let mut counts = vec![[0_u32; 256]; 32];
        for _ in 0..2 * CHALLENGES {
            // Secret, or nonce.
            let mut draw = [0; 32];
            source.lease().fill(&mut draw).unwrap();
            for (place, byte) in counts.iter_mut().zip(draw) {
                place[usize::from(byte)] += 1;
            }
            assert!(seen.insert(draw), "a draw came twice");
        }
        // Each bit is one in half of 200 000 draws: standard deviation 224; eight of them.
        for (place, counts) in counts.iter().enumerate() {
            for bit in 0..8 {
                let ones: u32 = counts
                    .iter()
                    .enumerate()
                    .filter_map(|(byte, count)| (byte >> bit & 1 == 1).then_some(count))
                    .sum();
                assert!(ones.abs_diff(100_000) < 8 * 224, "place {place}, bit {bit}: {ones}");
            }
        }
        // Chi-square over all bytes: 255 degrees of freedom, mean 255, standard deviation 22.6; eight of them, both ways.
        let expected = 200_000.0 * 32.0 / 256.0;
        let chi: f64 = (0..256)
            .map(|byte| f64::from(counts.iter().map(|place| place[byte]).sum::<u32>()) - expected)
            .map(|off| off * off / expected)
            .sum();
        assert!((74.0..436.0).contains(&chi), "chi-square {chi}");
    }
}
