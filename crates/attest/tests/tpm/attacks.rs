//! Attacks on the conversation, each in all else honest: the named check is the one that refuses.

use crate::kit::device::{Device, anchors, context, csr};
use crate::kit::{Attest, Os, Public, SoftKey, ec, rsa};
use attest::tpm::{TpmAlgId, TpmEccCurve, qualifying_data};
use attest::{ChallengeError, Entropy, EntropyError, Evidence, Pending, Reason, Refusal, SealKey, TicketError};
use openssl::hash::MessageDigest;
use std::time::{Duration, Instant};

const P256: TpmEccCurve = TpmEccCurve::NIST_P256;

fn refused<T>(outcome: Result<T, Refusal>) -> Reason {
    match outcome {
        Ok(_) => panic!("accepted"),
        Err(refusal) => refusal.reason,
    }
}

/// A reply in which the certification is about `public`, honestly signed by the AK.
fn certify(device: &mut Device, key: SoftKey, public: Public) -> Result<(), Refusal> {
    device.key = key;
    device.key_public = public;
    device.enroll(|_, _| {}).map(drop)
}

#[test]
fn a01_a_software_key_as_ak_never_gets_a_challenge() {
    // As TPM2_LoadExternal takes it: sign and decrypt, userWithAuth, nothing that ties it to a TPM.
    let mut device = Device::rsa2048();
    device.ak_public.attributes = 0x0006_0040;
    assert_eq!(refused(device.endorse()), Reason::AkAttr);
}

#[test]
fn a03_an_unrestricted_ak_is_refused() {
    let mut device = Device::p256();
    device.ak_public.attributes &= !0x0001_0000;
    assert_eq!(refused(device.endorse()), Reason::AkAttr);
}

#[test]
fn a04_other_magic_is_refused_though_the_ak_signed_it() {
    let device = Device::p256();
    let outcome = device.enroll(|_, reply| reply.attest.magic = 0xFF54_4348);
    assert_eq!(refused(outcome), Reason::CertMagic);
}

#[test]
fn other_attestation_types_are_refused_though_the_ak_signed_them() {
    let device = Device::p256();
    for kind in [
        0x8014,
        0x8015,
        0x8016,
        0x8018,
        0x8019,
        0x801A,
        0x801C,
        0x8017 ^ 0x8000,
        0,
    ] {
        let outcome = device.enroll(|_, reply| reply.attest.kind = kind);
        assert_eq!(refused(outcome), Reason::CertType, "{kind:#06x}");
    }
}

#[test]
fn a06_a_certification_by_another_ak_is_refused() {
    let device = Device::p256();
    let outcome = device.enroll(|_, reply| reply.signer = ec(P256));
    assert_eq!(refused(outcome), Reason::CertSig);

    let device = Device::rsa2048();
    let outcome = device.enroll(|_, reply| reply.signer = rsa(2048, 2));
    assert_eq!(refused(outcome), Reason::CertSig);
}

#[test]
fn a06_a_challenge_for_one_ak_is_not_opened_beside_another() {
    let device = Device::p256();
    let (challenge, _) = device.begin([1; 16]);
    let second = Public::ak(&ec(P256), TpmAlgId::ECDSA, TpmAlgId::SHA256);
    assert!(device.activate(&challenge, &second.name()).is_err());
    assert!(device.activate(&challenge, &device.ak_public.name()).is_ok());
}

#[test]
fn a07_a_certified_key_that_can_leave_or_came_from_outside_is_refused() {
    // Imported: no fixedTPM, fixedParent, sensitiveDataOrigin. External: none of all three. Then each alone.
    for missing in [0x0000_0032, 0x0000_0012, 0x0000_0002, 0x0000_0010, 0x0000_0020] {
        let mut device = Device::p256();
        device.key_public.attributes &= !missing;
        assert_eq!(refused(device.enroll(|_, _| {})), Reason::KeyAttr, "{missing:#x}");
    }
}

