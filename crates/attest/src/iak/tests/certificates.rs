//! IAK certificates, and what stands beside them.

use super::*;

#[test]
fn an_iak_of_a_believed_manufacturer_is_vouched_for() {
    let iak = iak_with(|_| {});
    let idevid = idevid_with(|_| {});
    let vouched = verify(
        IakBytes {
            idevid: Some(idevid.clone()),
            ..evidence(iak.clone())
        },
        &manufacturers(|_| {}),
    )
    .unwrap();
    let facts = vouched.facts();
    assert_eq!(facts.certificate_sha256, crate::sha256(&iak));
    assert_eq!(facts.spki_sha256, crate::sha256(&FACTORY.iak.spki()));
    assert_eq!(facts.issuer, FACTORY.issuing.name);
    assert_eq!(facts.serial, [0x12, 0x34]);
    assert_eq!(facts.idevid_sha256, Some(crate::sha256(&idevid)));
    assert_eq!(
        (facts.anchor.as_str(), facts.assurance),
        ("maker", Assurance::ManufacturerVerified)
    );
    // What the certificate does not say, nobody says.
    assert_eq!(
        (&facts.hardware_serial, &facts.permanent_id, facts.ek_spki_sha256),
        (&None, &None, None)
    );
}

#[test]
fn what_a_holdfast_manufacturer_says_of_the_ek_is_taken_over() {
    let san = |names: &[Vec<u8>]| {
        let names: Vec<u8> = names.concat();
        seq(&[&names])
    };
    let other = |kind: &str, value: &[u8]| tlv(0xA0, &[oid(kind), tlv(0xA0, value)].concat());
    let hardware = |text: &str| {
        other(
            "1.3.6.1.5.5.7.8.4",
            &seq(&[&oid("2.23.133.1.2"), &tlv(0x04, text.as_bytes())]),
        )
    };
    let permanent = |text: &str| other("1.3.6.1.5.5.7.8.3", &seq(&[&utf8(text), &oid("2.23.133.12.1")]));
    let hash = "0a".repeat(32);
    let iak = iak_with(|spec| {
        spec.with(
            SUBJECT_ALT_NAME,
            None,
            san(&[hardware("49465800:a1b2:04d5"), permanent(&hash)]),
        );
        spec.with(ROT_BINDING, None, binding(|_| {}));
    });
    let vouched = verify(evidence(iak), &manufacturers(|_| {})).unwrap();
    let facts = vouched.facts();
    assert_eq!(facts.hardware_serial.as_deref(), Some("49465800:a1b2:04d5"));
    assert_eq!(facts.permanent_id, Some(hash.clone()));
    assert_eq!(facts.ek_spki_sha256, Some([7; 32]));
    // Names that are not of this form are no names of a TPM, and are not carried on.
    for serial in [
        "",
        "::",
        "49465800:a1b2",
        "49465800:a1b2:04d5:00",
        "49465800:a\u{0}:04",
        "4946580:aa:01",
        "49465800:aa:",
    ] {
        let iak = iak_with(|spec| spec.with(SUBJECT_ALT_NAME, None, san(&[hardware(serial)])));
        let vouched = verify(evidence(iak), &manufacturers(|_| {})).unwrap();
        assert_eq!(vouched.facts().hardware_serial, None, "{serial:?}");
    }
    for id in ["", "0A", &"0A".repeat(32), &"g0".repeat(32)] {
        let iak = iak_with(|spec| spec.with(SUBJECT_ALT_NAME, None, san(&[permanent(id)])));
        assert_eq!(
            verify(evidence(iak), &manufacturers(|_| {}))
                .unwrap()
                .facts()
                .permanent_id,
            None,
            "{id:?}"
        );
    }
    let twice = iak_with(|spec| spec.with(SUBJECT_ALT_NAME, None, san(&[permanent(&hash), permanent(&hash)])));
    refused(evidence(twice), Reason::IakProfile);
}

