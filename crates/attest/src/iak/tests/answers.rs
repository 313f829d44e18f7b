//! What the IAK signs, and what it signs for.

use super::*;
use crate::tpm::{Certifies, iak_qualifying_data};
use crate::{Renewed, SealKey, TicketError};

fn csr(key: &Key) -> Vec<u8> {
    CsrSpec::new(key).sign(key)
}

/// `TPMT_SIGNATURE` of an ECDSA key.
fn signature(key: &Key, message: &[u8]) -> Vec<u8> {
    let der = key.sign(key.algorithm(), message);
    let signature = openssl::ecdsa::EcdsaSig::from_der(&der).unwrap();
    let mut out = vec![0x00, 0x18, 0x00, 0x0B];
    for part in [signature.r().to_vec(), signature.s().to_vec()] {
        out.extend(u16::try_from(part.len()).unwrap().to_be_bytes());
        out.extend(part);
    }
    out
}

/// What `by` says of `public`.
fn statement(by: &Key, public: &[u8], extra: &[u8; 32]) -> Statement {
    let sized = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
    let mut attest = 0xFF54_4347_u32.to_be_bytes().to_vec();
    attest.extend(0x8017_u16.to_be_bytes());
    attest.extend(sized(&[&[0, 0x0B][..], &[1; 32]].concat()));
    attest.extend(sized(extra));
    attest.extend([0; 8 + 4 + 4]);
    attest.push(1);
    attest.extend([0; 8]);
    attest.extend(sized(&TpmtPublic::parse(public).unwrap().name()));
    attest.extend(sized(&[&[0, 0x0B][..], &[2; 32]].concat()));
    Statement {
        public: public.to_vec(),
        signature: signature(by, &attest),
        attest,
    }
}

/// Everything an honest answer is made of; a test changes one thing.
struct Made {
    id: [u8; 16],
    nonce: [u8; 32],
    by: Key,
    key: Vec<u8>,
    lak: Option<Vec<u8>>,
    csr: Vec<u8>,
    over_csr: Vec<u8>,
    roles: [Certifies; 2],
    renewed: Option<[u8; 32]>,
}

impl Made {
    fn new(nonce: [u8; 32]) -> Self {
        let csr = csr(&FACTORY.identity);
        Self {
            id: [3; 16],
            nonce,
            by: FACTORY.iak.clone(),
            key: public(&FACTORY.identity, KEY_ATTRIBUTES, false),
            lak: Some(public(&FACTORY.lak, AK_ATTRIBUTES, true)),
            over_csr: csr.clone(),
            csr,
            roles: [Certifies::Identity, Certifies::Attestation],
            renewed: None,
        }
    }

    fn answer(&self) -> IakAnswer {
        let [identity, attestation] = self.roles;
        let extra = |role| iak_qualifying_data(&self.id, &self.nonce, &self.over_csr, role, self.renewed.as_ref());
        IakAnswer {
            key: statement(&self.by, &self.key, &extra(identity)),
            lak: self
                .lak
                .as_ref()
                .map(|lak| statement(&self.by, lak, &extra(attestation))),
            csr: self.csr.clone(),
        }
    }
}

fn pending() -> ([u8; 32], IakPending) {
    honest().challenge(context(true), &mut Os).unwrap()
}

#[track_caller]
fn refused(change: impl FnOnce(&mut Made)) -> Reason {
    let (nonce, pending) = pending();
    let mut made = Made::new(nonce);
    change(&mut made);
    pending.answer(made.answer()).expect_err("it must be refused").reason
}

#[test]
fn the_iaks_word_over_this_nonce_binds_the_keys() {
    let (nonce, pending) = pending();
    assert_eq!(pending.facts().anchor, "maker");
    let made = Made::new(nonce);
    let answer = made.answer();
    let binding = pending.answer(answer.clone()).unwrap();
    assert_eq!(binding.root().basis(), Basis::IakCertified);
    assert!(binding.root().ek().is_none(), "no EK was seen");
    assert_eq!(binding.ak().spki, FACTORY.iak.spki());
    assert_eq!(binding.identity().spki, FACTORY.identity.spki());
    assert_eq!(binding.attestation_key().unwrap().spki, FACTORY.lak.spki());
    let bytes = binding.evidence().bytes.clone();
    assert_eq!(binding.evidence().digest, crate::sha256(&bytes));
    let fields = IakEvidenceFields::parse(&bytes).unwrap();
    assert_eq!(fields.certificate, iak_certificate_of(&binding));
    assert_eq!((fields.id, fields.nonce), (&[3; 16][..], &nonce[..]));
    assert_eq!(
        (fields.attest, fields.signature),
        (&*answer.key.attest, &*answer.key.signature)
    );
    assert_eq!(fields.lak_public, answer.lak.unwrap().public);
    assert_eq!((fields.idevid, fields.renewed), (&[][..], None));
    // One kind of record does not read as another.
    assert!(crate::EvidenceFields::parse(&bytes).is_none());
}

