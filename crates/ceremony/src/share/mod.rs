//! A secret in M of N hands: split, printed, typed, put together again.
//!
//! Shamir's scheme over GF(256) comes from `blahaj`. Around it stands what that scheme does not give: a share says of
//! which ceremony, kind and split it is, each printed line carries a checksum, and what is put together is compared with
//! a commitment before anybody sees it, so that a wrong share makes a refusal and never a wrong key.
//!
//! What is split is `secret || blind`, with 16 random bytes of blind; the commitment, which every share carries, is a
//! digest over both. Fewer than M shares tell nothing about the blind, so the commitment cannot be used to try out a
//! short PIN.

mod gather;
mod paper;
mod split;

pub use gather::{CombineError, Gathering, Standing, Wanted};
pub use paper::{ALPHABET, LineError, Reading, ShareReader};
pub use split::{SplitError, draw_pin, split};

use zeroize::Zeroizing;

/// Longest secret, bytes.
pub const LONGEST: usize = 64;
/// Most shares of one secret.
pub const MOST: u8 = 16;

/// Bytes of the blind.
const BLIND: usize = 16;
/// Bytes of a share before its point: version, kind, index, M, N, length, ceremony, commitment.
const HEADER: usize = 6 + 8 + 16;
/// Bytes of the checksum over a whole share.
const WHOLE: usize = 8;
/// The only version there is.
const VERSION: u8 = 1;

/// What the secret is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretKind {
    /// The user PIN of a token.
    TokenPin,
    /// The PIN of a token's security officer.
    SoPin,
    /// The AES-256 key that wraps a backup.
    BackupKey,
}

impl SecretKind {
    const ALL: [(Self, u8); 3] = [(Self::TokenPin, 1), (Self::SoPin, 2), (Self::BackupKey, 3)];

    fn number(self) -> u8 {
        match self {
            Self::TokenPin => 1,
            Self::SoPin => 2,
            Self::BackupKey => 3,
        }
    }

    fn of(number: u8) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find_map(|(kind, n)| (n == number).then_some(kind))
    }
}

impl core::fmt::Display for SecretKind {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.write_str(match self {
            Self::TokenPin => "token PIN",
            Self::SoPin => "security officer's PIN",
            Self::BackupKey => "backup key",
        })
    }
}

/// M of N: 2 ≤ M ≤ N ≤ [`MOST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    needed: u8,
    of: u8,
}

impl Threshold {
    /// `None` when M is below two, above N, or N is above [`MOST`]: one share alone would be the secret itself.
    #[must_use]
    pub fn new(needed: u8, of: u8) -> Option<Self> {
        (needed >= 2 && needed <= of && of <= MOST).then_some(Self { needed, of })
    }

    /// M.
    #[must_use]
    pub fn needed(self) -> u8 {
        self.needed
    }

    /// N.
    #[must_use]
    pub fn of(self) -> u8 {
        self.of
    }
}

impl core::fmt::Display for Threshold {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(out, "{} of {}", self.needed, self.of)
    }
}

/// A secret. Wiped when dropped, not shown by `Debug`.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Take these bytes.
    #[must_use]
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl core::fmt::Debug for Secret {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.write_str("Secret(..)")
    }
}

/// Binds a split to its secret and tells nothing about it: 16 bytes of
/// `SHA-256("holdfast share commitment v1" 00 || ceremony || kind || M || N || length || secret || blind)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commitment(pub [u8; 16]);

/// One share. Wiped when dropped, not shown by `Debug`.
pub struct Share {
    kind: SecretKind,
    index: u8,
    threshold: Threshold,
    ceremony: [u8; 8],
    commitment: Commitment,
    /// The point's ordinates, one for each byte of `secret || blind`.
    point: Zeroizing<Vec<u8>>,
}

impl core::fmt::Debug for Share {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.debug_struct("Share")
            .field("kind", &self.kind)
            .field("index", &self.index)
            .field("threshold", &self.threshold)
            .finish_non_exhaustive()
    }
}

impl Share {
    /// Its number, from one.
    #[must_use]
    pub fn index(&self) -> u8 {
        self.index
    }

    /// What the secret is for.
    #[must_use]
    pub fn kind(&self) -> SecretKind {
        self.kind
    }

    /// How many are needed, of how many.
    #[must_use]
    pub fn threshold(&self) -> Threshold {
        self.threshold
    }

    /// The same on all shares of one split; fit for a transcript.
    #[must_use]
    pub fn commitment(&self) -> Commitment {
        self.commitment
    }
}

/// What of a ceremony's name stands in its shares: 8 bytes of `SHA-256("holdfast share ceremony v1" 00 || name)`.
fn ceremony_tag(ceremony: &str) -> [u8; 8] {
    digest(b"holdfast share ceremony v1\0", &[ceremony.as_bytes()])
}

fn commitment(ceremony: &[u8; 8], kind: SecretKind, threshold: Threshold, secret: &[u8], blind: &[u8]) -> Commitment {
    let length = u8::try_from(secret.len()).unwrap_or(u8::MAX);
    let head = [kind.number(), threshold.needed, threshold.of, length];
    Commitment(digest(
        b"holdfast share commitment v1\0",
        &[ceremony, &head, secret, blind],
    ))
}

/// The first bytes of SHA-256 over domain and parts.
fn digest<const N: usize>(domain: &[u8], parts: &[&[u8]]) -> [u8; N] {
    // In one piece, which is wiped; OpenSSL wipes what it works with.
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    let mut whole = Zeroizing::new(Vec::with_capacity(domain.len().saturating_add(length)));
    whole.extend_from_slice(domain);
    for part in parts {
        whole.extend_from_slice(part);
    }
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(openssl::sha::sha256(&whole)) {
        *to = from;
    }
    out
}

#[cfg(test)]
mod tests;