#[test]
fn a_level_is_never_more_than_anchor_and_certificate_say() {
    let level = |kind, policy: Option<&str>| {
        let iak = iak_with(|spec| {
            let list = [RESIDENCY, RESTRICTED].into_iter().chain(policy).collect::<Vec<_>>();
            spec.extension(POLICIES).value = policies(&list);
        });
        let of = manufacturers(|sources| sources.anchors[0].kind = kind);
        verify(evidence(iak), &of).unwrap().facts().assurance
    };
    let (software, virtual_, hardware) = (
        "1.3.6.1.4.1.32473.27071.2.4",
        "1.3.6.1.4.1.32473.27071.2.3",
        "1.3.6.1.4.1.32473.27071.2.1",
    );
    assert_eq!(level(AnchorKind::Hardware, None), Assurance::ManufacturerVerified);
    assert_eq!(
        level(AnchorKind::Hardware, Some(hardware)),
        Assurance::ManufacturerVerified
    );
    assert_eq!(level(AnchorKind::Hardware, Some(virtual_)), Assurance::Virtual);
    assert_eq!(level(AnchorKind::Hardware, Some(software)), Assurance::Software);
    assert_eq!(level(AnchorKind::Virtual, Some(hardware)), Assurance::Virtual);
    assert_eq!(level(AnchorKind::Virtual, Some(software)), Assurance::Software);
    assert_eq!(level(AnchorKind::Software, Some(hardware)), Assurance::Software);
    assert_eq!(level(AnchorKind::Software, Some(virtual_)), Assurance::Software);
}

#[test]
fn another_manufacturers_chain_is_refused() {
    let other = VendorCa::root("maker root", Key::new(Kind::P384), |_| {});
    let issuing = other.intermediate("maker issuing", Key::new(Kind::P256), |_| {});
    let iak = certificate(&issuing, &FACTORY.iak, &[RESIDENCY, RESTRICTED], |_| {});
    let bytes = IakBytes {
        chain: vec![issuing.certificate, other.certificate],
        ..evidence(iak)
    };
    let detail = refused(bytes, Reason::IakChain);
    assert!(detail.contains("no path to an anchor"), "{detail}");
    // Nor is a leaf whose chain is not brought.
    let bytes = IakBytes {
        chain: Vec::new(),
        ..evidence(iak_with(|_| {}))
    };
    assert_eq!(
        refused(bytes, Reason::IakChain),
        "no path to an anchor: its issuer is neither an anchor nor shipped nor offered"
    );
}

#[test]
fn a_tampered_iak_certificate_is_refused() {
    let mut iak = iak_with(|_| {});
    *iak.last_mut().unwrap() ^= 1;
    let detail = refused(evidence(iak), Reason::IakChain);
    assert_eq!(
        detail,
        "no path to an anchor: IAK certificate: the signature is not its issuer's"
    );
}

#[test]
fn an_ended_manufacturer_ca_is_refused() {
    let ended = FACTORY.root.intermediate("ended", Key::new(Kind::P256), |spec| {
        spec.not_after = crate::vendor::time("20250101000000");
    });
    let iak = certificate(&ended, &FACTORY.iak, &[RESIDENCY, RESTRICTED], |_| {});
    let bytes = IakBytes {
        chain: vec![ended.certificate],
        ..evidence(iak)
    };
    let detail = refused(bytes.clone(), Reason::IakChain);
    assert_eq!(
        detail,
        "no path to an anchor: IAK certificate: a certificate of the path has expired"
    );
    // Where the operator lets it pass, it passes: nothing else was wrong.
    let lenient = manufacturers(|sources| sources.anchors[0].enforce_expiry = false);
    verify(bytes, &lenient).unwrap();
    let iak = iak_with(|spec| spec.not_after = crate::vendor::time("20250101000000"));
    refused(evidence(iak), Reason::IakChain);
}

#[test]
fn a_refused_ca_is_refused_and_a_known_one_is_not_believed() {
    let ca = |standing| CaSource {
        name: "that-ca".to_owned(),
        certificate: FACTORY.issuing.certificate.clone(),
        standing,
    };
    let of = manufacturers(|sources| sources.others = vec![ca(Standing::Refused)]);
    let detail = refused_by(evidence(iak_with(|_| {})), &of, Reason::IakRefused);
    assert_eq!(detail, "the path leads through `that-ca`, which is refused");
    let of = Manufacturers::of(TrustSources {
        about: About::Iak,
        others: vec![CaSource {
            certificate: FACTORY.root.certificate.clone(),
            ..ca(Standing::Known)
        }],
        ..TrustSources::default()
    });
    let detail = refused_by(evidence(iak_with(|_| {})), &of.unwrap(), Reason::IakCaUntrusted);
    assert_eq!(detail, "the path ends at `that-ca`, which is known but not trusted");
}

