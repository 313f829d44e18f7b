//! The whole corridor, once for each kind of device; and what comes out of it.

use crate::kit::device::{Device, NOW, TEMPLATES, tlv};
use crate::kit::{Os, SoftKey, ec, rsa};
use attest::tpm::{TpmAlgId, TpmEccCurve};
use attest::{Assurance, EvidenceFields, KeyAlgorithm, Pending, SealKey, TicketError, UnixTime};
use openssl::ec::PointConversionForm;
use openssl::hash::MessageDigest;
use openssl::sign::Signer;

fn p256() -> (SoftKey, TpmAlgId, TpmAlgId) {
    (ec(TpmEccCurve::NIST_P256), TpmAlgId::ECDSA, TpmAlgId::SHA256)
}

#[test]
fn every_ek_template_enrolls() {
    for template in TEMPLATES {
        let device = Device::new(template, p256(), ec(TpmEccCurve::NIST_P256));
        let binding = device
            .enroll(|_, _| {})
            .unwrap_or_else(|refusal| panic!("{template}: {refusal}"));
        assert_eq!(binding.root().ek().unwrap().template.as_str(), template);
        assert_eq!(binding.root().ek().unwrap().assurance, Assurance::Software);
    }
}

#[test]
fn every_attestation_key_enrolls() {
    use TpmAlgId as A;
    let (p256, p384) = (TpmEccCurve::NIST_P256, TpmEccCurve::NIST_P384);
    for (ak, scheme, hash, algorithm) in [
        (rsa(2048, 1), A::RSASSA, A::SHA256, KeyAlgorithm::Rsa2048),
        (rsa(2048, 1), A::RSASSA, A::SHA384, KeyAlgorithm::Rsa2048),
        (rsa(2048, 1), A::RSAPSS, A::SHA256, KeyAlgorithm::Rsa2048),
        (rsa(3072, 1), A::RSASSA, A::SHA256, KeyAlgorithm::Rsa3072),
        (rsa(3072, 1), A::RSAPSS, A::SHA384, KeyAlgorithm::Rsa3072),
        (ec(p256), A::ECDSA, A::SHA256, KeyAlgorithm::P256),
        (ec(p384), A::ECDSA, A::SHA256, KeyAlgorithm::P384),
        (ec(p384), A::ECDSA, A::SHA384, KeyAlgorithm::P384),
    ] {
        let spki = ak.spki();
        let device = Device::new("L-2", (ak, scheme, hash), ec(p256));
        let binding = device
            .enroll(|_, _| {})
            .unwrap_or_else(|refusal| panic!("{scheme} {hash}: {refusal}"));
        assert_eq!(binding.ak().algorithm, algorithm);
        assert_eq!(binding.ak().spki, spki, "as OpenSSL writes it");
    }
}

#[test]
fn every_identity_key_enrolls() {
    for (key, algorithm) in [
        (rsa(2048, 2), KeyAlgorithm::Rsa2048),
        (rsa(3072, 2), KeyAlgorithm::Rsa3072),
        (ec(TpmEccCurve::NIST_P256), KeyAlgorithm::P256),
        (ec(TpmEccCurve::NIST_P384), KeyAlgorithm::P384),
    ] {
        let spki = key.spki();
        let binding = Device::new("H-1", p256(), key).enroll(|_, _| {}).unwrap();
        assert_eq!(binding.identity().algorithm, algorithm);
        assert_eq!(binding.identity().spki, spki, "as OpenSSL writes it");
    }
}

#[test]
fn a_binding_says_what_was_proven_and_carries_the_evidence() {
    let device = Device::rsa2048();
    let id = [3; 16];
    let (challenge, pending) = device.begin(id);
    let reply = device.reply(&challenge, id).answer();
    let binding = pending.answer(reply.clone()).unwrap();

    assert_eq!(binding.context().id, id);
    assert_eq!(binding.context().attestation_profile.as_deref(), Some("device-iak"));
    assert_eq!(binding.ak().name, device.ak_public.name());
    assert_eq!(binding.ak().attributes, crate::kit::AK_ATTRIBUTES);
    assert_eq!(binding.identity().name, device.key_public.name());
    assert_eq!(binding.identity().public, device.key_public.bytes());
    assert_eq!(
        binding.root().ek().unwrap().spki_sha256,
        openssl::sha::sha256(&device.ek.spki())
    );
    assert_eq!(
        binding.root().ek().unwrap().certificate_sha256,
        openssl::sha::sha256(&device.ek_certificate)
    );
    assert!(binding.requested().subject.len() > 2, "asked, not granted");

    let evidence = binding.evidence();
    assert_eq!(evidence.digest, openssl::sha::sha256(&evidence.bytes));
    assert!(evidence.bytes.starts_with(b"holdfast-evidence-v1\0\0\0\0\x10\x03\x03"));
    let fields = EvidenceFields::parse(&evidence.bytes).unwrap();
    assert_eq!(fields.id, id);
    assert_eq!(fields.ek_certificate, device.ek_certificate);
    assert_eq!(fields.ek_public, device.ek_public.bytes());
    assert_eq!(fields.ak_public, device.ak_public.bytes());
    assert_eq!(fields.key_public, reply.key_public);
    assert_eq!(fields.nonce, challenge.nonce);
    assert_eq!(
        (fields.attest, fields.signature),
        (&reply.attest[..], &reply.signature[..])
    );
    assert_eq!(fields.csr, reply.csr);
    let mut longer = evidence.bytes.clone();
    longer.push(0);
    assert_eq!(EvidenceFields::parse(&longer), None);
    assert_eq!(EvidenceFields::parse(&evidence.bytes[..evidence.bytes.len() - 1]), None);
}

