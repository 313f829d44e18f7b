//! What the challenges of enrollments and renewals have in common: their name, and how they are told.

use attest::{Challenge, Entropy, EntropyError, UnixTime};
use wire::EnrollmentId;
use wire::enrollment::{EnrollmentChallenge, EnrollmentState, TpmChallenge};

/// A name for a challenge: five octets of time before eleven of chance. What is stored under the names of one day lies
/// side by side, so that an index of a hundred million of them is written at its end.
pub(super) fn draw_id(entropy: &mut dyn Entropy, now: UnixTime) -> Result<EnrollmentId, EntropyError> {
    let mut id = [0; 16];
    entropy.fill(&mut id)?;
    if let Some((time, _)) = id.split_first_chunk_mut::<5>() {
        let [_, _, _, now @ ..] = now.0.to_be_bytes();
        *time = now;
    }
    Ok(EnrollmentId(id))
}

/// The answer that carries a challenge.
pub(super) fn told(
    id: EnrollmentId,
    [now, expires_at]: [UnixTime; 2],
    challenge: Challenge,
    ticket: Vec<u8>,
) -> EnrollmentChallenge {
    EnrollmentChallenge {
        id,
        state: EnrollmentState::Challenged,
        server_time: now.0,
        expires_at: expires_at.0,
        challenge: TpmChallenge {
            credential_blob: challenge.credential_blob.into(),
            secret: challenge.encrypted_secret.into(),
            nonce: challenge.nonce.to_vec().into(),
        },
        ticket: ticket.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::house::OsEntropy;

    #[test]
    fn names_of_one_second_lie_together_and_later_ones_behind_them() {
        let draw = |now| draw_id(&mut OsEntropy, UnixTime(now)).unwrap().0;
        let mut names: Vec<[u8; 16]> = [1, 255, 256, 1_795_305_600, 253_402_300_799].map(draw).to_vec();
        let drawn = names.clone();
        names.sort_unstable();
        assert_eq!(names, drawn, "in the order of time");
        let (one, other) = (draw(1_795_305_600), draw(1_795_305_600));
        assert_eq!(one[..5], other[..5]);
        assert_ne!(one[5..], other[5..]);
    }
}
