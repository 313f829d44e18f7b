//! Numbers from a seed: the same storm again.

/// `SplitMix64`.
pub struct Dice(u64);

impl Dice {
    /// Neighbouring seeds draw series that have nothing in common: of a state that is a multiple of the step each would be
    /// the other's, one throw later.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Self(seed).throw(u64::MAX))
    }

    /// A number below `below`.
    pub fn throw(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    /// A number below `below`, for an index.
    ///
    /// # Panics
    /// Where a `usize` is smaller than it.
    pub fn below(&mut self, below: usize) -> usize {
        usize::try_from(self.throw(below as u64)).expect("an index")
    }

    /// One of these.
    ///
    /// # Panics
    /// Of none.
    pub fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}
