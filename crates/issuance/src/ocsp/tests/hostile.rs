//! Bytes of strangers that answer.

use attest::UnixTime;
use proptest::prelude::*;
use wire::revocation::RevocationReason;

use super::*;
use crate::encode::{SEQUENCE, tlv};
use crate::fixture::{Hierarchy, NOW};
use crate::{CaKey, Issuer};
use lint::example::Example;
use read::assemble;

/// Spoilt bytes, correctly signed by a responder of this issuer: only reading can refuse them.
fn signed(tbs: &[u8]) -> (Vec<u8>, Issuer) {
    let house = House::p256();
    let der = assemble(
        tbs,
        house.key.algorithm().identifier(),
        &house.key.raw_sign(tbs),
        house.responder.certificate(),
    );
    (der, house.hierarchy.issuer)
}

fn believed(der: Vec<u8>, issuer: &Issuer) -> Result<OcspResponse, OcspError> {
    RawOcspResponse::decode(der)?.verify(issuer)
}

#[test]
fn cut_extended_or_changed_anywhere() {
    let house = House::p256();
    let issuer = &house.hierarchy.issuer;
    let mut spec = ocsp_spec(vec![good(1), revoked(2, RevocationReason::KeyCompromise)]);
    spec.nonce = Nonce::new(&[3; 16]);
    let der = made(&house, spec).der().to_vec();
    believed(der.clone(), issuer).unwrap();
    for at in 0..der.len() {
        believed(der[..at].to_vec(), issuer).unwrap_err();
        for bit in 0..8 {
            let mut spoilt = der.clone();
            spoilt[at] ^= 1 << bit;
            assert!(believed(spoilt, issuer).is_err(), "octet {at}, bit {bit}");
        }
    }
    believed([&der[..], &[0]].concat(), issuer).unwrap_err();
    let long = vec![0x30; MAX_RESPONSE_BYTES + 1];
    assert_eq!(
        RawOcspResponse::decode(long).unwrap_err(),
        OcspError::TooLong(MAX_RESPONSE_BYTES + 1)
    );
}

/// An answer of one CA's responder is none for another, also one of the same name.
#[test]
fn of_another_ca() {
    let (one, two) = (House::p256(), House::p256());
    let der = made(&one, ocsp_spec(vec![good(1)])).der().to_vec();
    let expected = ResponderError::AnotherIssuer("authority key identifier");
    assert_eq!(
        believed(der.clone(), &two.hierarchy.issuer).unwrap_err(),
        OcspError::Responder(expected)
    );
    let expected = ResponderError::AnotherIssuer("issuer name");
    assert_eq!(
        believed(der, &two.hierarchy.root).unwrap_err(),
        OcspError::Responder(expected)
    );
}

/// A good responder's certificate beside a signature of somebody else's key.
#[test]
fn signed_by_another_key() {
    let (one, two) = (House::p256(), House::p256());
    let draft = OcspDraft::new(ocsp_spec(vec![good(1)]), &one.responder).unwrap();
    let (tbs, ..) = draft.into_parts();
    let identifier = one.key.algorithm().identifier();
    let forged = assemble(&tbs, identifier, &two.key.raw_sign(&tbs), one.responder.certificate());
    assert_eq!(
        believed(forged, &one.hierarchy.issuer).unwrap_err(),
        OcspError::Signature
    );
    let own = assemble(&tbs, identifier, &one.key.raw_sign(&tbs), one.responder.certificate());
    believed(own, &one.hierarchy.issuer).unwrap();
}

/// A responder may not answer beyond its own time.
#[test]
fn outside_of_the_responders_time() {
    let house = House::p256();
    let (from, to) = (house.responder.not_before().0, house.responder.not_after().0);
    for (this, next, good_times) in [
        (from, to, true),
        (from - 1, to, false),
        (from, to + 1, false),
        (to + 1, to + 2, false),
    ] {
        let mut spec = ocsp_spec(vec![good(1)]);
        (spec.this_update, spec.next_update) = (UnixTime(this), UnixTime(next));
        let (tbs, ..) = OcspDraft::new(spec, &house.responder).unwrap().into_parts();
        let der = assemble(
            &tbs,
            house.key.algorithm().identifier(),
            &house.key.raw_sign(&tbs),
            house.responder.certificate(),
        );
        let outcome = believed(der, &house.hierarchy.issuer);
        assert_eq!(outcome.is_ok(), good_times, "{this} {next}");
        if let Err(error) = outcome {
            assert_eq!(error, OcspError::ResponderDates);
        }
    }
}

