//! EKs without a certificate.

use super::super::allowed::verify as verify_allowed;
use super::*;

fn public(template: &str, key: &Key) -> TpmtPublic {
    TpmtPublic::parse(&EkFields::of(template).encode(key)).unwrap()
}

fn word(public: &TpmtPublic, kind: AnchorKind) -> AllowedEk {
    AllowedEk {
        spki_sha256: crate::digest::sha256(&public.spki().unwrap()),
        kind,
    }
}

#[test]
fn what_an_administrator_vouched_for_has_a_level_of_its_own() {
    let public = public("L-2", &VENDOR.chip);
    for (kind, assurance) in [
        (AnchorKind::Hardware, Assurance::HardwareAllowlisted),
        (AnchorKind::Virtual, Assurance::Virtual),
        (AnchorKind::Software, Assurance::Software),
    ] {
        let facts = verify_allowed(&public, Some(&word(&public, kind))).unwrap();
        assert_eq!(facts.assurance, assurance);
        assert!(!facts.has_certificate());
        assert_eq!(facts.anchor, AllowedEk::ANCHOR);
        assert_eq!(facts.spki_sha256, crate::digest::sha256(&public.spki().unwrap()));
    }
    // The one with a certificate says so.
    assert!(verify_changed(&ifx(), |_| {}).unwrap().has_certificate());
}

#[test]
fn nobody_vouched_or_for_another() {
    let (own, other) = (public("L-2", &VENDOR.chip), public("L-2", &Key::new(Kind::P256)));
    let refusal = verify_allowed(&own, None).unwrap_err();
    assert_eq!(refusal.reason, Reason::EkNoCertificate);
    let hash = hex::encode(crate::digest::sha256(&own.spki().unwrap()));
    assert!(refusal.detail.contains(&hash), "{refusal}");
    let refusal = verify_allowed(&own, Some(&word(&other, AnchorKind::Hardware))).unwrap_err();
    assert_eq!(refusal.reason, Reason::EkNoCertificate);
}

#[test]
fn a_word_does_not_make_a_key_an_endorsement_key() {
    let mut fields = EkFields::of("L-2");
    fields.attributes &= !(1 << 16);
    let loose = TpmtPublic::parse(&fields.encode(&VENDOR.chip)).unwrap();
    let refusal = verify_allowed(&loose, Some(&word(&loose, AnchorKind::Hardware))).unwrap_err();
    assert_eq!(refusal.reason, Reason::EkKey, "{refusal}");
}