fn iak_certificate_of(binding: &crate::VerifiedBinding) -> Vec<u8> {
    let Root::Iak(facts) = binding.root() else {
        panic!("another root")
    };
    let iak = honest().bytes.certificate;
    // ECDSA signs differently each time; the record is what counts.
    assert_ne!(facts.certificate_sha256, crate::sha256(&iak));
    IakEvidenceFields::parse(&binding.evidence().bytes)
        .unwrap()
        .certificate
        .to_vec()
}

#[test]
fn a_key_without_an_attestation_key_is_bound_too() {
    let (nonce, pending) = honest().challenge(context(false), &mut Os).unwrap();
    let mut made = Made::new(nonce);
    made.lak = None;
    let binding = pending.answer(made.answer()).unwrap();
    assert!(
        binding.attestation_key().is_none(),
        "the IAK is another CA's to certify"
    );
}

#[test]
fn a_statement_by_another_attestation_key_is_refused() {
    // As good an AK, perhaps of the same TPM; the manufacturer did not vouch for it.
    assert_eq!(refused(|made| made.by = FACTORY.lak.clone()), Reason::CertSig);
}

#[test]
fn a_statement_of_another_conversation_is_refused() {
    assert_eq!(refused(|made| made.id = [4; 16]), Reason::CertNonce);
    assert_eq!(refused(|made| made.nonce = [0; 32]), Reason::CertNonce);
    assert_eq!(refused(|made| made.over_csr = csr(&FACTORY.lak)), Reason::CertNonce);
    assert_eq!(refused(|made| made.renewed = Some([1; 32])), Reason::CertNonce);
    // A statement about the one key is none about the other.
    assert_eq!(
        refused(|made| made.roles = [Certifies::Attestation; 2]),
        Reason::CertNonce
    );
    assert_eq!(refused(|made| made.roles = [Certifies::Identity; 2]), Reason::CertNonce);
    // Nor is one of the other way of enrolling.
    let (nonce, pending) = pending();
    let mut answer = Made::new(nonce).answer();
    let extra = crate::tpm::qualifying_data(&[3; 16], &nonce, &answer.csr);
    answer.key = statement(&FACTORY.iak, &answer.key.public, &extra);
    assert_eq!(pending.answer(answer).unwrap_err().reason, Reason::CertNonce);
}

#[test]
fn a_key_that_is_not_in_that_tpm_is_refused() {
    // Certified was the key there; submitted is one from elsewhere.
    let (nonce, pending) = pending();
    let mut answer = Made::new(nonce).answer();
    let elsewhere = Key::new(Kind::P256);
    answer.key.public = public(&elsewhere, KEY_ATTRIBUTES, false);
    assert_eq!(pending.answer(answer).unwrap_err().reason, Reason::CertName);
    // A genuine IAK certifies imported keys, too: what they lack says so.
    for attributes in [
        KEY_ATTRIBUTES & !0x2,
        KEY_ATTRIBUTES & !0x10,
        KEY_ATTRIBUTES & !0x20,
        AK_ATTRIBUTES,
    ] {
        let key = public(&FACTORY.identity, attributes, attributes == AK_ATTRIBUTES);
        assert_eq!(refused(|made| made.key = key), Reason::KeyAttr, "{attributes:#x}");
    }
}

#[test]
fn a_new_attestation_key_is_restricted() {
    for attributes in [
        KEY_ATTRIBUTES,
        AK_ATTRIBUTES & !0x2,
        AK_ATTRIBUTES & !0x10,
        AK_ATTRIBUTES & !0x20,
    ] {
        let lak = public(&FACTORY.lak, attributes, true);
        assert_eq!(refused(|made| made.lak = Some(lak)), Reason::AkAttr, "{attributes:#x}");
    }
}

#[test]
fn keys_and_profiles_come_together() {
    assert_eq!(refused(|made| made.lak = None), Reason::Malformed);
    let (nonce, pending) = honest().challenge(context(false), &mut Os).unwrap();
    let refusal = pending.answer(Made::new(nonce).answer()).unwrap_err();
    assert_eq!(refusal.reason, Reason::Malformed);
}

#[test]
fn no_key_has_two_roles() {
    let iak = &FACTORY.iak;
    assert_eq!(
        refused(|made| {
            made.key = public(iak, KEY_ATTRIBUTES, false);
            made.csr = csr(iak);
            made.over_csr = made.csr.clone();
        }),
        Reason::KeyReuse
    );
    assert_eq!(refused(|made| made.lak = Some(iak_public())), Reason::KeyReuse);
    assert_eq!(
        refused(|made| made.lak = Some(public(&FACTORY.identity, AK_ATTRIBUTES, true))),
        Reason::KeyReuse
    );
    let ek = OctetString::new(crate::sha256(&FACTORY.identity.spki())).unwrap();
    let iak = iak_with(|spec| spec.with(ROT_BINDING, None, binding(|b| b.ek_spki_sha256 = ek)));
    let vouched = verify(evidence(iak), &manufacturers(|_| {})).unwrap();
    let (nonce, pending) = vouched.challenge(context(true), &mut Os).unwrap();
    assert_eq!(
        pending.answer(Made::new(nonce).answer()).unwrap_err().reason,
        Reason::KeyReuse
    );
}

