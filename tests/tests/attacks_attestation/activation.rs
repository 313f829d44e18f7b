//! A04, A06–A09, A16, A20, A21: what is refused when the challenge is answered.

use attest::KeyAlgorithm;
use device_kit::der::{bits, oid, sequence};
use device_kit::endorsement::Template;
use device_kit::keys::{Hash, Scheme, Secret, Shape, SoftKey};
use device_kit::soft_tpm::{Attest, SoftTpm, csr, csr_for};
use device_kit::trial::{Verdict, fresh_name};
use openssl::ec::PointConversionForm;
use wire::enrollment::{ActivationRequest, EnrollmentChallenge};
use wire::problem::ProblemCode;

use crate::house;

const EMPTY: [u8; 2] = [0x30, 0x00];

/// Certify again, with one field of the statement changed, honestly signed by the AK.
fn certify(
    tpm: &SoftTpm,
    challenge: &EnrollmentChallenge,
    answer: &mut ActivationRequest,
    change: impl FnOnce(&mut Attest),
) {
    let extra = SoftTpm::qualifying(challenge, &answer.csr.0);
    let mut attest = Attest::honest(tpm.identity.name(), &extra);
    change(&mut attest);
    let bytes = attest.bytes();
    answer.key_certify.signature = tpm.ak.sign(&bytes).into();
    answer.key_certify.attest = bytes.into();
}

/// Everything about another key, honestly certified by the AK.
fn with_key(tpm: &SoftTpm, challenge: &EnrollmentChallenge, answer: &mut ActivationRequest, key: &SoftKey) {
    let request = csr(key, &EMPTY, &[]);
    *answer = tpm.answer_with(challenge, answer.secret.0.clone(), key, request);
}

#[test]
fn a04_a_statement_the_tpm_never_made() {
    let rig = house();
    for magic in [*b"\xffTCH", *b"\xffTCF", [0; 4], *b"\x00TCG"] {
        let tpm = SoftTpm::p256(&rig.vendor);
        rig.attack_activation(
            &tpm,
            |challenge, answer| certify(&tpm, challenge, answer, |attest| attest.magic = magic),
            Verdict::attestation("CERT_MAGIC"),
        );
    }
}

/// A quote, a creation, a time: signed by the AK with the right magic, and no certification.
#[test]
fn a04_a_statement_of_another_kind() {
    let rig = house();
    for kind in [0x8018, 0x801a, 0x8019, 0x8014] {
        let tpm = SoftTpm::p256(&rig.vendor);
        rig.attack_activation(
            &tpm,
            |challenge, answer| certify(&tpm, challenge, answer, |attest| attest.kind = kind),
            Verdict::attestation("CERT_TYPE"),
        );
    }
}

#[test]
fn a06_a_certification_by_another_ak() {
    let rig = house();
    let tpm = SoftTpm::p256(&rig.vendor);
    let other = SoftKey::generate(Shape::ak(KeyAlgorithm::P256));
    rig.attack_activation(
        &tpm,
        |_, answer| answer.key_certify.signature = other.sign(&answer.key_certify.attest.0).into(),
        Verdict::attestation("CERT_SIG"),
    );
}

/// The statement of the activated AK, changed after it was signed.
#[test]
fn a06_a_signature_over_other_bytes() {
    let rig = house();
    let tpm = SoftTpm::p256(&rig.vendor);
    rig.attack_activation(
        &tpm,
        |_, answer| {
            // The lowest byte of the firmware version: nothing else looks at it.
            let at = answer.key_certify.attest.0.len() - (2 + 34) - (2 + 34) - 1;
            answer.key_certify.attest.0[at] ^= 1;
        },
        Verdict::attestation("CERT_SIG"),
    );
}

#[test]
fn a07_a_key_that_is_not_bound_to_its_tpm() {
    let rig = house();
    // fixedTPM, fixedParent, sensitiveDataOrigin off; restricted, decrypt on; sign off.
    for attributes in [
        0x0004_0070,
        0x0004_0062,
        0x0004_0052,
        0x0005_0072,
        0x0006_0072,
        0x0002_0072,
        0x0004_0040,
    ] {
        let tpm = SoftTpm::p256(&rig.vendor);
        let key = tpm.identity.reshaped(|shape| shape.attributes = attributes);
        rig.attack_activation(
            &tpm,
            |challenge, answer| with_key(&tpm, challenge, answer, &key),
            Verdict::attestation("KEY_ATTR"),
        );
    }
}

