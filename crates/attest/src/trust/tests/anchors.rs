use super::*;
use crate::vendor::{Algorithm, BASIC_CONSTRAINTS, common_name, seq};

fn error(sources: Vec<AnchorSource>, intermediates: Vec<Vec<u8>>) -> AnchorError {
    Anchors::new(sources, intermediates).expect_err("the anchors must be refused")
}

fn root(change: impl FnOnce(&mut Spec)) -> Vec<u8> {
    VendorCa::root("root", VENDOR.root.key.clone(), change).certificate
}

#[test]
fn an_anchor_that_is_not_a_self_signed_ca_is_named() {
    let forged = VENDOR
        .root
        .intermediate("root", Key::new(Kind::P256), |_| {})
        .certificate;
    let mut padded = VENDOR.root.certificate.clone();
    padded.push(0);
    for (certificate, detail) in [
        (vec![], "certificate is not a SEQUENCE"),
        (padded, "bytes follow the end"),
        (
            root(|spec| spec.extension(BASIC_CONSTRAINTS).value = seq(&[])),
            "it is not a CA",
        ),
        (VENDOR.issuing.certificate.clone(), "it is not self-issued"),
        (forged, "it is not self-signed"),
        (
            VendorCa::root("", VENDOR.root.key.clone(), |spec| spec.subject = seq(&[])).certificate,
            "it is a CA without a name",
        ),
    ] {
        let error = error(vec![source("vendor", &certificate)], vec![]);
        assert_eq!((error.name.as_str(), error.detail.as_str()), ("vendor", detail));
    }
}

#[test]
fn anchors_are_told_apart() {
    let same_name = vec![
        source("a", &VENDOR.root.certificate),
        source("a", &root(|spec| spec.serial = vec![9])),
    ];
    assert_eq!(error(same_name, vec![]).detail, "the name is there twice");
    let same_certificate = vec![
        source("a", &VENDOR.root.certificate),
        source("b", &VENDOR.root.certificate),
    ];
    assert_eq!(error(same_certificate, vec![]).detail, "the certificate is that of `a`");
}

#[test]
fn an_anchor_speaks_for_known_manufacturers() {
    let speaking_for = |kind, ids: &[&str]| AnchorSource {
        kind,
        manufacturers: ids.iter().map(|id| (*id).to_owned()).collect(),
        ..source("vendor", &VENDOR.root.certificate)
    };
    let none = error(vec![speaking_for(AnchorKind::Hardware, &[])], vec![]);
    assert_eq!(none.detail, "it may speak for no manufacturer");
    let unclear = error(
        vec![speaking_for(AnchorKind::Hardware, &["id:49465800", "IFX"])],
        vec![],
    );
    assert_eq!(unclear.detail, "manufacturer \"IFX\" is not `id:` and 8 hex digits");
    for test in ["id:53494D30", "id:54535437", "id:fffff1d0"] {
        for kind in [AnchorKind::Hardware, AnchorKind::Virtual] {
            let error = error(vec![speaking_for(kind, &[test])], vec![]);
            assert!(
                error
                    .detail
                    .ends_with("only an anchor of kind software may speak for it"),
                "{error}"
            );
        }
        Anchors::new(vec![speaking_for(AnchorKind::Software, &[test])], vec![]).unwrap();
    }
    let swtpm = ["id:49465800", "id:00001014"];
    let passed_off = error(vec![speaking_for(AnchorKind::Hardware, &swtpm)], vec![]);
    assert_eq!(
        passed_off.detail,
        "manufacturer id:00001014 makes software TPMs: no anchor of kind hardware may speak for it"
    );
    for kind in [AnchorKind::Virtual, AnchorKind::Software] {
        Anchors::new(vec![speaking_for(kind, &swtpm)], vec![]).unwrap();
    }
    Anchors::new(
        vec![speaking_for(AnchorKind::Hardware, &["id:53494D38", "id:5453542F"])],
        vec![],
    )
    .unwrap();
}

#[test]
fn software_anchors_are_listed_for_production_to_refuse() {
    let software = AnchorSource {
        kind: AnchorKind::Software,
        ..source("swtpm", &root(|spec| spec.serial = vec![7]))
    };
    let anchors = Anchors::new(vec![source("vendor", &VENDOR.root.certificate), software], vec![]).unwrap();
    assert_eq!(anchors.software_anchors(), ["swtpm"]);
}

#[test]
fn an_anchor_may_sign_itself_with_sha1_but_nothing_else() {
    let key = Key::new(Kind::Rsa(2048));
    let old = VendorCa::root("old", key, |spec| spec.algorithm = Algorithm::Sha1Rsa);
    let anchors = Anchors::new(vec![source("old", &old.certificate)], vec![]).unwrap();
    assert_eq!(verify(&anchors, &ek(&old, |_| {}), &[], NOW).unwrap(), "old");
    let leaf = ek(&old, |spec| spec.algorithm = Algorithm::Sha1Rsa);
    assert!(refused(&anchors, &leaf, &[]).contains("signature algorithm is not on the allow-list"));
}

#[test]
fn an_intermediate_that_is_not_used_is_named_with_the_reason() {
    let stranger = VendorCa::root("stranger", Key::new(Kind::P256), |_| {});
    let unlinked = stranger
        .intermediate("unlinked", Key::new(Kind::P256), |_| {})
        .certificate;
    let impostor = VendorCa {
        name: common_name("root"),
        ..stranger
    };
    let forged = impostor
        .intermediate("forged", Key::new(Kind::P256), |_| {})
        .certificate;
    let leaf = ek(&VENDOR.root, |_| {});
    let shipped = vec![
        VENDOR.issuing.certificate.clone(),
        VENDOR.issuing.certificate.clone(),
        VENDOR.root.certificate.clone(),
        unlinked,
        forged,
        leaf,
    ];
    let anchors = Anchors::new(vec![source("vendor", &VENDOR.root.certificate)], shipped).unwrap();
    let mut reasons: Vec<_> = anchors
        .unused_intermediates()
        .iter()
        .map(|unused| (&unused.name[..14], unused.detail.as_str()))
        .collect();
    reasons.sort_unstable();
    assert_eq!(
        reasons,
        [
            ("intermediate 3", "no anchor or intermediate is its issuer"),
            ("intermediate 4", "the signature is not its issuer's"),
            ("intermediate 5", "it is not a CA"),
        ]
    );
    assert_eq!(anchors.proven.len(), 2, "root and issuing CA, each once");
}

#[test]
fn an_intermediate_that_is_no_certificate_is_an_error() {
    let error = error(vec![source("vendor", &VENDOR.root.certificate)], vec![vec![0x30, 0]]);
    assert!(error.name.starts_with("intermediate 0, SHA-256 "), "{error}");
    assert_eq!(error.detail, "TBSCertificate is not a SEQUENCE");
}