#[test]
fn a08_a_request_for_another_key_is_refused() {
    for (key, other) in [
        (ec(P256), ec(P256)),
        (ec(P256), rsa(2048, 1)),
        (rsa(2048, 1), rsa(2048, 2)),
    ] {
        let device = Device::new("L-2", (ec(P256), TpmAlgId::ECDSA, TpmAlgId::SHA256), key);
        let outcome = device.enroll(|challenge, reply| {
            reply.csr = csr(&other.pkey());
            reply.attest.extra = qualifying_data(&[7; 16], &challenge.nonce, &reply.csr).to_vec();
        });
        assert_eq!(refused(outcome), Reason::CsrKey);
    }
}

#[test]
fn a_request_without_proof_of_possession_is_refused() {
    let device = Device::p256();
    let outcome = device.enroll(|challenge, reply| {
        *reply.csr.last_mut().unwrap() ^= 1;
        reply.attest.extra = qualifying_data(&[7; 16], &challenge.nonce, &reply.csr).to_vec();
    });
    assert_eq!(refused(outcome), Reason::CsrSig);
}

#[test]
fn a09_a_public_area_beside_the_name_of_another_is_refused() {
    let device = Device::p256();
    let swapped = device.enroll(|_, reply| reply.key_public = Public::identity(&ec(P256)).bytes());
    assert_eq!(refused(swapped), Reason::CertName);

    let name_alg = device.enroll(|_, reply| {
        let mut public = device.key_public.clone();
        public.name_alg = TpmAlgId::SHA384;
        reply.key_public = public.bytes();
    });
    assert_eq!(refused(name_alg), Reason::CertName);

    let longer = device.enroll(|_, reply| reply.key_public.push(0));
    assert_eq!(refused(longer), Reason::Malformed);

    let digest_of_other_alg = device.enroll(|_, reply| reply.attest.name[1] = 0x0C);
    assert_eq!(refused(digest_of_other_alg), Reason::CertName);

    let prefix = device.enroll(|_, reply| reply.attest.name.truncate(33));
    assert_eq!(refused(prefix), Reason::CertName);
}

#[test]
fn a09_empty_names_are_not_equal() {
    // nameAlg NULL: the Name of every such object is empty.
    let mut device = Device::p256();
    device.key_public.name_alg = TpmAlgId::NULL;
    assert_eq!(refused(device.enroll(|_, _| {})), Reason::CertName);
}

#[test]
fn a16_the_secret_of_one_session_does_not_close_another() {
    let device = Device::p256();
    let (first, _) = device.begin([1; 16]);
    let (second, pending) = device.begin([2; 16]);
    let mut reply = device.reply(&second, [2; 16]);
    reply.secret = device.activate(&first, &device.ak_public.name()).unwrap();
    assert_eq!(refused(pending.answer(reply.answer())), Reason::ActSecret);
}

#[test]
fn a16_a_certification_of_one_session_does_not_close_another() {
    let device = Device::p256();
    let (first, _) = device.begin([1; 16]);
    let (second, pending) = device.begin([2; 16]);
    let mut reply = device.reply(&first, [1; 16]);
    reply.secret = device.activate(&second, &device.ak_public.name()).unwrap();
    assert_eq!(refused(pending.answer(reply.answer())), Reason::CertNonce);
}

#[test]
fn a16_only_the_session_id_swapped_is_a_forged_ticket() {
    let device = Device::p256();
    let key = SealKey::new(&[1; 32], &[]);
    let ticket = device.begin([1; 16]).1.seal(&key, &mut Os).unwrap();
    let opened = Pending::open(&key, &[2; 16], &ticket, crate::kit::device::NOW);
    assert_eq!(opened.err(), Some(TicketError::Forged));
}

