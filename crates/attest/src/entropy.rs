//! Randomness is an argument.

/// A source of cryptographically secure random bytes.
pub trait Entropy {
    /// Fill `out` with fresh random bytes.
    ///
    /// # Errors
    /// [`EntropyError`] when the source is unhealthy; nothing may be issued then.
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError>;
}

/// The random source failed or repeats itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the random source failed or repeats itself")]
pub struct EntropyError;

/// Length of the samples that are compared; shorter draws are too short to say anything.
const SAMPLE: usize = 16;

/// A source under a repetition test (in the spirit of SP 800-90B §4.4.1): two draws of 16 bytes or more that begin
/// alike, one draw with the same 16 bytes twice in a row, or of one byte over and over, come from a broken source, or
/// once in 2^120. From then on it fails.
///
/// A stub, a forked state or a stuck device shows itself here before it shows in serial numbers.
pub struct Watched<E> {
    source: E,
    last: Option<[u8; SAMPLE]>,
    broken: bool,
}

impl<E: Entropy> Watched<E> {
    /// Watch `source`.
    pub fn new(source: E) -> Self {
        Self {
            source,
            last: None,
            broken: false,
        }
    }

    fn repeats(&mut self, out: &[u8]) -> bool {
        let Some(sample) = out.first_chunk::<SAMPLE>() else {
            return false;
        };
        let stuck = out.windows(2).all(|pair| pair.first() == pair.last());
        let twice = out
            .as_chunks::<SAMPLE>()
            .0
            .windows(2)
            .any(|pair| pair.first() == pair.last());
        stuck || twice || self.last.replace(*sample) == Some(*sample)
    }
}

impl<E: Entropy> Entropy for Watched<E> {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        if self.broken {
            return Err(EntropyError);
        }
        let outcome = self.source.fill(out);
        if outcome.is_err() || self.repeats(out) {
            self.broken = true;
            out.fill(0);
            return Err(EntropyError);
        }
        Ok(())
    }
}

impl<E: Entropy + ?Sized> Entropy for &mut E {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        (**self).fill(out)
    }
}

impl<E> core::fmt::Debug for Watched<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // The last sample is half a secret.
        f.debug_struct("Watched")
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}

impl<E> Drop for Watched<E> {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives the bytes it was told to, in turn.
    struct Script(Vec<Vec<u8>>);

    impl Entropy for Script {
        fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
            let next = self.0.remove(0);
            out.copy_from_slice(&next);
            Ok(())
        }
    }

    fn draw(source: &mut impl Entropy, len: usize) -> Result<Vec<u8>, EntropyError> {
        let mut out = vec![0; len];
        source.fill(&mut out).map(|()| out)
    }

    fn counting(from: u8) -> Vec<u8> {
        (from..from + 32).collect()
    }

    #[test]
    fn different_draws_pass_unchanged() {
        let mut source = Watched::new(Script(vec![counting(0), counting(1), counting(0)]));
        assert_eq!(draw(&mut source, 32), Ok(counting(0)));
        assert_eq!(draw(&mut source, 32), Ok(counting(1)));
        assert_eq!(draw(&mut source, 32), Ok(counting(0)));
    }

    #[test]
    fn a_source_that_repeats_itself_is_refused_for_good() {
        let mut source = Watched::new(Script(vec![counting(0), counting(0), counting(1)]));
        assert!(draw(&mut source, 32).is_ok());
        assert_eq!(draw(&mut source, 32), Err(EntropyError));
        assert_eq!(draw(&mut source, 32), Err(EntropyError), "broken once, broken for good");
    }

    #[test]
    fn a_stuck_source_is_refused_at_the_first_draw() {
        let mut source = Watched::new(Script(vec![vec![0x42; 32]]));
        assert_eq!(draw(&mut source, 32), Err(EntropyError));
    }

    #[test]
    fn a_repeat_within_one_draw_is_seen() {
        let half: Vec<u8> = (0..16).collect();
        let mut source = Watched::new(Script(vec![[half.clone(), half].concat()]));
        assert_eq!(draw(&mut source, 32), Err(EntropyError));
    }

    #[test]
    fn short_draws_say_nothing() {
        let mut source = Watched::new(Script(vec![vec![7; 12], vec![7; 12]]));
        assert!(draw(&mut source, 12).is_ok());
        assert!(draw(&mut source, 12).is_ok());
    }
}
