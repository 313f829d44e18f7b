//! A46: length games in every TPM structure, through the front door.

use attest::KeyAlgorithm;
use device_kit::endorsement::Template;
use device_kit::rig::Rig;
use device_kit::soft_tpm::SoftTpm;
use device_kit::trial::{Verdict, evidence, fresh_name};
use wire::enrollment::{ActivationRequest, EnrollmentRequest};
use wire::problem::ProblemCode;

use crate::house;

const MALFORMED: fn() -> Verdict = || Verdict::of(ProblemCode::Malformed, "MALFORMED");

/// Ways to lie about a length of `size` octets that stands at `at`.
fn lies(bytes: &[u8], at: usize) -> Vec<Vec<u8>> {
    let size = u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    [0xffff, 0x8000, size + 1, size.wrapping_sub(1)]
        .into_iter()
        .map(|lie: u16| {
            let mut out = bytes.to_vec();
            out[at..at + 2].copy_from_slice(&lie.to_be_bytes());
            out
        })
        .collect()
}

/// Offsets of the length fields of a `TPMT_PUBLIC` of this kit: authPolicy, and those of unique.
fn sizes(public: &[u8]) -> Vec<usize> {
    let policy = 8;
    let kind = u16::from_be_bytes([public[0], public[1]]);
    let last = if kind == 0x0001 {
        // One modulus to the end.
        let bits_at = public.len() - 2 - 256 - 4 - 2;
        assert_eq!(public[bits_at..bits_at + 2], 2048u16.to_be_bytes());
        vec![public.len() - 2 - 256]
    } else {
        vec![public.len() - 2 * 34, public.len() - 34]
    };
    [vec![policy], last].concat()
}

fn refused(rig: &Rig, change: impl FnOnce(&mut EnrollmentRequest), honest: &EnrollmentRequest) {
    let mut attack = honest.clone();
    change(&mut attack);
    rig.refuses_begin(&rig.client(), &attack, MALFORMED());
}

#[test]
fn a46_lengths_of_the_public_areas() {
    let rig = house();
    for (template, ak) in [
        (Template::L2, KeyAlgorithm::P256),
        (Template::L1, KeyAlgorithm::Rsa2048),
    ] {
        let tpm = SoftTpm::manufacture(&rig.vendor, template, ak, KeyAlgorithm::P256);
        let honest = tpm.request("device-ldevid", None, None);
        for at in sizes(&tpm.ek.public) {
            for lie in lies(&tpm.ek.public, at) {
                refused(&rig, |r| *evidence(r).ek_public = lie.into(), &honest);
            }
        }
        for at in sizes(&tpm.ak.public) {
            for lie in lies(&tpm.ak.public, at) {
                // A policy one octet shorter is impossible where there is none.
                refused(&rig, |r| *evidence(r).ak_public = lie.into(), &honest);
            }
        }
        rig.client().begin(&honest).unwrap();
    }
}

#[test]
fn a46_public_areas_cut_and_drawn_out() {
    let rig = house();
    let tpm = SoftTpm::p256(&rig.vendor);
    let honest = tpm.request("device-ldevid", None, None);
    for public in [&tpm.ek.public, &tpm.ak.public] {
        // The end of every field, and some places inside of them.
        let cuts = (0..12).chain([
            public.len() - 69,
            public.len() - 36,
            public.len() - 34,
            public.len() - 1,
        ]);
        let attacks = cuts
            .map(|cut| public[..cut].to_vec())
            .chain([[public.as_slice(), &[0]].concat(), [public.as_slice(), public].concat()]);
        for attack in attacks {
            if std::ptr::eq(public, &tpm.ek.public) {
                refused(&rig, |r| *evidence(r).ek_public = attack.into(), &honest);
            } else {
                refused(&rig, |r| *evidence(r).ak_public = attack.into(), &honest);
            }
        }
    }
    rig.client().begin(&honest).unwrap();
}

/// A type that is not the union's, and selectors nobody defined.
#[test]
fn a46_selectors_that_do_not_fit() {
    let rig = house();
    let tpm = SoftTpm::p256(&rig.vendor);
    let honest = tpm.request("device-ldevid", None, None);
    let selectors: [(usize, u16); 8] = [
        (0, 0x0001), // an ECC area that says it is RSA
        (0, 0x0008), // KEYEDHASH
        (0, 0x0025), // SYMCIPHER
        (0, 0xffff),
        (2, 0x0012), // nameAlg SM3
        (2, 0x0000),
        (10, 0x0043), // symmetric: a mode, no cipher
        (12, 0x0014), // scheme of RSA in an ECC area
    ];
    for (at, value) in selectors {
        let mut public = tpm.ak.public.clone();
        public[at..at + 2].copy_from_slice(&value.to_be_bytes());
        refused(&rig, |r| *evidence(r).ak_public = public.into(), &honest);
    }
    rig.client().begin(&honest).unwrap();
}

