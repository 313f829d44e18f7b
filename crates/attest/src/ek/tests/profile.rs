//! The certificate's shape.

use super::*;
use crate::vendor::{
    AUTHORITY_KEY_IDENTIFIER, BASIC_CONSTRAINTS, EXTENDED_KEY_USAGE, KEY_USAGE, SUBJECT_ALT_NAME, attribute,
    common_name, directory_san, key_usage, oid, seq, tlv, tpm_san, utf8,
};

#[test]
fn a_sound_endorsement_gives_its_facts() {
    let certificate = VENDOR.root.ek(&VENDOR.chip.spki(), |_| {});
    let public = TpmtPublic::parse(&EkFields::of("L-2").encode(&VENDOR.chip)).unwrap();
    let facts = verify(&certificate, &[], &public, &ifx(), NOW).unwrap();
    assert_eq!(
        facts,
        EkFacts {
            certificate_sha256: openssl::sha::sha256(&certificate),
            spki_sha256: openssl::sha::sha256(&VENDOR.chip.spki()),
            template: EkTemplate::L2,
            manufacturer: "id:49465800".to_owned(),
            model: "Holdfast Test 1".to_owned(),
            version: "id:00010002".to_owned(),
            authority_key_id: "ab".repeat(20),
            serial: "1234".to_owned(),
            anchor: "vendor".to_owned(),
            anchor_sha256: openssl::sha::sha256(&VENDOR.root.certificate),
            assurance: Assurance::HardwareVerified,
            passed: Vec::new(),
            path: vec![VENDOR.root.certificate.clone()],
        }
    );
}

#[test]
fn assurance_follows_from_the_anchor() {
    for (kind, assurance) in [
        (AnchorKind::Hardware, Assurance::HardwareVerified),
        (AnchorKind::Virtual, Assurance::Virtual),
        (AnchorKind::Software, Assurance::Software),
    ] {
        let facts = verify_changed(&anchors(kind, &["id:49465800"]), |_| {}).unwrap();
        assert_eq!(facts.assurance, assurance);
    }
}

#[test]
fn the_anchor_may_speak_for_its_manufacturers_only() {
    let refusal = verify_changed(&anchors(AnchorKind::Hardware, &["id:53544D20", "id:4E544300"]), |_| {}).unwrap_err();
    assert_eq!(refusal.reason, Reason::EkVendor);
    assert_eq!(
        refusal.detail,
        "anchor `vendor` may not speak for manufacturer id:49465800"
    );
    // In whichever case either of them writes it.
    let lower = |spec: &mut Spec| spec.extension(SUBJECT_ALT_NAME).value = tpm_san("id:4e544300", &utf8("x"), "id:1");
    let facts = verify_changed(&anchors(AnchorKind::Hardware, &["id:53544D20", "id:4e544300"]), lower).unwrap();
    assert_eq!(facts.manufacturer, "id:4E544300");
}

#[test]
fn a_chain_that_ends_elsewhere_is_refused() {
    let stranger = VendorCa::root("root", Key::new(Kind::P384), |_| {});
    let certificate = stranger.ek(&VENDOR.chip.spki(), |_| {});
    let public = TpmtPublic::parse(&EkFields::of("L-2").encode(&VENDOR.chip)).unwrap();
    assert_eq!(
        verify(&certificate, &[], &public, &ifx(), NOW).unwrap_err().reason,
        Reason::EkChain
    );
}

#[test]
fn a40_critical_extensions_that_are_not_processed_are_refused() {
    for unknown in ["1.2.3.4.5", "2.5.29.30", "2.5.29.36", "2.5.29.9"] {
        let detail = refused(Reason::EkProfile, |spec| spec.with(unknown, Some(true), seq(&[])));
        assert_eq!(detail, format!("critical extension {unknown} is not processed"));
        verify_changed(&ifx(), |spec| spec.with(unknown, None, seq(&[]))).unwrap();
    }
}