/// Equal bytes for ever, equal blocks for ever, and an honest failure.
#[test]
fn a18_a_random_source_that_repeats_itself_stops_the_challenge() {
    struct Stuck;
    impl Entropy for Stuck {
        fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
            out.fill(0x55);
            Ok(())
        }
    }
    struct Looping;
    impl Entropy for Looping {
        fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
            (1..).zip(out).for_each(|(number, byte)| *byte = number);
            Ok(())
        }
    }
    struct Absent;
    impl Entropy for Absent {
        fn fill(&mut self, _out: &mut [u8]) -> Result<(), EntropyError> {
            Err(EntropyError)
        }
    }
    let device = Device::rsa2048();
    let sources: [&mut dyn Entropy; 3] = [&mut Stuck, &mut Looping, &mut Absent];
    for source in sources {
        let outcome = device.endorse().unwrap().challenge(context([1; 16]), source);
        assert!(matches!(outcome, Err(ChallengeError::Entropy(EntropyError))));
    }
}

#[test]
fn a18_challenges_do_not_repeat() {
    let device = Device::p256();
    let mut seen = std::collections::HashSet::new();
    for _ in 0..200 {
        let (challenge, _) = device.begin([1; 16]);
        assert!(seen.insert(challenge.nonce.to_vec()));
        assert!(seen.insert(challenge.encrypted_secret));
        assert!(seen.insert(challenge.credential_blob));
    }
}

#[test]
fn a20_a_signature_of_another_scheme_or_hash_than_the_aks_is_refused() {
    let device = Device::rsa2048();
    for (scheme, hash) in [
        (TpmAlgId::RSAPSS, TpmAlgId::SHA1),
        (TpmAlgId::RSAPSS, TpmAlgId::SHA384),
        (TpmAlgId::RSASSA, TpmAlgId::SHA256),
    ] {
        let outcome = device.enroll(|_, reply| (reply.scheme, reply.hash) = (scheme, hash));
        assert_eq!(refused(outcome), Reason::AkAlg, "{scheme} {hash}");
    }
    let device = Device::p256();
    for hash in [TpmAlgId::SHA1, TpmAlgId::SHA384] {
        let outcome = device.enroll(|_, reply| reply.hash = hash);
        assert_eq!(refused(outcome), Reason::AkAlg, "ECDSA {hash}");
    }
}

#[test]
fn a20_a_signature_tagged_for_another_kind_of_key_is_refused_without_a_panic() {
    for (device, signer, scheme) in [
        (Device::rsa2048(), ec(P256), TpmAlgId::ECDSA),
        (Device::p256(), rsa(2048, 2), TpmAlgId::RSASSA),
    ] {
        let outcome = device.enroll(|_, reply| (reply.signer, reply.scheme) = (signer, scheme));
        assert_eq!(refused(outcome), Reason::AkAlg);
    }
}

#[test]
fn a20_schemes_no_accepted_key_has_are_refused() {
    let device = Device::p256();
    for alg in [0x001A, 0x001B, 0x001C, 0x0005, 0x0010_u16] {
        let (challenge, pending) = device.begin([7; 16]);
        let mut answer = device.reply(&challenge, [7; 16]).answer();
        answer.signature[..2].copy_from_slice(&alg.to_be_bytes());
        assert_eq!(refused(pending.answer(answer)), Reason::AkAlg, "{alg:#06x}");
    }
}

#[test]
fn a21_qualifying_data_that_is_not_ours_is_refused() {
    let device = Device::p256();
    let (other, _) = device.begin([7; 16]);
    type Alter = fn(&mut Vec<u8>);
    let cases: [(&str, Alter); 5] = [
        ("empty", Vec::clear),
        ("constant of tpm2-tools", |extra| *extra = vec![0x00, 0xFF, 0x55, 0xAA]),
        ("one byte more", |extra| extra.push(0)),
        ("a prefix", |extra| extra.truncate(31)),
        ("one bit", |extra| extra[31] ^= 1),
    ];
    for (what, alter) in cases {
        let outcome = device.enroll(|_, reply| alter(&mut reply.attest.extra));
        assert_eq!(refused(outcome), Reason::CertNonce, "{what}");
    }
    let another_nonce = device.enroll(|_, reply| {
        reply.attest.extra = qualifying_data(&[7; 16], &other.nonce, &reply.csr).to_vec();
    });
    assert_eq!(refused(another_nonce), Reason::CertNonce);
    let another_enrollment = device.enroll(|challenge, reply| {
        reply.attest.extra = qualifying_data(&[8; 16], &challenge.nonce, &reply.csr).to_vec();
    });
    assert_eq!(refused(another_enrollment), Reason::CertNonce);
    let another_request = device.enroll(|challenge, reply| {
        reply.attest.extra = qualifying_data(&[7; 16], &challenge.nonce, &csr(&device.key.pkey())).to_vec();
    });
    assert_eq!(refused(another_request), Reason::CertNonce, "same key, another request");
}

