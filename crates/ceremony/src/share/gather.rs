//! Putting a secret together again.

use zeroize::Zeroizing;

use super::{BLIND, Commitment, Secret, SecretKind, Share, ceremony_tag, commitment};

/// Which shares are wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    ceremony: [u8; 8],
    kind: SecretKind,
    commitment: Option<Commitment>,
}

impl Wanted {
    /// Shares of `kind` that the ceremony of this name made; of the split with this commitment, when it is known.
    #[must_use]
    pub fn new(ceremony: &str, kind: SecretKind, commitment: Option<Commitment>) -> Self {
        Self {
            ceremony: ceremony_tag(ceremony),
            kind,
            commitment,
        }
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Shares that were taken.
    pub have: u8,
    /// Shares that are needed.
    pub needed: u8,
}

/// Why a share, or all of them together, were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CombineError {
    /// Another ceremony's.
    #[error("this share is of another ceremony")]
    OtherCeremony,
    /// For another secret.
    #[error("this share is of a {found}, wanted is one of a {wanted}")]
    OtherKind {
        /// On the share.
        found: SecretKind,
        /// Asked for.
        wanted: SecretKind,
    },
    /// Of another split of the same ceremony.
    #[error("this share is of another split of the same ceremony: shares of two splits do not go together")]
    OtherSplit,
    /// The very same share.
    #[error("share {0} was typed already: another person's is wanted")]
    Twice(u8),
    /// The same number with other content.
    #[error("two different shares have the number {0}: one of them was altered")]
    Conflict(u8),
    /// There are enough.
    #[error("there are {0} shares, which is enough")]
    Enough(u8),
    /// Not yet.
    #[error("{have} of {needed} shares are there: too few, and they tell nothing")]
    TooFew {
        /// Typed.
        have: u8,
        /// Needed.
        needed: u8,
    },
    /// The commitment does not fit.
    #[error("the shares do not make the secret that was split: at least one of them was altered")]
    Altered,
}

/// Shares that are being gathered.
#[derive(Debug)]
pub struct Gathering {
    wanted: Wanted,
    shares: Vec<Share>,
}

impl Gathering {
    /// Nothing yet.
    #[must_use]
    pub fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            shares: Vec::new(),
        }
    }

    /// Take one more. What is refused changes nothing.
    ///
    /// # Errors
    /// [`CombineError`].
    pub fn add(&mut self, share: Share) -> Result<Standing, CombineError> {
        if share.ceremony != self.wanted.ceremony {
            return Err(CombineError::OtherCeremony);
        }
        if share.kind != self.wanted.kind {
            return Err(CombineError::OtherKind {
                found: share.kind,
                wanted: self.wanted.kind,
            });
        }
        if self.wanted.commitment.is_some_and(|wanted| wanted != share.commitment) {
            return Err(CombineError::OtherSplit);
        }
        if let Some(first) = self.shares.first() {
            let same = first.commitment == share.commitment
                && first.threshold == share.threshold
                && first.point.len() == share.point.len();
            if !same {
                return Err(CombineError::OtherSplit);
            }
        }
        if let Some(earlier) = self.shares.iter().find(|earlier| earlier.index == share.index) {
            // Both belong to the one who types them; nothing is learned from the time this takes.
            return Err(if earlier.point == share.point {
                CombineError::Twice(share.index)
            } else {
                CombineError::Conflict(share.index)
            });
        }
        let Standing { have, needed } = self.standing().unwrap_or(Standing {
            have: 0,
            needed: share.threshold.needed,
        });
        if have >= needed {
            return Err(CombineError::Enough(have));
        }
        self.shares.push(share);
        Ok(Standing { have: have + 1, needed })
    }

    /// How far it is; `None` before the first share, which tells how many are needed.
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        let first = self.shares.first()?;
        Some(Standing {
            have: u8::try_from(self.shares.len()).unwrap_or(u8::MAX),
            needed: first.threshold.needed,
        })
    }

    /// The secret, compared with the commitment.
    ///
    /// # Errors
    /// [`CombineError::TooFew`] or [`CombineError::Altered`].
    pub fn finish(self) -> Result<Secret, CombineError> {
        let Some(first) = self.shares.first() else {
            return Err(CombineError::TooFew { have: 0, needed: 2 });
        };
        let needed = first.threshold.needed;
        if self.shares.len() < usize::from(needed) {
            let have = u8::try_from(self.shares.len()).unwrap_or(u8::MAX);
            return Err(CombineError::TooFew { have, needed });
        }
        let mut points = Vec::with_capacity(self.shares.len());
        for share in &self.shares {
            let mut bytes = Zeroizing::new(Vec::with_capacity(1 + share.point.len()));
            bytes.push(share.index);
            bytes.extend_from_slice(&share.point);
            points.push(blahaj::Share::try_from(bytes.as_slice()).map_err(|_| CombineError::Altered)?);
        }
        let payload = blahaj::Sharks(needed)
            .recover(&points)
            .map_err(|_| CombineError::Altered)?;
        let payload = Zeroizing::new(payload);
        let split = payload
            .len()
            .checked_sub(BLIND)
            .and_then(|at| payload.split_at_checked(at));
        let Some((secret, blind)) = split else {
            return Err(CombineError::Altered);
        };
        if commitment(&first.ceremony, first.kind, first.threshold, secret, blind) != first.commitment {
            return Err(CombineError::Altered);
        }
        Ok(Secret::new(Zeroizing::new(secret.to_vec())))
    }
}