#[test]
fn a08_a_request_for_another_key() {
    let rig = house();
    let tpm = SoftTpm::p256(&rig.vendor);
    let software = SoftKey::generate(Shape::identity(KeyAlgorithm::P256));
    // The nonce is bound to the request, so the AK certifies the good key anew beside the other request.
    rig.attack_activation(
        &tpm,
        |challenge, answer| {
            let request = csr(&software, &EMPTY, &[]);
            *answer = tpm.answer_with(challenge, answer.secret.0.clone(), &tpm.identity, request);
        },
        Verdict::attestation("CSR_KEY"),
    );
    // The right key in the request, the possession of another proven.
    let tpm = SoftTpm::p256(&rig.vendor);
    rig.attack_activation(
        &tpm,
        |challenge, answer| {
            let request = csr_for(&tpm.identity.spki, &software, &EMPTY, &[]);
            *answer = tpm.answer_with(challenge, answer.secret.0.clone(), &tpm.identity, request);
        },
        Verdict::attestation("CSR_SIG"),
    );
}

/// The same modulus with exponent 3, whose private half the owner of the primes can compute.
#[test]
fn a08_the_same_modulus_with_another_exponent() {
    use openssl::bn::{BigNum, BigNumContext};
    use openssl::pkey::PKey;
    use openssl::rsa::Rsa;
    let rig = house();
    let three = BigNum::from_u32(3).unwrap();
    let one = BigNum::from_u32(1).unwrap();
    let mut context = BigNumContext::new().unwrap();
    // 3 has an inverse when neither prime is 1 modulo 3: one pair in four.
    let (tpm, other) = loop {
        let tpm = SoftTpm::manufacture(&rig.vendor, Template::L2, KeyAlgorithm::P256, KeyAlgorithm::Rsa2048);
        let rsa = tpm.identity.openssl().unwrap().rsa().unwrap();
        let (p, q) = (rsa.p().unwrap(), rsa.q().unwrap());
        let (p1, q1) = (p - &one, q - &one);
        let mut phi = BigNum::new().unwrap();
        phi.checked_mul(&p1, &q1, &mut context).unwrap();
        let mut d = BigNum::new().unwrap();
        if d.mod_inverse(&three, &phi, &mut context).is_err() {
            continue;
        }
        let (mut dp, mut dq, mut qi) = (BigNum::new().unwrap(), BigNum::new().unwrap(), BigNum::new().unwrap());
        dp.nnmod(&d, &p1, &mut context).unwrap();
        dq.nnmod(&d, &q1, &mut context).unwrap();
        qi.mod_inverse(q, p, &mut context).unwrap();
        let own = |n: &openssl::bn::BigNumRef| n.to_owned().unwrap();
        let key = Rsa::from_private_components(own(rsa.n()), own(&three), d, own(p), own(q), dp, dq, qi).unwrap();
        break (tpm, PKey::from_rsa(key).unwrap());
    };
    let other = SoftKey::from_secret(Shape::identity(KeyAlgorithm::Rsa2048), Secret::OpenSsl(other));
    rig.attack_activation(
        &tpm,
        |challenge, answer| {
            let request = csr(&other, &EMPTY, &[]);
            *answer = tpm.answer_with(challenge, answer.secret.0.clone(), &tpm.identity, request);
        },
        Verdict::attestation("KEY_ALG"),
    );
}

