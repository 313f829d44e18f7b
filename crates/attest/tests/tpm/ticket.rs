//! What is inside a ticket, read and written with the key in hand.

use crate::kit::Os;
use crate::kit::device::{Device, NOW};
use attest::{ChallengeError, Entropy, EntropyError, Pending, SealKey, TicketError, Watched};
use openssl::symm::{Cipher, decrypt_aead, encrypt_aead};

const KEY: [u8; 32] = [1; 32];
const ID: [u8; 16] = [9; 16];

fn key_id() -> Vec<u8> {
    openssl::sha::sha256(&[b"holdfast-ticket-key-id\0", &KEY[..]].concat())[..4].to_vec()
}

fn aad() -> Vec<u8> {
    [b"holdfast-ticket-v1\0", &key_id()[..], &ID].concat()
}

fn unseal(ticket: &[u8]) -> Vec<u8> {
    assert_eq!((ticket[0], &ticket[1..5]), (1, &key_id()[..]));
    let (sealed, tag) = ticket[17..].split_at(ticket.len() - 17 - 16);
    decrypt_aead(Cipher::aes_256_gcm(), &KEY, Some(&ticket[5..17]), &aad(), sealed, tag).unwrap()
}

fn seal(fields: &[u8]) -> Vec<u8> {
    let (nonce, mut tag) = ([2; 12], [0; 16]);
    let sealed = encrypt_aead(Cipher::aes_256_gcm(), &KEY, Some(&nonce), &aad(), fields, &mut tag).unwrap();
    [&[1], &key_id()[..], &nonce, &sealed, &tag].concat()
}

fn fields(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = bytes;
    let mut fields = Vec::new();
    while let Some((len, after)) = rest.split_first_chunk() {
        let (field, after) = after.split_at(usize::try_from(u32::from_be_bytes(*len)).unwrap());
        fields.push(field.to_vec());
        rest = after;
    }
    fields
}

fn joined(fields: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for field in fields {
        out.extend(u32::try_from(field.len()).unwrap().to_be_bytes());
        out.extend(field);
    }
    out
}

fn open(ticket: &[u8]) -> Result<(), TicketError> {
    Pending::open(&SealKey::new(&KEY, &[]), &ID, ticket, NOW).map(drop)
}

fn begin() -> (Vec<u8>, Vec<u8>) {
    let device = Device::p256();
    let (challenge, pending) = device.begin(ID);
    let secret = device.activate(&challenge, &device.ak_public.name()).unwrap();
    let ticket = pending.seal(&SealKey::new(&KEY, &[]), &mut Os).unwrap();
    (secret, unseal(&ticket))
}

/// A45: who holds the key and the ticket still does not hold the secret.
#[test]
fn a45_a_ticket_holds_the_secrets_hash_and_not_the_secret() {
    let (secret, inside) = begin();
    let holds = |needle: &[u8]| inside.windows(needle.len()).any(|window| window == needle);
    assert!(holds(&openssl::sha::sha256(&secret)));
    assert!(!holds(&secret));
    assert!(!holds(&secret[..16]) && !holds(&secret[16..]));
}

#[test]
fn fields_that_do_not_fit_are_no_ticket_though_the_key_sealed_them() {
    let (_, inside) = begin();
    assert_eq!(open(&seal(&inside)), Ok(()), "untouched");
    let all = fields(&inside);
    assert_eq!(joined(&all), inside);
    assert_eq!(all.len(), 24);

    assert_eq!(
        open(&seal(&[&inside[..], &[0]].concat())),
        Err(TicketError::Forged),
        "one byte more"
    );
    for len in 0..inside.len() {
        assert_eq!(open(&seal(&inside[..len])), Err(TicketError::Forged), "cut at {len}");
    }
    let with = |at: usize, field: &[u8]| {
        let mut all = all.clone();
        all[at] = field.to_vec();
        open(&seal(&joined(&all)))
    };
    for (at, field, what) in [
        (0, &[8; 16][..], "another enrollment inside than outside"),
        (0, &[9; 15], "short id"),
        (1, &[0xFF], "profile that is no text"),
        (2, &[2, b'x'], "an option neither absent nor present"),
        (4, &[0; 7], "short time"),
        (6, &[0; 33], "long nonce"),
        (7, &[0; 31], "short hash"),
        (10, &[0; 10], "an AK that is no public area"),
        (13, b"L-9", "unknown template"),
        (21, b"excellent", "unknown assurance"),
        (23, &[0, 0, 0, 2, 0x30], "a path whose last certificate is cut off"),
        (22, b"\xFF", "words that are no text"),
    ] {
        assert_eq!(with(at, field), Err(TicketError::Forged), "{what}");
    }
    assert_eq!(with(5, &(NOW.0 - 1).to_be_bytes()), Err(TicketError::Expired));
    assert_eq!(with(5, &NOW.0.to_be_bytes()), Ok(()), "the last second counts");
}

/// The same nonce twice under one key would end AES-GCM: a source that repeats itself must not get that far.
#[test]
fn a_random_source_that_repeats_itself_seals_nothing_twice() {
    struct Stuck;
    impl Entropy for Stuck {
        fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
            (1..).zip(out).for_each(|(number, byte)| *byte = number);
            Ok(())
        }
    }
    let mut source = Watched::new(Stuck);
    let key = SealKey::new(&KEY, &[]);
    let device = Device::p256();
    assert!(device.begin(ID).1.seal(&key, &mut source).is_ok());
    let second = device.begin(ID).1.seal(&key, &mut source);
    assert!(matches!(second, Err(ChallengeError::Entropy(EntropyError))));
}
