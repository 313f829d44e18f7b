//! Serial numbers (RFC 5280 §4.1.2.2).

use attest::{Entropy, EntropyError};

/// 16 octets: the first two bits are 0 and 1, the other 126 random; positive, never shortened by DER.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Serial(pub(crate) [u8; 16]);

impl Serial {
    /// Draw a serial.
    ///
    /// # Errors
    /// [`EntropyError`].
    pub fn draw(entropy: &mut dyn Entropy) -> Result<Self, EntropyError> {
        let mut octets = [0; 16];
        entropy.fill(&mut octets)?;
        octets[0] = (octets[0] & 0x3f) | 0x40;
        Ok(Self(octets))
    }
    /// DER content octets.
    #[must_use]
    pub fn octets(&self) -> &[u8; 16] {
        &self.0
    }
    /// Lower-case hex of the DER content octets.
    #[must_use]
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}
