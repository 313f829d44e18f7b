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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    struct Os;
    impl Entropy for Os {
        fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
            openssl::rand::rand_bytes(out).map_err(|_| EntropyError)
        }
    }
    struct Fixed([u8; 16]);
    impl Entropy for Fixed {
        fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
            out.copy_from_slice(&self.0);
            Ok(())
        }
    }
    struct Broken;
    impl Entropy for Broken {
        fn fill(&mut self, _out: &mut [u8]) -> Result<(), EntropyError> {
            Err(EntropyError)
        }
    }

    proptest! {
        /// 126 of the bits drawn are in the serial, whatever they are; DER never shortens or lengthens it.
        #[test]
        fn every_drawn_bit_but_two_is_kept(drawn in any::<[u8; 16]>()) {
            let serial = Serial::draw(&mut Fixed(drawn)).unwrap();
            prop_assert_eq!(serial.octets()[0] & 0x3f, drawn[0] & 0x3f);
            prop_assert_eq!(&serial.octets()[1..], &drawn[1..]);
            prop_assert_eq!(serial.octets()[0] >> 6, 0b01);
            let integer = openssl::bn::BigNum::from_slice(serial.octets()).unwrap();
            prop_assert_eq!(integer.to_vec(), serial.octets());
            prop_assert_eq!(serial.hex().len(), 32);
        }
    }

    #[test]
    fn no_serial_without_entropy() {
        assert_eq!(Serial::draw(&mut Broken), Err(EntropyError));
    }

    #[test]
    fn many_are_all_different_and_even() {
        const MANY: usize = 100_000;
        let mut ones = [0_usize; 128];
        let mut seen = HashSet::with_capacity(MANY);
        for _ in 0..MANY {
            let serial = Serial::draw(&mut Os).unwrap();
            for (bit, count) in ones.iter_mut().enumerate() {
                *count += usize::from(serial.octets()[bit / 8] >> (7 - bit % 8) & 1);
            }
            assert!(seen.insert(serial));
        }
        assert_eq!((ones[0], ones[1]), (0, MANY));
        // Eight standard deviations (of 158): a fair bit is outside once in 10^15 runs.
        assert!(ones[2..].iter().all(|n| n.abs_diff(MANY / 2) < 8 * 158), "{ones:?}");
    }
}