/// The same point in compressed form is the same key: it must be served.
#[test]
fn a08_the_same_point_compressed_is_the_same_key() {
    let rig = house();
    let tpm = SoftTpm::p256(&rig.vendor);
    let name = fresh_name();
    rig.allow(&name, &tpm);
    let key = tpm.identity.openssl().unwrap().ec_key().unwrap();
    let mut context = openssl::bn::BigNumContext::new().unwrap();
    let point = key
        .public_key()
        .to_bytes(key.group(), PointConversionForm::COMPRESSED, &mut context)
        .unwrap();
    let algorithm = sequence(&[&oid("1.2.840.10045.2.1"), &oid("1.2.840.10045.3.1.7")]);
    let spki = sequence(&[&algorithm, &bits(&point)]);
    assert_ne!(spki, tpm.identity.spki);
    let client = rig.client();
    let challenge = client.begin(&tpm.request("device-ldevid", None, None)).unwrap();
    let honest = tpm.answer(&challenge).unwrap();
    let request = csr_for(&spki, &tpm.identity, &EMPTY, &[]);
    let answer = tpm.answer_with(&challenge, honest.secret.0.clone(), &tpm.identity, request);
    let result = client.activate(challenge.id, &answer).unwrap();
    let certified = openssl::x509::X509::from_der(&result.certificates[0].certificate.0)
        .and_then(|c| c.public_key())
        .unwrap();
    assert!(certified.public_eq(tpm.identity.openssl().unwrap()));
}

#[test]
fn a09_a_public_area_beside_the_name_of_another() {
    let rig = house();
    let evil = SoftKey::generate(Shape::identity(KeyAlgorithm::P256));
    // The AK certified the good key; the area and the request are of the other.
    let tpm = SoftTpm::p256(&rig.vendor);
    rig.attack_activation(
        &tpm,
        |challenge, answer| {
            let request = csr(&evil, &EMPTY, &[]);
            *answer = tpm.answer_with(challenge, answer.secret.0.clone(), &tpm.identity, request);
            answer.key_public = evil.public.clone().into();
        },
        Verdict::attestation("CERT_NAME"),
    );
    // Only nameAlg changed, in the area.
    let tpm = SoftTpm::p256(&rig.vendor);
    rig.attack_activation(
        &tpm,
        |_, answer| {
            assert_eq!(answer.key_public.0[2..4], [0x00, 0x0b]);
            answer.key_public.0[3] = 0x0c;
        },
        Verdict::attestation("CERT_NAME"),
    );
    // Only the policy changed.
    let tpm = SoftTpm::p256(&rig.vendor);
    let other = tpm.identity.reshaped(|shape| shape.policy = vec![0x5a; 32]);
    rig.attack_activation(
        &tpm,
        |_, answer| answer.key_public = other.public.clone().into(),
        Verdict::attestation("CERT_NAME"),
    );
    // One byte behind the area.
    let tpm = SoftTpm::p256(&rig.vendor);
    rig.attack_activation(
        &tpm,
        |_, answer| answer.key_public.0.push(0),
        Verdict::of(ProblemCode::Malformed, "MALFORMED"),
    );
}

/// Empty Names on both sides must not count as equal.
#[test]
fn a09_empty_names() {
    let rig = house();
    let tpm = SoftTpm::p256(&rig.vendor);
    rig.attack_activation(
        &tpm,
        |challenge, answer| {
            certify(&tpm, challenge, answer, |attest| attest.name.clear());
            // nameAlg NULL: by TCG's reference the Name is empty.
            answer.key_public.0[2..4].copy_from_slice(&[0x00, 0x10]);
        },
        Verdict::attestation("CERT_NAME"),
    );
}

#[test]
fn a16_the_secret_of_one_session_for_another() {
    let rig = house();
    // Two sessions of one TPM with two AKs.
    let tpm = SoftTpm::p256(&rig.vendor);
    let name = fresh_name();
    rig.allow(&name, &tpm);
    let client = rig.client();
    let request = tpm.request("device-ldevid", None, Some(&name));
    let first = client.begin(&request).unwrap();
    let honest = tpm.answer(&first).unwrap();
    let own_ak = tpm.ak.public.clone();
    let tpm = SoftTpm {
        ak: SoftKey::generate(Shape::ak(KeyAlgorithm::P256)),
        ..tpm
    };
    assert_ne!(tpm.ak.public, own_ak);
    let second = client.begin(&tpm.request("device-ldevid", None, Some(&name))).unwrap();
    let other = tpm.answer(&second).unwrap();
    let wrong = Verdict::attestation("ACT_SECRET");
    // Only the secret swapped, each way.
    let swapped = |into: &ActivationRequest, secret: &ActivationRequest| ActivationRequest {
        secret: secret.secret.clone(),
        ..into.clone()
    };
    rig.refuses_activation(&client, first.id, &swapped(&honest, &other), wrong);
    rig.refuses_activation(&client, second.id, &swapped(&other, &honest), wrong);
    // Only the session id swapped: the ticket is not of this session, and a stranger may not write.
    let forged = Verdict::attestation("TICKET");
    rig.refuses_activation_freely(&client, second.id, &honest, forged);
    rig.refuses_activation_freely(&client, first.id, &other, forged);
    // Id and ticket of one, everything else of the other.
    let moved = ActivationRequest {
        ticket: other.ticket.clone(),
        ..honest.clone()
    };
    rig.refuses_activation(&client, second.id, &moved, wrong);
    // Secret and ticket of the second, statement of the first: signed by the AK of the first.
    let mixed = ActivationRequest {
        ticket: other.ticket.clone(),
        secret: other.secret.clone(),
        ..honest.clone()
    };
    rig.refuses_activation(&client, second.id, &mixed, Verdict::attestation("CERT_NONCE"));
    client.activate(second.id, &other).expect("the honest twin");
}

