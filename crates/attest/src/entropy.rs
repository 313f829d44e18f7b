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