#[test]
fn a11_an_ek_certificate_that_says_it_is_a_ca_is_refused() {
    let ca = seq(&[&tlv(0x01, &[0xFF])]);
    assert_eq!(
        refused(Reason::EkProfile, |spec| spec.extension(BASIC_CONSTRAINTS).value = ca),
        "it is a CA certificate"
    );
    let path_len = seq(&[&tlv(0x02, &[0])]);
    let detail = refused(Reason::EkProfile, |spec| {
        spec.extension(BASIC_CONSTRAINTS).value = path_len
    });
    assert_eq!(detail, "pathLenConstraint without cA");
    let signing = |spec: &mut Spec| spec.extension(KEY_USAGE).value = key_usage(0x0C);
    assert_eq!(refused(Reason::EkProfile, signing), "keyUsage has keyCertSign");
}

#[test]
fn key_usage_fits_the_key_when_it_is_there() {
    let usage = |octet| move |spec: &mut Spec| spec.extension(KEY_USAGE).value = key_usage(octet);
    assert_eq!(refused(Reason::EkProfile, usage(0x80)), "keyUsage lacks keyAgreement");
    assert_eq!(refused(Reason::EkProfile, usage(0x20)), "keyUsage lacks keyAgreement");
    let refusal = verify_key(&ifx(), "L-1", &RSA, usage(0x08)).unwrap_err();
    assert_eq!(
        (refusal.reason, refusal.detail.as_str()),
        (Reason::EkProfile, "keyUsage lacks keyEncipherment")
    );
    verify_key(&ifx(), "L-1", &RSA, usage(0x20)).unwrap();
    verify_changed(&ifx(), |spec| spec.without(KEY_USAGE)).unwrap();
    verify_changed(&ifx(), usage(0x88)).unwrap();
}

#[test]
fn a47_extended_key_usage_is_not_empty_and_names_ek_certificates() {
    let purposes = |purposes: Vec<u8>| move |spec: &mut Spec| spec.extension(EXTENDED_KEY_USAGE).value = purposes;
    assert_eq!(refused(Reason::EkProfile, purposes(seq(&[]))), "extKeyUsage is empty");
    for other in ["2.23.133.8.3", "2.5.29.37.0"] {
        let detail = refused(Reason::EkProfile, purposes(seq(&[&oid(other)])));
        assert_eq!(detail, "extKeyUsage lacks tcg-kp-EKCertificate");
    }
    let both = seq(&[&oid("1.3.6.1.5.5.7.3.2"), &oid("2.23.133.8.1")]);
    verify_changed(&ifx(), purposes(both)).unwrap();
}

#[test]
fn a47_every_list_that_may_not_be_empty_is_refused_empty() {
    for (extension, detail) in [
        (SUBJECT_ALT_NAME, "GeneralNames is empty"),
        (EXTENDED_KEY_USAGE, "extKeyUsage is empty"),
    ] {
        assert_eq!(
            refused(Reason::EkProfile, |spec| spec.extension(extension).value = seq(&[])),
            detail
        );
    }
    for (extension, detail) in [
        (KEY_USAGE, "keyUsage is not a BIT STRING"),
        (BASIC_CONSTRAINTS, "basicConstraints is not a SEQUENCE"),
        (AUTHORITY_KEY_IDENTIFIER, "authorityKeyIdentifier is not a SEQUENCE"),
    ] {
        assert_eq!(
            refused(Reason::EkProfile, |spec| spec.extension(extension).value = vec![]),
            detail
        );
    }
    for empty in [vec![0x03, 0x00], vec![0x03, 0x01, 0x00]] {
        let detail = refused(Reason::EkProfile, |spec| spec.extension(KEY_USAGE).value = empty);
        assert_eq!(detail, "keyUsage has no bit or too many");
    }
    let detail = refused(Reason::EkProfile, |spec| {
        spec.extension(KEY_USAGE).value = vec![0x03, 0x02, 0x00, 0x00]
    });
    assert_eq!(detail, "keyUsage has no bit, or one among the unused");
    let empty_rdn = directory_san(&seq(&[&tlv(0x31, &[])]));
    assert_eq!(
        refused(Reason::EkProfile, |spec| spec.extension(SUBJECT_ALT_NAME).value =
            empty_rdn),
        "RDN is empty"
    );
}