#[test]
fn an_iak_is_refused_by_certificate_and_by_key() {
    let iak = iak_with(|_| {});
    let refuse = |of| {
        manufacturers(|sources| {
            sources.refused = vec![RefusedHash {
                name: "stolen".to_owned(),
                of,
            }];
        })
    };
    let certificate = HashOf::Certificate(crate::sha256(&iak));
    let key = HashOf::Key(crate::sha256(&FACTORY.iak.spki()));
    for of in [certificate, key] {
        let detail = refused_by(evidence(iak.clone()), &refuse(of), Reason::IakRefused);
        assert_eq!(detail, "this IAK itself is refused as `stolen`");
    }
    // By its certificate it may come back under another, by its key never.
    let again = iak_with(|spec| spec.serial = vec![0x55]);
    verify(evidence(again.clone()), &refuse(certificate)).unwrap();
    refused_by(evidence(again), &refuse(key), Reason::IakRefused);
}

#[test]
fn a_ca_for_ek_certificates_alone_makes_no_iak() {
    let for_ek = FACTORY.root.intermediate("ek only", Key::new(Kind::P256), |spec| {
        spec.with(EXTENDED_KEY_USAGE, None, seq(&[&oid("2.23.133.8.1")]));
    });
    let for_iak = FACTORY.root.intermediate("iak only", Key::new(Kind::P256), |spec| {
        spec.with(EXTENDED_KEY_USAGE, None, seq(&[&oid("2.23.133.8.3")]));
    });
    let of = |ca: &VendorCa| IakBytes {
        chain: vec![ca.certificate.clone()],
        ..evidence(certificate(ca, &FACTORY.iak, &[RESIDENCY, RESTRICTED], |_| {}))
    };
    let detail = refused(of(&for_ek), Reason::IakChain);
    assert!(
        detail.contains("its extKeyUsage is not for IAK certificates"),
        "{detail}"
    );
    verify(of(&for_iak), &manufacturers(|_| {})).unwrap();
}

#[test]
fn an_idevid_is_no_iak() {
    // Below the same CA, on a key whose public area claims to be restricted.
    let idevid = certificate(&FACTORY.issuing, &FACTORY.iak, &[RESIDENCY, FIXED], |_| {});
    let detail = refused(evidence(idevid), Reason::IakProfile);
    assert!(detail.ends_with("it is no IAK certificate"), "{detail}");
    for less in [&[RESTRICTED][..], &[RESIDENCY], &["2.5.29.32.0"]] {
        let iak = iak_with(|spec| spec.extension(POLICIES).value = policies(less));
        refused(evidence(iak), Reason::IakProfile);
    }
    let silent = iak_with(|spec| spec.without(POLICIES));
    refused(evidence(silent), Reason::IakProfile);
}

#[test]
fn other_certificates_are_no_iak() {
    type Change = fn(&mut Spec);
    let changes: [(Change, &str); 8] = [
        (
            |s| s.with(EXTENDED_KEY_USAGE, None, seq(&[&oid("1.3.6.1.5.5.7.3.2")])),
            "extKeyUsage lacks tcg-kp-AIKCertificate",
        ),
        (
            |s| s.with("2.5.29.19", Some(true), seq(&[&tlv(0x01, &[0xFF])])),
            "it is a CA certificate",
        ),
        (
            |s| s.extension("2.5.29.15").value = key_usage(0x20),
            "keyUsage lacks digitalSignature, or has keyCertSign",
        ),
        (
            |s| s.extension("2.5.29.15").value = key_usage(0x84),
            "keyUsage lacks digitalSignature, or has keyCertSign",
        ),
        (|s| s.subject = seq(&[]), "the subject is empty: it names no device"),
        (
            |s| s.with("1.2.3.4", Some(true), vec![5, 0]),
            "critical extension 1.2.3.4 is not processed",
        ),
        (
            |s| s.with(ROT_BINDING, None, vec![0x30, 0]),
            "its RoT binding cannot be read",
        ),
        (
            |s| {
                s.with(
                    ROT_BINDING,
                    None,
                    binding(|b| b.ik_name = OctetString::new([&[0, 11][..], &[9; 32]].concat()).unwrap()),
                )
            },
            "its RoT binding is an identity key's",
        ),
    ];
    for (change, wanted) in changes {
        let detail = refused(evidence(iak_with(change)), Reason::IakProfile);
        assert!(detail.starts_with(wanted), "{detail}, {wanted}");
    }
    // With the usage an IAK may have, all is well.
    let iak = iak_with(|s| s.with(EXTENDED_KEY_USAGE, None, seq(&[&oid("2.23.133.8.3")])));
    verify(evidence(iak), &manufacturers(|_| {})).unwrap();
}

