//! Answers: u16 size, identity key public area, then the request. The target holds the AK and certifies whatever it is
//! given, so that what comes after the certification is reached. No panic, and no binding for a key without a request
//! that it signed.
#![no_main]

use attest::tpm::{TpmtPublic, qualifying_data};
use attest::{Answer, Pending, SealKey, UnixTime};
use libfuzzer_sys::fuzz_target;
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey, EcPoint};
use openssl::ecdsa::EcdsaSig;
use openssl::nid::Nid;
use openssl::pkey::Private;
use openssl::symm::{Cipher, encrypt_aead};
use std::sync::LazyLock;

const KEY: [u8; 32] = [1; 32];
const ID: [u8; 16] = [7; 16];
const NONCE: [u8; 32] = [5; 32];
const SECRET: [u8; 32] = [6; 32];

/// The AK whose private part is 5, and its public area.
static AK: LazyLock<(EcKey<Private>, Vec<u8>)> = LazyLock::new(|| {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("P-256");
    let private = BigNum::from_u32(5).expect("5");
    let mut context = BigNumContext::new().expect("context");
    let mut point = EcPoint::new(&group).expect("point");
    point.mul_generator2(&group, &private, &mut context).expect("point");
    let (mut x, mut y) = (BigNum::new().expect("x"), BigNum::new().expect("y"));
    point
        .affine_coordinates(&group, &mut x, &mut y, &mut context)
        .expect("coordinates");
    let mut public = b"\x00\x23\x00\x0b\x00\x05\x00\x72\x00\x00\x00\x10\x00\x18\x00\x0b\x00\x03\x00\x10".to_vec();
    for coordinate in [x, y] {
        public.extend(sized(&coordinate.to_vec_padded(32).expect("32 bytes")));
    }
    (
        EcKey::from_private_components(&group, &private, &point).expect("key"),
        public,
    )
});

/// The seed of `ticket`, which a test of `attest` opens, with the id, the nonce, the secret and the AK of this target.
static TICKET: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let secret_sha256 = openssl::sha::sha256(&SECRET);
    let own: [(usize, &[u8]); 4] = [(0, &ID), (6, &NONCE), (7, &secret_sha256), (10, &AK.1)];
    let mut rest = &include_bytes!("../seeds/ticket/fields")[..];
    let mut inside = Vec::new();
    for at in 0.. {
        let Some((size, more)) = rest.split_first_chunk() else {
            break;
        };
        let (field, more) = more.split_at(u32::from_be_bytes(*size) as usize);
        rest = more;
        let field = own.iter().find(|(place, _)| *place == at).map_or(field, |(_, own)| own);
        inside.extend(u32::try_from(field.len()).expect("short").to_be_bytes());
        inside.extend(field);
    }
    let key_id = &openssl::sha::sha256(&[b"holdfast-ticket-key-id\0", &KEY[..]].concat())[..4];
    let aad = [b"holdfast-ticket-v1\0", key_id, &ID].concat();
    let (nonce, mut tag) = ([2; 12], [0; 16]);
    let sealed = encrypt_aead(Cipher::aes_256_gcm(), &KEY, Some(&nonce), &aad, &inside, &mut tag).expect("AES-GCM");
    [&[1], key_id, &nonce, &sealed, &tag].concat()
});

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes()[..], bytes].concat()
}

/// What an honest TPM with this AK says of the object `name`.
fn certify(name: &[u8], csr: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let extra = qualifying_data(&ID, &NONCE, csr);
    let clock = [
        0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1,
    ];
    let attest = [
        b"\xffTCG\x80\x17",
        &sized(b"\0\x0b")[..],
        &sized(&extra),
        &clock,
        &sized(name),
        &sized(name),
    ]
    .concat();
    let signature = EcdsaSig::sign(&openssl::sha::sha256(&attest), &AK.0).expect("a signature");
    let (r, s) = (signature.r().to_vec(), signature.s().to_vec());
    (attest, [&b"\0\x18\0\x0b"[..], &sized(&r), &sized(&s)].concat())
}

fuzz_target!(|bytes: &[u8]| {
    let Some((size, rest)) = bytes.split_first_chunk() else {
        return;
    };
    let Some((key_public, csr)) = rest.split_at_checked(usize::from(u16::from_be_bytes(*size))) else {
        return;
    };
    let name = TpmtPublic::parse(key_public)
        .map(|public| public.name())
        .unwrap_or_default();
    let (attest, signature) = certify(&name, csr);
    let pending = Pending::open(&SealKey::new(&KEY, &[]), &ID, &TICKET, UnixTime(10)).expect("our own ticket");
    let answer = Answer {
        secret: SECRET.to_vec(),
        key_public: key_public.to_vec(),
        attest,
        signature,
        csr: csr.to_vec(),
    };
    if let Ok(binding) = pending.answer(answer) {
        assert_eq!(binding.identity().public, key_public);
        assert_ne!(binding.identity().spki, binding.ak().spki);
    }
});