#[test]
fn only_a_virtual_tpm_may_lack_the_ek_purpose_and_only_with_key_usage() {
    let without = |spec: &mut Spec| spec.without(EXTENDED_KEY_USAGE);
    assert_eq!(refused(Reason::EkProfile, without), "extKeyUsage is missing");
    let software = verify_changed(&anchors(AnchorKind::Software, &["id:49465800"]), without).unwrap_err();
    assert_eq!(software.detail, "extKeyUsage is missing");
    let cloud = anchors(AnchorKind::Virtual, &["id:49465800"]);
    verify_changed(&cloud, without).unwrap();
    let both = verify_changed(&cloud, |spec| {
        spec.without(EXTENDED_KEY_USAGE);
        spec.without(KEY_USAGE);
    })
    .unwrap_err();
    assert_eq!(
        (both.reason, both.detail.as_str()),
        (Reason::EkProfile, "extKeyUsage and keyUsage are missing")
    );
}

#[test]
fn only_a_virtual_tpm_of_a_single_manufacturer_may_lack_the_tpm_attributes() {
    let unnamed = |spec: &mut Spec| {
        spec.without(SUBJECT_ALT_NAME);
        spec.subject = common_name("instance");
    };
    assert_eq!(refused(Reason::EkProfile, unnamed), "subjectAltName names no TPM");
    let facts = verify_changed(&anchors(AnchorKind::Virtual, &["id:474f4f47"]), unnamed).unwrap();
    assert_eq!(
        (
            facts.manufacturer.as_str(),
            facts.model.as_str(),
            facts.version.as_str()
        ),
        ("id:474F4F47", "", "")
    );
    let several = verify_changed(&anchors(AnchorKind::Virtual, &["id:474F4F47", "id:4D534654"]), unnamed).unwrap_err();
    assert_eq!(
        several.detail,
        "no TPM is named, and the anchor speaks for several manufacturers"
    );
}

#[test]
fn an_empty_subject_needs_a_critical_alternative_name() {
    let loose = |spec: &mut Spec| spec.extension(SUBJECT_ALT_NAME).critical = None;
    assert_eq!(
        refused(Reason::EkProfile, loose),
        "the subject is empty and subjectAltName is not critical"
    );
    verify_changed(&ifx(), |spec| {
        spec.extension(SUBJECT_ALT_NAME).critical = None;
        spec.subject = common_name("named");
    })
    .unwrap();
    // As swtpm has it: both.
    verify_changed(&ifx(), |spec| spec.subject = common_name("unknown")).unwrap();
}

fn three(kinds: [(&str, Vec<u8>); 3]) -> Vec<Vec<u8>> {
    kinds.iter().map(|(kind, value)| attribute(kind, value)).collect()
}

fn attributes() -> Vec<Vec<u8>> {
    three([
        ("2.23.133.2.1", utf8("id:49465800")),
        ("2.23.133.2.2", utf8("model")),
        ("2.23.133.2.3", utf8("id:13")),
    ])
}

