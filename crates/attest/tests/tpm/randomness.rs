//! A18: a challenge is made of fresh draws of the source and of nothing else. That the server's source is even and does
//! not repeat is measured where it is (`ca-server/src/house/entropy.rs`).

use crate::kit::Os;
use crate::kit::device::{Device, context};
use attest::{ChallengeError, Entropy, EntropyError};

/// Real randomness, written down.
#[derive(Default)]
struct Recorded(Vec<Vec<u8>>);

impl Entropy for Recorded {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        Os.fill(out)?;
        self.0.push(out.to_vec());
        Ok(())
    }
}

/// Real randomness, so many draws of it.
struct After(usize);

impl Entropy for After {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        self.0 = self.0.checked_sub(1).ok_or(EntropyError)?;
        Os.fill(out)
    }
}

#[test]
fn a18_secret_and_nonce_are_draws_of_their_own() {
    for device in [Device::p256(), Device::rsa2048()] {
        let mut source = Recorded::default();
        for round in 0..20 {
            let (challenge, _) = device
                .endorse()
                .unwrap()
                .challenge(context([1; 16]), &mut source)
                .unwrap();
            let draws = source.0.split_off(0);
            assert!(draws.len() >= 3, "secret, nonce, and the seed or the ephemeral key");
            let secret = device.activate(&challenge, &device.ak_public.name()).unwrap();
            assert_eq!((secret.len(), &secret), (32, &draws[0]), "{round}");
            assert_eq!(challenge.nonce[..], draws[1], "{round}");
            assert!(draws[2].len() >= 32, "{round}");
        }
    }
}

/// No challenge is made of what the source did not give.
#[test]
fn a18_a_source_that_ends_ends_the_challenge() {
    for device in [Device::p256(), Device::rsa2048()] {
        for draws in 0..3 {
            let outcome = device.endorse().unwrap().challenge(context([1; 16]), &mut After(draws));
            assert!(
                matches!(outcome, Err(ChallengeError::Entropy(EntropyError))),
                "{draws} draws"
            );
        }
        let made = device.endorse().unwrap().challenge(context([1; 16]), &mut After(8));
        assert!(made.is_ok());
    }
}

/// Nor a ticket: its nonce is drawn, too.
#[test]
fn a18_no_ticket_is_sealed_without_randomness() {
    let key = attest::SealKey::new(&[1; 32], &[]);
    let device = Device::p256();
    let outcome = device.begin([1; 16]).1.seal(&key, &mut After(0));
    assert!(matches!(outcome, Err(ChallengeError::Entropy(EntropyError))));
    let mut source = Recorded::default();
    let ticket = device.begin([1; 16]).1.seal(&key, &mut source).unwrap();
    assert_eq!(ticket[5..17], source.0[0][..12], "the nonce is the draw");
}