#[test]
fn another_form_than_ours() {
    const FORM: OcspError = OcspError::Malformed("not the form this CA writes");
    // Each is correctly signed by the responder whose certificate is in it, which is not the one of the example: so the
    // example's responder id is exchanged first.
    let refusal = |change: &dyn Fn(&mut Example)| {
        let house = House::p256();
        let mut example = Example::several();
        example.responder_id = tlv(0xa2, &[&tlv(4, &[&house.responder.facts.key_hash])]);
        let hashes = house.responder.issuer();
        for (answer, promised) in example.answers.iter_mut().zip(&example.promise.answers) {
            answer.id = promised.id.encode(hashes);
        }
        change(&mut example);
        let tbs = example.encode();
        let signature = house.key.raw_sign(&tbs);
        let certificate = house.responder.certificate();
        let der = assemble(&tbs, house.key.algorithm().identifier(), &signature, certificate);
        believed(der, &house.hierarchy.issuer).map(|_| ())
    };
    assert_eq!(refusal(&|_| ()), Ok(()));
    assert_eq!(refusal(&|e| e.version = b"\xa0\x03\x02\x01\x00".to_vec()), Err(FORM));
    let later = crate::encode::generalized_time(UnixTime(NOW + 9)).unwrap();
    assert_eq!(refusal(&|e| e.answers[1].this_update.clone_from(&later)), Err(FORM));
    assert_eq!(refusal(&|e| e.answers[1].next_update.clone_from(&later)), Err(FORM));
    assert_eq!(
        refusal(&|e| e.answers[0].next_update.clear()),
        Err(OcspError::Malformed("nextUpdate missing"))
    );
    assert_eq!(
        refusal(&|e| e.responder_id[5] ^= 1),
        Err(OcspError::Malformed("the name of another responder"))
    );
    assert_eq!(
        refusal(&|e| e.responder_id = b"\xa1\x02\x30\x00".to_vec()),
        Err(OcspError::Malformed("a responder not named by its key"))
    );
    assert_eq!(
        refusal(&|e| e.answers.clear()),
        Err(OcspError::Malformed("no answers, or too many"))
    );
    assert_eq!(
        refusal(&|e| e.answers[1] = e.answers[0].clone()),
        Err(OcspError::Malformed("one certificate twice"))
    );
    assert_eq!(
        refusal(&|e| e.answers[0].id = e.promise.answers[0].id.encode(House::p256().responder.issuer())),
        Err(OcspError::AnotherIssuer)
    );
    let unknown = OcspError::Malformed("neither good nor revoked");
    assert_eq!(refusal(&|e| e.answers[0].status = b"\x82\x00".to_vec()), Err(unknown));
}

#[test]
fn not_an_answer_at_all() {
    let cases: [&[u8]; 5] = [
        b"",
        // sigRequired, which this CA does not say; and a success without content.
        b"\x30\x03\x0a\x01\x05",
        b"\x30\x03\x0a\x01\x00",
        b"\x30\x00",
        b"\x30\x82\x00\x03\x0a\x01\x03",
    ];
    for der in cases {
        assert!(
            matches!(RawOcspResponse::decode(der.to_vec()), Err(OcspError::Malformed(_))),
            "{der:?}"
        );
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        thread_local!(static ISSUER: Issuer = Hierarchy::p256().issuer);
        ISSUER.with(|issuer| {
            assert!(believed(bytes.clone(), issuer).is_err());
            assert!(believed(tlv(SEQUENCE, &[&bytes]), issuer).is_err());
            let (der, issuer) = signed(&tlv(SEQUENCE, &[&bytes]));
            assert!(believed(der, &issuer).is_err());
        });
    }
}