#[test]
fn tpm_attributes_may_stand_in_one_rdn_or_several_names_in_any_order() {
    let rdn = |attributes: &[Vec<u8>]| tlv(0x31, &attributes.concat());
    let [manufacturer, model, version] = attributes().try_into().unwrap();
    let one = directory_san(&seq(&[&rdn(&[manufacturer.clone(), model.clone(), version.clone()])]));
    let reversed = directory_san(&seq(&[
        &rdn(std::slice::from_ref(&version)),
        &rdn(std::slice::from_ref(&model)),
        &rdn(std::slice::from_ref(&manufacturer)),
    ]));
    let names = seq(&[
        &tlv(0x82, b"a.example"),
        &tlv(
            0xA4,
            &seq(&[
                &rdn(&[manufacturer]),
                &rdn(&[attribute("2.23.133.5.1.4", &tlv(0x1E, &[0, 1]))]),
            ]),
        ),
        &tlv(0xA4, &seq(&[&rdn(&[model]), &rdn(&[version])])),
    ]);
    for san in [one, reversed, names] {
        let facts = verify_changed(&ifx(), |spec| spec.extension(SUBJECT_ALT_NAME).value = san).unwrap();
        assert_eq!((facts.model.as_str(), facts.version.as_str()), ("model", "id:13"));
    }
}

#[test]
fn tpm_attributes_are_there_once_and_all() {
    let san = |attributes: &[Vec<u8>]| {
        let rdns: Vec<u8> = attributes.iter().flat_map(|attribute| tlv(0x31, attribute)).collect();
        directory_san(&seq(&[&rdns]))
    };
    for left_out in 0..3 {
        let mut some = attributes();
        some.remove(left_out);
        let detail = refused(Reason::EkProfile, |spec| {
            spec.extension(SUBJECT_ALT_NAME).value = san(&some)
        });
        assert_eq!(detail, "tpmManufacturer, tpmModel and tpmVersion are not all there");
    }
    for twice in 0..3 {
        let mut more = attributes();
        more.push(more[twice].clone());
        let detail = refused(Reason::EkProfile, |spec| {
            spec.extension(SUBJECT_ALT_NAME).value = san(&more)
        });
        assert_eq!(detail, "a TPM attribute is there twice");
    }
}

#[test]
fn k05_only_allow_listed_characters_and_string_types_pass() {
    let changed = |manufacturer: &str, model: &[u8], version: &str| {
        let san = tpm_san(manufacturer, model, version);
        verify_changed(&ifx(), |spec| spec.extension(SUBJECT_ALT_NAME).value = san)
    };
    for model in [
        "X\0.bank",
        "A,CN=admin",
        "a\nlevel=info",
        "a\u{202E}b",
        "a\u{2028}b",
        "=cmd()",
        "\u{1b}[2J",
        "",
        "a\"b",
    ] {
        let refusal = changed("id:49465800", &utf8(model), "id:1").unwrap_err();
        assert_eq!(refusal.reason, Reason::EkProfile);
        assert_eq!(refusal.detail, "tpmModel has characters that are not allowed");
    }
    let manufacturer = changed("id:49465800\n", &utf8("m"), "id:1").unwrap_err();
    assert_eq!(manufacturer.detail, "tpmManufacturer is not well-formed");
    let version = changed("id:49465800", &utf8("m"), "id:1\n").unwrap_err();
    assert_eq!(version.detail, "tpmVersion is not well-formed");
    // T61String, IA5String, UniversalString, BMPString.
    for tag in [0x14, 0x16, 0x1C, 0x1E] {
        let refusal = changed("id:49465800", &tlv(tag, b"SLB 9670"), "id:1").unwrap_err();
        assert_eq!(refusal.detail, "string is neither UTF8String nor PrintableString");
    }
    assert_eq!(
        changed("id:49465800", &tlv(0x0C, &[0xC0, 0x80]), "id:1")
            .unwrap_err()
            .detail,
        "string is not UTF-8"
    );
    assert_eq!(
        changed("id:49465800", &tlv(0x13, b"SLB 9670"), "id:1").unwrap().model,
        "SLB 9670"
    );
}