/// A challenge begun on one server is finished on another that has the key, within its time.
#[test]
fn a_ticket_travels() {
    let device = Device::p256();
    let id = [9; 16];
    let (challenge, pending) = device.begin(id);
    let (ak, ek, context) = (pending.ak().clone(), pending.ek().clone(), pending.context().clone());
    let ticket = pending.seal(&SealKey::new(&[1; 32], &[]), &mut Os).unwrap();

    let elsewhere = SealKey::new(&[2; 32], &[&[3; 32], &[1; 32]]);
    let last_second = context.expires_at;
    let opened = Pending::open(&elsewhere, &id, &ticket, last_second).unwrap();
    assert_eq!((opened.ak(), opened.ek(), opened.context()), (&ak, &ek, &context));
    opened.answer(device.reply(&challenge, id).answer()).unwrap();

    let late = Pending::open(&elsewhere, &id, &ticket, UnixTime(last_second.0 + 1));
    assert_eq!(late.err(), Some(TicketError::Expired));
}

#[test]
fn a_ticket_of_another_enrollment_another_key_or_altered_does_not_open() {
    let device = Device::p256();
    let id = [9; 16];
    let (_, pending) = device.begin(id);
    let key = SealKey::new(&[1; 32], &[]);
    let ticket = pending.seal(&key, &mut Os).unwrap();
    let open = |key: &SealKey, id: &[u8; 16], ticket: &[u8]| Pending::open(key, id, ticket, NOW).err();

    assert_eq!(open(&key, &id, &ticket), None);
    assert_eq!(
        open(&key, &[8; 16], &ticket),
        Some(TicketError::Forged),
        "A16: only the id swapped"
    );
    assert_eq!(
        open(&SealKey::new(&[2; 32], &[]), &id, &ticket),
        Some(TicketError::Forged)
    );
    for at in 0..ticket.len() {
        let mut altered = ticket.clone();
        altered[at] ^= 1;
        assert_eq!(open(&key, &id, &altered), Some(TicketError::Forged), "byte {at}");
        assert_eq!(open(&key, &id, &ticket[..at]), Some(TicketError::Forged), "cut at {at}");
    }
    let longer = [&ticket[..], &[0]].concat();
    assert_eq!(open(&key, &id, &longer), Some(TicketError::Forged));
}

#[test]
fn two_seals_of_one_pending_share_nothing_readable() {
    let device = Device::p256();
    let key = SealKey::new(&[1; 32], &[]);
    let [one, two] = [(); 2].map(|()| device.begin([9; 16]).1.seal(&key, &mut Os).unwrap());
    // Version and key id are alike, the rest is not.
    assert_eq!(one[..5], two[..5]);
    let alike = one[5..].iter().zip(&two[5..]).filter(|(a, b)| a == b).count();
    assert!(alike < one.len() / 16, "{alike} of {} bytes alike", one.len());
}

/// A08, the good half: the same point in compressed form is the same key.
#[test]
fn a08_a_request_with_the_point_compressed_is_for_the_same_key() {
    let device = Device::p256();
    let SoftKey::Ec(key, _) = &device.key else {
        panic!("P-256")
    };
    let mut context = openssl::bn::BigNumContext::new().unwrap();
    let point = key
        .public_key()
        .to_bytes(key.group(), PointConversionForm::COMPRESSED, &mut context)
        .unwrap();
    let algorithm = tlv(
        0x30,
        b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07",
    );
    let spki = tlv(0x30, &[algorithm, tlv(3, &[&[0], &point[..]].concat())].concat());
    let info = tlv(0x30, &[tlv(2, &[0]), tlv(0x30, &[]), spki, tlv(0xA0, &[])].concat());
    let private = device.key.pkey();
    let signature = Signer::new(MessageDigest::sha256(), &private)
        .unwrap()
        .sign_oneshot_to_vec(&info)
        .unwrap();
    let ecdsa_with_sha256 = tlv(0x30, b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02");
    let request = tlv(
        0x30,
        &[info, ecdsa_with_sha256, tlv(3, &[&[0], &signature[..]].concat())].concat(),
    );

    let binding = device.enroll(|challenge, reply| {
        reply.attest.extra = attest::tpm::qualifying_data(&[7; 16], &challenge.nonce, &request).to_vec();
        reply.csr = request;
    });
    assert_eq!(binding.unwrap().identity().spki, device.key.spki());
}