#[test]
fn a20_a_signature_of_another_scheme_than_the_aks() {
    let rig = house();
    let verdict = Verdict::attestation("AK_ALG");
    let tpm = SoftTpm::p256(&rig.vendor);
    rig.attack_activation(
        &tpm,
        |_, answer| {
            let attest = answer.key_certify.attest.0.clone();
            answer.key_certify.signature = tpm.ak.sign_with(Scheme::Ecdsa(Hash::Sha1), &attest).into();
        },
        verdict,
    );
    for scheme in [
        Scheme::Rsapss(Hash::Sha256),
        Scheme::Rsassa(Hash::Sha1),
        Scheme::Rsassa(Hash::Sha384),
    ] {
        let tpm = SoftTpm::manufacture(&rig.vendor, Template::L2, KeyAlgorithm::Rsa2048, KeyAlgorithm::P256);
        rig.attack_activation(
            &tpm,
            |_, answer| {
                let attest = answer.key_certify.attest.0.clone();
                answer.key_certify.signature = tpm.ak.sign_with(scheme, &attest).into();
            },
            verdict,
        );
    }
}

/// A signature tagged for another kind of key once ended a process that trusted the tag.
#[test]
fn a46_an_rsa_key_with_a_signature_tagged_ecdsa() {
    let rig = house();
    let tpm = SoftTpm::manufacture(&rig.vendor, Template::L2, KeyAlgorithm::Rsa2048, KeyAlgorithm::P256);
    let ecdsa = SoftKey::generate(Shape::ak(KeyAlgorithm::P256));
    rig.attack_activation(
        &tpm,
        |_, answer| answer.key_certify.signature = ecdsa.sign(&answer.key_certify.attest.0).into(),
        Verdict::attestation("AK_ALG"),
    );
}

#[test]
fn a21_qualifying_data_that_is_not_ours() {
    let rig = house();
    let client = rig.client();
    let other = {
        let tpm = SoftTpm::p256(&rig.vendor);
        client.begin(&tpm.request("device-ldevid", None, None)).unwrap()
    };
    type Change = fn(&EnrollmentChallenge, &EnrollmentChallenge, &[u8], &mut Vec<u8>);
    let changes: [Change; 7] = [
        |_, _, _, extra| extra.clear(),
        // What tpm2-tools 5.4 always writes.
        |_, _, _, extra| *extra = vec![0x00, 0xff, 0x55, 0xaa],
        // The nonce of another session.
        |_, other, csr, extra| *extra = SoftTpm::qualifying(other, csr).to_vec(),
        // The bare nonce: neither session nor request in it.
        |own, _, _, extra| extra.clone_from(&own.challenge.nonce.0),
        |_, _, _, extra| extra.push(0),
        |_, _, _, extra| {
            extra.pop();
        },
        // The right session, another request.
        |own, _, _, extra| *extra = SoftTpm::qualifying(own, &EMPTY).to_vec(),
    ];
    for change in changes {
        let tpm = SoftTpm::p256(&rig.vendor);
        rig.attack_activation(
            &tpm,
            |challenge, answer| {
                let request = answer.csr.0.clone();
                certify(&tpm, challenge, answer, |attest| {
                    change(challenge, &other, &request, &mut attest.extra);
                });
            },
            Verdict::attestation("CERT_NONCE"),
        );
    }
}