#[test]
fn a_missing_authority_key_identifier_is_an_empty_fact() {
    let facts = verify_changed(&ifx(), |spec| spec.without(AUTHORITY_KEY_IDENTIFIER)).unwrap();
    assert_eq!(facts.authority_key_id, "");
    let issuer_and_serial = seq(&[&tlv(0xA1, &tlv(0xA4, &common_name("x"))), &tlv(0x82, &[1])]);
    let facts = verify_changed(&ifx(), |spec| {
        spec.extension(AUTHORITY_KEY_IDENTIFIER).value = issuer_and_serial
    })
    .unwrap();
    assert_eq!(facts.authority_key_id, "");
    let long = seq(&[&tlv(0x80, &[1; 65])]);
    let detail = refused(Reason::EkProfile, |spec| {
        spec.extension(AUTHORITY_KEY_IDENTIFIER).value = long
    });
    assert_eq!(detail, "keyIdentifier is too long");
}

#[test]
fn basic_constraints_may_be_missing_or_not_critical_for_earlier_profiles_only() {
    use crate::x509::Leniency;
    let changes: [fn(&mut Spec); 2] = [
        |spec| spec.without(BASIC_CONSTRAINTS),
        |spec| spec.extension(BASIC_CONSTRAINTS).critical = None,
    ];
    for change in changes {
        verify_changed(&ifx(), change).unwrap();
        let certificate = VENDOR.root.ek(&VENDOR.chip.spki(), change);
        let strict = Leniencies::VENDOR.without(Leniency::LooseLeafConstraints);
        let refusal = Profile::read(&Certificate::parse(&certificate, strict).unwrap()).unwrap_err();
        assert_eq!(refusal.detail, "basicConstraints is missing or not critical");
    }
}

/// Keys that no TPM's EK has and no CA here signs with, as OpenSSL writes them, and one that it does not know.
fn strange_keys() -> Vec<(&'static str, Vec<u8>)> {
    use crate::vendor::{bits, oid, seq, tlv};
    use openssl::dsa::Dsa;
    use openssl::pkey::PKey;
    let ml_dsa = seq(&[&seq(&[&oid("2.16.840.1.101.3.4.3.18")]), &bits(&[0x5a; 1952])]);
    let pss = seq(&[
        &seq(&[&oid("1.2.840.113549.1.1.10")]),
        &bits(&seq(&[
            &tlv(2, &[&[0][..], &[0xc5; 256]].concat()),
            &tlv(2, &[1, 0, 1]),
        ])),
    ]);
    let der = |key: PKey<openssl::pkey::Private>| key.public_key_to_der().unwrap();
    vec![
        ("Ed25519", der(PKey::generate_ed25519().unwrap())),
        ("Ed448", der(PKey::generate_ed448().unwrap())),
        ("X25519", der(PKey::generate_x25519().unwrap())),
        ("DSA", der(PKey::from_dsa(Dsa::generate(1024).unwrap()).unwrap())),
        ("ML-DSA-65", ml_dsa),
        ("RSASSA-PSS", pss),
        ("nothing", seq(&[&seq(&[&oid("1.2.3.4")]), &bits(&[])])),
    ]
}

#[test]
fn d12_keys_of_other_algorithms_are_refused_in_leaf_and_ca() {
    for (name, spki) in strange_keys() {
        let refusal = verify_changed(&ifx(), |spec| spec.spki = spki.clone()).unwrap_err();
        assert_eq!(refusal.reason, Reason::EkKey, "{name}: {refusal}");
        let ca = VENDOR.root.intermediate("issuing", Key::new(Kind::P256), |_| {});
        let strange = VENDOR
            .root
            .intermediate("issuing", ca.key.clone(), |spec| spec.spki = spki.clone())
            .certificate;
        let leaf = ca.ek(&VENDOR.chip.spki(), |_| {});
        let public = TpmtPublic::parse(&EkFields::of("L-2").encode(&VENDOR.chip)).unwrap();
        let refusal = verify(&leaf, std::slice::from_ref(&strange), &public, &ifx(), NOW).unwrap_err();
        assert_eq!(refusal.reason, Reason::EkChain, "{name}: {refusal}");
        // With the CA's own key the same path is taken.
        verify(&leaf, std::slice::from_ref(&ca.certificate), &public, &ifx(), NOW).unwrap();
    }
}
