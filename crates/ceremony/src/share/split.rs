//! Splitting.

use attest::{Entropy, EntropyError};
use rand_core::{TryCryptoRng, TryRng};
use zeroize::Zeroizing;

use super::{ALPHABET, BLIND, LONGEST, Secret, SecretKind, Share, Threshold, ceremony_tag, commitment};

/// Why a secret was not split.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// Empty, or too long.
    #[error("a secret of {0} bytes cannot be split: 1 to {LONGEST} are possible")]
    Length(usize),
    /// The random source failed.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The sharing library wanted more random bytes than its scheme needs; nothing it made may be used.
    #[error("the sharing library does not draw its coefficients as it should")]
    Library,
}

/// Random bytes that were drawn before: the library's generator may not fail, our source may.
struct Drawn {
    bytes: Zeroizing<Vec<u8>>,
    used: usize,
    dry: bool,
}

impl Drawn {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let end = self.used.saturating_add(N);
        let taken = self.bytes.get(self.used..end).and_then(|b| b.try_into().ok());
        self.used = end;
        taken.unwrap_or_else(|| {
            self.dry = true;
            [0; N]
        })
    }
}

impl TryRng for Drawn {
    type Error = core::convert::Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(u32::from_le_bytes(self.take()))
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(u64::from_le_bytes(self.take()))
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        for byte in out {
            let [drawn] = self.take();
            *byte = drawn;
        }
        Ok(())
    }
}

impl TryCryptoRng for Drawn {}

/// Split a secret: the shares in the order of their numbers. All coefficients and the blind come from `entropy`.
///
/// # Errors
/// [`SplitError`].
pub fn split(
    secret: &Secret,
    ceremony: &str,
    kind: SecretKind,
    threshold: Threshold,
    entropy: &mut dyn Entropy,
) -> Result<Vec<Share>, SplitError> {
    let length = secret.expose().len();
    if length == 0 || length > LONGEST {
        return Err(SplitError::Length(length));
    }
    let mut blind = Zeroizing::new([0; BLIND]);
    entropy.fill(&mut *blind)?;
    let mut payload = Zeroizing::new(Vec::with_capacity(length + BLIND));
    payload.extend_from_slice(secret.expose());
    payload.extend_from_slice(&*blind);
    // One u32 for each coefficient: M − 1 for each byte.
    let words = payload.len() * usize::from(threshold.needed - 1);
    let mut drawn = Drawn {
        bytes: Zeroizing::new(vec![0; words * 4]),
        used: 0,
        dry: false,
    };
    entropy.fill(&mut drawn.bytes)?;
    let dealt: Vec<blahaj::Share> = blahaj::Sharks(threshold.needed)
        .dealer_rng(&payload, &mut drawn)
        .take(usize::from(threshold.of))
        .collect();
    if drawn.dry || drawn.used != words * 4 {
        return Err(SplitError::Library);
    }
    let ceremony = ceremony_tag(ceremony);
    let commitment = commitment(&ceremony, kind, threshold, secret.expose(), &*blind);
    let mut shares = Vec::with_capacity(dealt.len());
    for (share, index) in dealt.iter().zip(1..=threshold.of) {
        let bytes = Zeroizing::new(Vec::from(share));
        let (x, point) = bytes.split_first().ok_or(SplitError::Library)?;
        if *x != index || point.len() != payload.len() {
            return Err(SplitError::Library);
        }
        shares.push(Share {
            kind,
            index,
            threshold,
            ceremony,
            commitment,
            point: Zeroizing::new(point.to_vec()),
        });
    }
    if shares.len() != usize::from(threshold.of) {
        return Err(SplitError::Library);
    }
    Ok(shares)
}

/// A random PIN of so many letters of [`ALPHABET`], four bits each.
///
/// # Errors
/// [`EntropyError`].
pub fn draw_pin(letters: usize, entropy: &mut dyn Entropy) -> Result<Secret, EntropyError> {
    let mut pin = Zeroizing::new(vec![0; letters]);
    entropy.fill(&mut pin)?;
    for byte in pin.iter_mut() {
        *byte = ALPHABET.get(usize::from(*byte & 15)).copied().unwrap_or_default();
    }
    Ok(Secret::new(pin))
}
