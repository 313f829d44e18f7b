//! The kit's honest device passes every check of `attest`, for every template and key algorithm: only then is a
//! refusal elsewhere the work of the one thing a test changed.
#![expect(clippy::expect_used, reason = "a test that cannot go on stops")]

use attest::trust::{AnchorSource, Anchors};
use attest::{
    AnchorKind, Answer, ChallengeContext, Entropy, EntropyError, Evidence, EvidenceBytes, KeyAlgorithm, Pending,
    SealKey, UnixTime, VerifiedBinding,
};
use device_kit::endorsement::Template;
use device_kit::soft_tpm::SoftTpm;
use device_kit::vendor::VendorCa;
use wire::EnrollmentId;
use wire::enrollment::{EnrollmentChallenge, EnrollmentState, TpmChallenge};

struct Os;

impl Entropy for Os {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        openssl::rand::rand_bytes(out).map_err(|_| EntropyError)
    }
}

/// 2026-11-22.
const NOW: UnixTime = UnixTime(1_795_305_600);

fn anchors(root: &VendorCa) -> Anchors {
    let source = AnchorSource {
        name: "kit".into(),
        certificate: root.certificate.clone(),
        kind: AnchorKind::Hardware,
        manufacturers: vec!["id:49465800".into()],
        enforce_expiry: true,
    };
    Anchors::new(vec![source], Vec::new()).expect("the kit's root is a root")
}

fn enroll(tpm: &SoftTpm, anchors: &Anchors) -> VerifiedBinding {
    let evidence = EvidenceBytes {
        ek_certificate: tpm.ek_certificate.clone(),
        ek_chain: tpm.ek_chain.clone(),
        ek_public: tpm.ek.public.clone(),
        ak_public: tpm.ak.public.clone(),
    };
    let context = ChallengeContext {
        id: [7; 16],
        profile: "device-ldevid".into(),
        attestation_profile: None,
        device: None,
        issued_at: NOW,
        expires_at: UnixTime(NOW.0 + 60),
    };
    let endorsed = Evidence::decode(evidence)
        .and_then(|e| e.verify(anchors, NOW))
        .expect("an honest device");
    let (challenge, pending) = endorsed.challenge(context, &mut Os).expect("a challenge");
    let key = SealKey::new(&[1; 32], &[]);
    let ticket = pending.seal(&key, &mut Os).expect("a ticket");
    let challenge = EnrollmentChallenge {
        id: EnrollmentId([7; 16]),
        state: EnrollmentState::Challenged,
        server_time: NOW.0,
        expires_at: NOW.0 + 60,
        challenge: TpmChallenge {
            credential_blob: challenge.credential_blob.into(),
            secret: challenge.encrypted_secret.into(),
            nonce: challenge.nonce.to_vec().into(),
        },
        ticket: ticket.into(),
    };
    let answer = tpm.answer(&challenge).expect("the credential is for this device");
    let pending = Pending::open(&key, &[7; 16], &answer.ticket.0, NOW).expect("our ticket");
    let answer = Answer {
        secret: answer.secret.0,
        key_public: answer.key_public.0,
        attest: answer.key_certify.attest.0,
        signature: answer.key_certify.signature.0,
        csr: answer.csr.0,
    };
    pending.answer(answer).expect("an honest answer")
}

#[test]
fn an_honest_device_of_every_template_is_believed() {
    let root = VendorCa::root("Kit Root");
    let anchors = anchors(&root);
    for template in Template::ALL {
        let tpm = SoftTpm::manufacture(&root, template, KeyAlgorithm::P256, KeyAlgorithm::P256);
        let binding = enroll(&tpm, &anchors);
        assert_eq!(
            binding.root().ek().unwrap().spki_sha256,
            tpm.ek.sha256(),
            "{template:?}"
        );
        assert_eq!(binding.ak().name, tpm.ak.name());
        assert_eq!(binding.identity().spki, tpm.identity.spki);
    }
}

#[test]
fn honest_keys_of_every_algorithm_are_believed() {
    let root = VendorCa::root("Kit Root");
    let anchors = anchors(&root);
    let all = [
        KeyAlgorithm::Rsa2048,
        KeyAlgorithm::Rsa3072,
        KeyAlgorithm::P256,
        KeyAlgorithm::P384,
    ];
    for (ak, identity) in all.into_iter().zip(all.into_iter().rev()) {
        let tpm = SoftTpm::manufacture(&root, Template::L2, ak, identity);
        let binding = enroll(&tpm, &anchors);
        assert_eq!((binding.ak().algorithm, binding.identity().algorithm), (ak, identity));
    }
}

#[test]
fn a_device_may_bring_its_vendors_intermediate() {
    let root = VendorCa::root("Kit Root");
    let intermediate = root.intermediate("Kit Intermediate");
    let mut tpm = SoftTpm::p256(&intermediate);
    tpm.ek_chain = vec![intermediate.certificate.clone()];
    assert_eq!(enroll(&tpm, &anchors(&root)).root().ek().unwrap().anchor, "kit");
}