#[test]
fn who_stands_on_an_iak_himself_is_no_iak() {
    let name = OctetString::new(TpmtPublic::parse(&iak_public()).unwrap().name()).unwrap();
    let digest = OctetString::new([1; 32]).unwrap();
    let certified = crate::rot::CertifiedBinding {
        version: 2,
        rot_kind: RotKind::Tpm,
        basis: Basis::IakCertified,
        iak_certificate_sha256: digest.clone(),
        iak_spki_sha256: digest.clone(),
        iak_name: OctetString::new([&[0, 11][..], &[9; 32]].concat()).unwrap(),
        ik_name: name,
        evidence_sha256: digest,
        ek_spki_sha256: None,
    };
    let lak = iak_with(|spec| spec.with(ROT_BINDING, None, certified.to_der().unwrap()));
    let detail = refused(evidence(lak), Reason::IakProfile);
    assert_eq!(detail, "it stands on another IAK itself, and is none");
}

#[test]
fn the_public_area_is_the_certified_one() {
    let bytes = IakBytes {
        public: public(&FACTORY.idevid, AK_ATTRIBUTES, true),
        ..evidence(iak_with(|_| {}))
    };
    assert_eq!(
        refused(bytes, Reason::IakKey),
        "the IAK's public area is not the certified key"
    );
    // The same key with noDA set: another public area, which the certificate does not name.
    let bytes = IakBytes {
        public: public(&FACTORY.iak, AK_ATTRIBUTES | 0x400, true),
        ..evidence(iak_with(|spec| spec.with(ROT_BINDING, None, binding(|_| {}))))
    };
    assert_eq!(
        refused(bytes, Reason::IakKey),
        "the certificate names another public area of this key"
    );
}

#[test]
fn an_iak_that_signs_anything_is_refused() {
    for attributes in [
        KEY_ATTRIBUTES,
        AK_ATTRIBUTES & !0x2,
        AK_ATTRIBUTES & !0x10,
        AK_ATTRIBUTES & !0x20,
        AK_ATTRIBUTES | 0x2_0000,
    ] {
        let bytes = IakBytes {
            public: public(&FACTORY.iak, attributes, true),
            ..evidence(iak_with(|_| {}))
        };
        refused(bytes, Reason::AkAttr);
    }
    let bytes = IakBytes {
        public: public(&FACTORY.iak, AK_ATTRIBUTES, false),
        ..evidence(iak_with(|_| {}))
    };
    refused(bytes, Reason::AkAlg);
}

#[test]
fn an_idevid_beside_is_of_the_same_device() {
    let with = |idevid: Vec<u8>| IakBytes {
        idevid: Some(idevid),
        ..evidence(iak_with(|_| {}))
    };
    let other = idevid_with(|spec| spec.subject = common_name("unit-2"));
    assert_eq!(
        refused(with(other), Reason::Idevid),
        "IDevID certificate: its subject is not that of the IAK's"
    );
    let iak_again = certificate(
        &FACTORY.issuing,
        &FACTORY.idevid,
        &[RESIDENCY, FIXED, RESTRICTED],
        |_| {},
    );
    refused(with(iak_again), Reason::Idevid);
    let stranger = VendorCa::root("stranger", Key::new(Kind::P256), |_| {});
    let foreign = certificate(&stranger, &FACTORY.idevid, &[RESIDENCY, FIXED], |_| {});
    refused(with(foreign.clone()), Reason::Idevid);
    // Believed, but of another manufacturer.
    let both = manufacturers(|sources| sources.anchors.push(source("stranger", &stranger.certificate)));
    assert_eq!(
        refused_by(with(foreign), &both, Reason::Idevid),
        "IDevID certificate: its anchor is `stranger`, the IAK's is `maker`"
    );
    let ended = idevid_with(|spec| spec.not_after = crate::vendor::time("20250101000000"));
    refused(with(ended), Reason::Idevid);
}

#[test]
fn what_was_decided_about_tpms_is_not_about_devices() {
    let error = Manufacturers::of(TrustSources::default()).unwrap_err();
    assert!(error.detail.contains("says nothing about device manufacturers"));
    let mut with_ids = sources();
    with_ids.anchors[0].manufacturers = vec!["id:49465800".to_owned()];
    assert!(Manufacturers::of(with_ids).is_err());
    let nobody = Manufacturers::none().unwrap();
    refused_by(evidence(iak_with(|_| {})), &nobody, Reason::IakChain);
}