/// The answer's structures: TPMS_ATTEST, TPMT_SIGNATURE, the key's area, the request.
#[test]
fn a46_lengths_of_the_answer() {
    let rig = house();
    let tpm = SoftTpm::p256(&rig.vendor);
    rig.allow(&fresh_name(), &tpm);
    let client = rig.client();
    let challenge = client.begin(&tpm.request("device-ldevid", None, None)).unwrap();
    let honest = tpm.answer(&challenge).unwrap();
    let sign = |attest: Vec<u8>| {
        let mut answer = honest.clone();
        answer.key_certify.signature = tpm.ak.sign(&attest).into();
        answer.key_certify.attest = attest.into();
        answer
    };
    let attest = &honest.key_certify.attest.0;
    let signature = &honest.key_certify.signature.0;
    let public = &honest.key_public.0;
    // qualifiedSigner, extraData, name, qualifiedName.
    let name_at = attest.len() - 2 * 36;
    let mut attacks: Vec<ActivationRequest> = [6, 6 + 36, name_at, name_at + 36]
        .into_iter()
        .flat_map(|at| lies(attest, at))
        .map(sign)
        .collect();
    attacks.extend([0, 3, 5, 7, 40, 80, name_at - 9, attest.len() - 1].map(|cut| sign(attest[..cut].to_vec())));
    attacks.push(sign([attest.as_slice(), &[0]].concat()));
    // safe is a boolean.
    let safe_at = name_at - 8 - 1;
    assert_eq!(attest[safe_at], 1);
    let mut unsafe_attest = attest.clone();
    unsafe_attest[safe_at] = 2;
    attacks.push(sign(unsafe_attest));
    let mut with_signature = |bytes: Vec<u8>| {
        let mut answer = honest.clone();
        answer.key_certify.signature = bytes.into();
        attacks.push(answer);
    };
    for at in [4, 4 + 34] {
        for lie in lies(signature, at) {
            with_signature(lie);
        }
    }
    for cut in [0, 1, 3, 5, 37, signature.len() - 1] {
        with_signature(signature[..cut].to_vec());
    }
    with_signature([signature.as_slice(), &[0]].concat());
    with_signature([&[0xff, 0xff][..], &signature[2..]].concat());
    let mut with_public = |bytes: Vec<u8>| {
        let mut answer = honest.clone();
        answer.key_public = bytes.into();
        attacks.push(answer);
    };
    for at in sizes(public) {
        for lie in lies(public, at) {
            with_public(lie);
        }
    }
    for cut in [0, 1, 7, 9, public.len() - 1] {
        with_public(public[..cut].to_vec());
    }
    for (number, attack) in attacks.iter().enumerate() {
        let raw = device_kit::trial::activate_raw(&client, challenge.id, attack);
        assert_eq!(
            raw.status,
            400,
            "attack {number}: {}",
            String::from_utf8_lossy(&raw.body)
        );
        let incident = device_kit::trial::outsider_sees(&raw, MALFORMED());
        let reasons: Vec<String> = rig.audit(&incident).into_iter().map(|r| r.reason).collect();
        assert_eq!(reasons, ["MALFORMED"], "attack {number}");
    }
    assert!(attacks.len() > 50);
    client.activate(challenge.id, &honest).expect("the honest twin");
}

/// The request's bytes, certified anew each time so that nothing but the request is wrong.
#[test]
fn a46_lengths_of_the_request() {
    let rig = house();
    let tpm = SoftTpm::p256(&rig.vendor);
    rig.allow(&fresh_name(), &tpm);
    let client = rig.client();
    let challenge = client.begin(&tpm.request("device-ldevid", None, None)).unwrap();
    let honest = tpm.answer(&challenge).unwrap();
    let csr = &honest.csr.0;
    let mut attacks: Vec<Vec<u8>> = [0, 1, 2, 3, 10, csr.len() / 2, csr.len() - 1]
        .map(|n| csr[..n].to_vec())
        .into();
    attacks.push([csr.as_slice(), &[0]].concat());
    attacks.push(vec![0x30, 0x80, 0x00, 0x00]);
    attacks.push(vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff]);
    attacks.push(vec![0x30, 0x88, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    // As deep as a request may be long.
    attacks.push([0x30, 0x80].repeat(8_000));
    attacks.push(device_kit::der::tlv(0x30, &vec![0; 16_400]));
    for (number, attack) in attacks.into_iter().enumerate() {
        let answer = tpm.answer_with(&challenge, honest.secret.0.clone(), &tpm.identity, attack);
        rig.refuses_activation(&client, challenge.id, &answer, MALFORMED());
        assert!(number < 100);
    }
    client.activate(challenge.id, &honest).expect("the honest twin");
}