#[test]
fn the_request_is_of_the_certified_key() {
    assert_eq!(
        refused(|made| {
            made.csr = csr(&FACTORY.idevid);
            made.over_csr = made.csr.clone();
        }),
        Reason::CsrKey
    );
    assert_eq!(
        refused(|made| {
            *made.csr.last_mut().unwrap() ^= 1;
            made.over_csr = made.csr.clone();
        }),
        Reason::CsrSig
    );
}

fn renewed() -> Renewed {
    Renewed {
        certificate_sha256: [9; 32],
        serial: vec![1],
        issuer_key_id: vec![2],
        spki_sha256: crate::sha256(&FACTORY.identity.spki()),
    }
}

fn renewal() -> ([u8; 32], IakRenewalPending) {
    honest().renewal_challenge(context(false), renewed(), &mut Os).unwrap()
}

#[test]
fn a_renewal_is_over_the_certificate_it_replaces() {
    let answer = |change: fn(&mut Made)| {
        let (nonce, pending) = renewal();
        let mut made = Made::new(nonce);
        made.lak = None;
        made.renewed = Some([9; 32]);
        change(&mut made);
        pending.answer(made.answer())
    };
    let proof = answer(|_| {}).unwrap();
    assert!(proof.same_key());
    assert_eq!(proof.renewed(), &renewed());
    let fields = IakEvidenceFields::parse(&proof.binding().evidence().bytes).unwrap();
    assert_eq!(fields.renewed, Some(&[9; 32][..]));
    for other in [
        (|made: &mut Made| made.renewed = None) as fn(&mut Made),
        |made| made.renewed = Some([8; 32]),
        |made| made.id = [4; 16],
    ] {
        assert_eq!(answer(other).unwrap_err().reason, Reason::CertNonce);
    }
    assert_eq!(
        answer(|made| made.by = FACTORY.lak.clone()).unwrap_err().reason,
        Reason::CertSig
    );
}

#[test]
fn tickets_open_for_what_they_were_made_for_and_judge_again() {
    let key = SealKey::new(&[5; 32], &[]);
    let of = manufacturers(|_| {});
    let (nonce, pending) = pending();
    let ticket = pending.seal(&key, &mut Os).unwrap();
    let opened = IakPending::open(&key, &[3; 16], &ticket, &of, NOW).unwrap();
    assert_eq!(opened.context(), &context(true));
    opened.answer(Made::new(nonce).answer()).unwrap();

    let forged = |result: Result<IakPending, TicketError>| assert_eq!(result.unwrap_err(), TicketError::Forged);
    forged(IakPending::open(&key, &[4; 16], &ticket, &of, NOW));
    forged(IakPending::open(
        &SealKey::new(&[6; 32], &[]),
        &[3; 16],
        &ticket,
        &of,
        NOW,
    ));
    // Refused since.
    let refused = manufacturers(|sources| {
        sources.refused = vec![RefusedHash {
            name: "stolen".to_owned(),
            of: HashOf::Key(crate::sha256(&FACTORY.iak.spki())),
        }];
    });
    forged(IakPending::open(&key, &[3; 16], &ticket, &refused, NOW));
    let late = IakPending::open(&key, &[3; 16], &ticket, &of, UnixTime(NOW.0 + 121));
    assert_eq!(late.unwrap_err(), TicketError::Expired);
    for at in 0..ticket.len() {
        let mut bent = ticket.clone();
        bent[at] ^= 1;
        forged(IakPending::open(&key, &[3; 16], &bent, &of, NOW));
    }

    // Kinds do not mix.
    let (_, renewing) = renewal();
    let other = renewing.seal(&key, &mut Os).unwrap();
    forged(IakPending::open(&key, &[3; 16], &other, &of, NOW));
    let open =
        |certificate: u8, ticket: &[u8]| IakRenewalPending::open(&key, &[3; 16], &[certificate; 32], ticket, &of, NOW);
    assert_eq!(open(9, &other).unwrap().renewed(), &renewed());
    assert_eq!(open(8, &other).unwrap_err(), TicketError::Forged);
    assert_eq!(open(9, &ticket).unwrap_err(), TicketError::Forged);
    assert_eq!(
        crate::Pending::open(&key, &[3; 16], &ticket, NOW).unwrap_err(),
        TicketError::Forged
    );
}