#[test]
fn a32_an_ek_off_the_curve_is_refused() {
    let mut device = Device::p256();
    device.ek_public.unique[1][31] ^= 1;
    assert_eq!(refused(device.endorse()), Reason::EkKey);
}

#[test]
fn a35_a_derived_key_is_refused() {
    // TPM2_CreateLoaded under a derivation parent: fixedTPM and fixedParent, but sensitiveDataOrigin CLEAR.
    let mut device = Device::p256();
    device.key_public.attributes = 0x0004_0052;
    assert_eq!(refused(device.enroll(|_, _| {})), Reason::KeyAttr);
}

#[test]
fn a43_every_wrong_secret_is_refused_alike() {
    let device = Device::p256();
    type Alter = fn(&mut Vec<u8>);
    let cases: [Alter; 6] = [
        |secret| secret[0] ^= 1,
        |secret| secret[31] ^= 0x80,
        |secret| secret.truncate(31),
        |secret| secret.push(0),
        Vec::clear,
        |secret| secret.fill(0),
    ];
    for alter in cases {
        let refusal = device.enroll(|_, reply| alter(&mut reply.secret)).unwrap_err();
        assert_eq!(refusal.reason, Reason::ActSecret);
        assert_eq!(refusal.detail, "the secret is not that of this challenge");
    }
}

/// The attestation key is proven before anything it vouches for is looked at.
#[test]
fn the_secret_is_judged_first() {
    let device = Device::p256();
    let outcome = device.enroll(|_, reply| {
        reply.secret[0] ^= 1;
        reply.key_public.clear();
        reply.attest.magic = 0;
        reply.csr.clear();
    });
    assert_eq!(refused(outcome), Reason::ActSecret);
}

#[test]
fn a52_keys_of_another_purpose_are_refused_though_the_ak_certified_them() {
    for (attributes, what) in [
        (0x0002_00F2, "decrypt only"),
        (0x0006_00F2, "sign and decrypt"),
        (0x0003_00F2, "storage parent"),
        (0x0005_00F2, "restricted signing"),
        (0x0000_00F2, "neither"),
        (0x000C_00F2, "x509sign"),
        (0x0004_00F6, "stClear"),
        (0x0004_08F2, "encryptedDuplication"),
    ] {
        let mut device = Device::p256();
        device.key_public.attributes = attributes;
        assert_eq!(refused(device.enroll(|_, _| {})), Reason::KeyAttr, "{what}");
    }
    let mut device = Device::rsa2048();
    let (key, mut public) = (device.key.clone(), device.key_public.clone());
    public.scheme = vec![TpmAlgId::RSAES.0];
    assert_eq!(refused(certify(&mut device, key, public)), Reason::KeyAlg, "RSAES");

    let key = ec(P256);
    let mut public = Public::identity(&key);
    public.scheme = vec![TpmAlgId::ECDH.0, TpmAlgId::SHA256.0];
    assert_eq!(refused(certify(&mut device, key, public)), Reason::KeyAlg, "ECDH");
}

#[test]
fn a52_symmetric_and_keyed_hash_objects_hold_no_key_to_certify() {
    let device = Device::p256();
    // KEYEDHASH with HMAC-SHA256, and SYMCIPHER with AES-128-CFB; both sign, both fixed.
    for public in [
        "0008000b000400f200000005000b0020aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "0025000b000400f2000000060080004300200000000000000000000000000000000000000000000000000000000000000000",
    ] {
        let public = hex::decode(public).unwrap();
        let outcome = device.enroll(|_, reply| {
            reply.attest.name = crate::kit::name(TpmAlgId::SHA256, &public);
            reply.key_public = public;
        });
        assert_eq!(refused(outcome), Reason::Malformed);
    }
}

