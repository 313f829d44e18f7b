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
    /// A serial read back: nothing but what [`Serial::draw`] could have drawn.
    #[must_use]
    pub fn from_octets(octets: [u8; 16]) -> Option<Self> {
        (octets[0] & 0xc0 == 0x40).then_some(Self(octets))
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
            prop_assert_eq!(Serial::from_octets(*serial.octets()), Some(serial));
            prop_assert_eq!(Serial::from_octets(drawn).is_some(), drawn[0] >> 6 == 0b01);
        }
    }

    #[test]
    fn no_serial_without_entropy() {
        assert_eq!(Serial::draw(&mut Broken), Err(EntropyError));
    }

    /// K11: a million.
    #[test]
    fn many_are_all_different_and_even() {
        const MANY: u32 = 1_000_000;
        let mut counts = vec![[0_u32; 256]; 16];
        let mut all = Vec::with_capacity(1_000_000);
        for _ in 0..MANY {
            let serial = Serial::draw(&mut Os).unwrap();
            for (place, octet) in counts.iter_mut().zip(serial.octets()) {
                place[usize::from(*octet)] += 1;
            }
            all.push(u128::from_be_bytes(serial.0));
        }
        all.sort_unstable();
        assert!(all.windows(2).all(|pair| pair[0] != pair[1]), "a serial came twice");
        let ones = |bit: usize| -> u32 {
            let octets = counts[bit / 8].iter().enumerate();
            octets
                .filter_map(|(octet, count)| (octet >> (7 - bit % 8) & 1 == 1).then_some(count))
                .sum()
        };
        assert_eq!((ones(0), ones(1)), (0, MANY));
        // Eight standard deviations (of 500): a fair bit is outside once in 10^15 runs.
        for bit in 2..128 {
            assert!(ones(bit).abs_diff(MANY / 2) < 8 * 500, "bit {bit}: {}", ones(bit));
        }
    }
}