#[test]
fn k04_one_key_in_two_roles_is_refused() {
    // The identity key is the AK's key with other attributes.
    let mut device = Device::p256();
    let key = device.ak.clone();
    let public = Public::identity(&key);
    assert_eq!(refused(certify(&mut device, key, public)), Reason::KeyReuse);
    // The identity key is the EK's key.
    let key = device.ek.clone();
    let public = Public::identity(&key);
    assert_eq!(refused(certify(&mut device, key, public)), Reason::KeyReuse);
    // The AK is the EK's key.
    device.ak = device.ek.clone();
    device.ak_public = Public::ak(&device.ek, TpmAlgId::ECDSA, TpmAlgId::SHA256);
    assert_eq!(refused(device.endorse()), Reason::KeyReuse);
}

#[test]
fn a30_a_giant_modulus_costs_next_to_nothing() {
    let mut device = Device::rsa2048();
    device.key_public.bits = 16_384;
    device.key_public.unique = vec![vec![0xFF; 2048]];
    let (challenge, pending) = device.begin([7; 16]);
    let mut reply = device.reply(&challenge, [7; 16]);
    reply.attest = Attest::certify(
        &device.key_public.name(),
        &qualifying_data(&[7; 16], &challenge.nonce, &reply.csr),
    );
    let answer = reply.answer();
    let begun = Instant::now();
    assert_eq!(refused(pending.answer(answer)), Reason::KeyAlg);
    assert!(begun.elapsed() < Duration::from_millis(50), "{:?}", begun.elapsed());
}

/// A46 at the door: what is no TPM structure is MALFORMED, whichever structure it is.
#[test]
fn a46_trailing_bytes_anywhere_are_malformed() {
    let device = Device::p256();
    let mut evidence = device.evidence();
    evidence.ek_public.push(0);
    assert_eq!(refused(Evidence::decode(evidence)), Reason::Malformed);
    let mut evidence = device.evidence();
    evidence.ak_public.push(0);
    assert_eq!(refused(Evidence::decode(evidence)), Reason::Malformed);
    let mut evidence = device.evidence();
    evidence.ek_certificate.push(0);
    assert_eq!(
        refused(
            Evidence::decode(evidence)
                .unwrap()
                .verify(anchors(), crate::kit::device::NOW)
        ),
        Reason::Malformed
    );

    let answer = |alter: fn(&mut attest::Answer)| {
        let (challenge, pending) = device.begin([7; 16]);
        let mut answer = device.reply(&challenge, [7; 16]).answer();
        alter(&mut answer);
        refused(pending.answer(answer))
    };
    assert_eq!(answer(|answer| answer.key_public.push(0)), Reason::Malformed);
    assert_eq!(answer(|answer| answer.attest.push(0)), Reason::Malformed);
    assert_eq!(answer(|answer| answer.signature.push(0)), Reason::Malformed);
    // The request is part of the qualifying data: with one byte more it is another request.
    assert_eq!(answer(|answer| answer.csr.push(0)), Reason::CertNonce);
    let outcome = device.enroll(|challenge, reply| {
        reply.csr.push(0);
        reply.attest.extra = qualifying_data(&[7; 16], &challenge.nonce, &reply.csr).to_vec();
    });
    assert_eq!(refused(outcome), Reason::Malformed);
}

#[test]
fn secrets_stay_out_of_debug_prints() {
    let device = Device::p256();
    let (challenge, pending) = device.begin([7; 16]);
    let printed = format!("{pending:?}");
    let answer = device.reply(&challenge, [7; 16]).answer();
    let printed = format!("{printed} {answer:?} {:?}", SealKey::new(&[0xA5; 32], &[]));
    let hash = openssl::hash::hash(MessageDigest::sha256(), &answer.secret).unwrap();
    for secret in [&answer.secret[..], &hash, &[0xA5; 32]] {
        assert!(!printed.contains(&hex::encode(secret)));
        assert!(!printed.contains(&format!("{secret:?}")));
    }
}
