use super::*;
use crate::vendor::{
    AUTHORITY_KEY_IDENTIFIER, Algorithm, BASIC_CONSTRAINTS, EXTENDED_KEY_USAGE, KEY_USAGE, SUBJECT_ALT_NAME, attribute,
    key_usage, oid, seq, time, tlv,
};

/// An EK certificate below an intermediate that `change` has spoilt, and that intermediate.
fn below(change: impl FnOnce(&mut Spec)) -> (Vec<u8>, Vec<Vec<u8>>) {
    let issuing = VENDOR.root.intermediate("issuing", VENDOR.issuing.key.clone(), change);
    (ek(&issuing, |_| {}), vec![issuing.certificate])
}

#[track_caller]
fn intermediate_refused(detail: &str, change: impl FnOnce(&mut Spec)) {
    let (leaf, offered) = below(change);
    let refusal = refused(&anchors(), &leaf, &offered);
    assert!(
        refusal.contains(&format!("offered certificate 0: {detail}"))
            || refusal.contains(&format!("offered certificate: {detail}")),
        "{refusal}"
    );
}

#[test]
fn paths_with_none_one_and_two_intermediates_verify() {
    assert_eq!(
        verify(&anchors(), &ek(&VENDOR.root, |_| {}), &[], NOW).unwrap(),
        "vendor"
    );
    let leaf = ek(&VENDOR.issuing, |_| {});
    assert_eq!(
        verify(
            &anchors(),
            &leaf,
            std::slice::from_ref(&VENDOR.issuing.certificate),
            NOW
        )
        .unwrap(),
        "vendor"
    );
    let deeper = VENDOR.issuing.intermediate("deeper", Key::new(Kind::Rsa(2048)), |_| {});
    let offered = [
        deeper.certificate.clone(),
        VENDOR.issuing.certificate.clone(),
        VENDOR.root.certificate.clone(),
    ];
    assert_eq!(
        verify(&anchors(), &ek(&deeper, |_| {}), &offered, NOW).unwrap(),
        "vendor"
    );
    let shipped = Anchors::new(
        vec![source("vendor", &VENDOR.root.certificate)],
        vec![deeper.certificate.clone(), VENDOR.issuing.certificate.clone()],
    )
    .unwrap();
    assert_eq!(verify(&shipped, &ek(&deeper, |_| {}), &[], NOW).unwrap(), "vendor");
}

#[test]
fn a10_an_unknown_issuer_is_refused() {
    let stranger = VendorCa::root("stranger", Key::new(Kind::P256), |_| {});
    let leaf = ek(&stranger, |_| {});
    assert!(refused(&anchors(), &leaf, &[]).contains("its issuer is neither an anchor nor shipped nor offered"));
    // Offered, it is a CA like any other that no anchor vouches for.
    assert!(refused(&anchors(), &leaf, &[stranger.certificate]).contains("no path to an anchor"));
}

#[test]
fn a10_a_root_of_the_right_name_and_another_key_is_refused() {
    let impostor = VendorCa::root("root", Key::new(Kind::P384), |_| {});
    let leaf = ek(&impostor, |_| {});
    assert!(
        refused(&anchors(), &leaf, &[impostor.certificate])
            .contains("EK certificate: the signature is not its issuer's")
    );
}

#[test]
fn a10_a_self_signed_ek_certificate_is_refused() {
    let own = VendorCa {
        key: VENDOR.chip.clone(),
        name: crate::vendor::common_name("own"),
        certificate: vec![],
    };
    let leaf = ek(&own, |spec| spec.subject = spec.issuer.clone());
    assert!(refused(&anchors(), &leaf, std::slice::from_ref(&leaf)).contains("it is not a CA"));
}

#[test]
fn a11_an_ek_certificate_is_no_ca() {
    let victim = VendorCa {
        key: VENDOR.chip.clone(),
        name: crate::vendor::common_name("chip"),
        certificate: ek(&VENDOR.root, |spec| {
            spec.subject = crate::vendor::common_name("chip");
            spec.extension(SUBJECT_ALT_NAME).critical = None;
            // Agreeing on keys and, by mistake, signing certificates: only basicConstraints is in the way.
            spec.extension(KEY_USAGE).value = key_usage(0x0C);
        }),
    };
    let leaf = ek(&victim, |_| {});
    assert!(refused(&anchors(), &leaf, &[victim.certificate]).contains("offered certificate 0: it is not a CA"));
}

#[test]
fn a11_basic_constraints_of_a_ca_are_there_critical_and_true() {
    intermediate_refused("it is not a CA", |spec| spec.without(BASIC_CONSTRAINTS));
    intermediate_refused("it is not a CA", |spec| {
        spec.extension(BASIC_CONSTRAINTS).value = seq(&[])
    });
    intermediate_refused("its basicConstraints is not critical", |spec| {
        spec.extension(BASIC_CONSTRAINTS).critical = None
    });
}

#[test]
fn a11_a_ca_has_key_cert_sign() {
    intermediate_refused("its keyUsage lacks keyCertSign", |spec| {
        spec.extension(KEY_USAGE).value = key_usage(0x02)
    });
    intermediate_refused("its keyUsage lacks keyCertSign", |spec| spec.without(KEY_USAGE));
}

#[test]
fn a11_a_path_length_is_kept() {
    let limit = |limit: u8| {
        move |spec: &mut Spec| {
            spec.extension(BASIC_CONSTRAINTS).value = seq(&[&tlv(1, &[0xFF]), &tlv(2, &[limit])]);
        }
    };
    for (allowed, own) in [(1, 0), (0, 0)] {
        let first = VENDOR.root.intermediate("first", Key::new(Kind::P256), limit(allowed));
        let second = first.intermediate("second", Key::new(Kind::P256), limit(own));
        let offered = [first.certificate, second.certificate.clone()];
        let result = verify(&anchors(), &ek(&second, |_| {}), &offered, NOW);
        if allowed == 1 {
            assert_eq!(result.unwrap(), "vendor");
        } else {
            assert!(
                result
                    .unwrap_err()
                    .detail
                    .contains("offered certificate: pathLenConstraint is exceeded")
            );
        }
    }
}

#[test]
fn a11_a_path_length_far_above_holds_and_is_not_widened_below() {
    let limited = VendorCa::root("limited", Key::new(Kind::P256), |spec| {
        spec.extension(BASIC_CONSTRAINTS).value = seq(&[&tlv(1, &[0xFF]), &tlv(2, &[1])]);
    });
    let anchors = Anchors::new(vec![source("limited", &limited.certificate)], vec![]).unwrap();
    let first = limited.intermediate("first", Key::new(Kind::P256), |spec| {
        spec.extension(BASIC_CONSTRAINTS).value = seq(&[&tlv(1, &[0xFF]), &tlv(2, &[9])]);
    });
    let second = first.intermediate("second", Key::new(Kind::P256), |_| {});
    assert!(
        verify(
            &anchors,
            &ek(&first, |_| {}),
            std::slice::from_ref(&first.certificate),
            NOW
        )
        .is_ok()
    );
    let offered = [first.certificate, second.certificate.clone()];
    assert!(refused(&anchors, &ek(&second, |_| {}), &offered).contains("pathLenConstraint is exceeded"));
}

#[test]
fn a_self_issued_certificate_does_not_count_against_the_path_length() {
    let limited = VendorCa::root("limited", Key::new(Kind::P256), |spec| {
        spec.extension(BASIC_CONSTRAINTS).value = seq(&[&tlv(1, &[0xFF]), &tlv(2, &[0])]);
    });
    let anchors = Anchors::new(vec![source("limited", &limited.certificate)], vec![]).unwrap();
    let rolled = limited.intermediate("limited", Key::new(Kind::P256), |_| {});
    assert_eq!(
        verify(&anchors, &ek(&rolled, |_| {}), &[rolled.certificate], NOW).unwrap(),
        "limited"
    );
    let other = limited.intermediate("other", Key::new(Kind::P256), |_| {});
    assert!(refused(&anchors, &ek(&other, |_| {}), &[other.certificate]).contains("pathLenConstraint is exceeded"));
}

#[test]
fn a40_critical_extensions_of_a_ca_that_are_not_processed_are_refused() {
    for unknown in ["1.2.3.4.5", "2.5.29.36", "2.5.29.54", "2.5.29.17"] {
        intermediate_refused("it has a critical extension that is not processed", |spec| {
            spec.with(unknown, Some(true), seq(&[]));
        });
    }
    let (leaf, offered) = below(|spec| spec.with("1.2.3.4.5", None, seq(&[])));
    assert_eq!(verify(&anchors(), &leaf, &offered, NOW).unwrap(), "vendor");
}

#[test]
fn a40_limits_are_refused_critical_or_not() {
    for limit in ["2.5.29.30", "2.5.29.36", "2.5.29.54"] {
        intermediate_refused("it has name or policy constraints", |spec| {
            spec.with(limit, None, seq(&[]))
        });
        intermediate_refused("it has a critical extension", |spec| {
            spec.with(limit, Some(true), seq(&[]))
        });
    }
}

#[test]
fn a_ca_for_other_purposes_is_refused() {
    let purposes = |purpose: &str| seq(&[&oid(purpose)]);
    intermediate_refused("its extKeyUsage is not for EK certificates", |spec| {
        spec.with(EXTENDED_KEY_USAGE, None, purposes("2.23.133.8.3"));
    });
    for fit in ["2.23.133.8.1", "2.5.29.37.0"] {
        let (leaf, offered) = below(|spec| spec.with(EXTENDED_KEY_USAGE, Some(true), purposes(fit)));
        assert_eq!(verify(&anchors(), &leaf, &offered, NOW).unwrap(), "vendor");
    }
}

#[test]
fn k12_weak_signature_algorithms_are_refused() {
    let rsa = VendorCa::root("rsa", Key::new(Kind::Rsa(2048)), |_| {});
    let anchors = Anchors::new(vec![source("rsa", &rsa.certificate)], vec![]).unwrap();
    for weak in [
        Algorithm::Md5Rsa,
        Algorithm::Sha1Rsa,
        Algorithm::Pss { hash: 256, salt: 20 },
    ] {
        let detail = refused(&anchors, &ek(&rsa, |spec| spec.algorithm = weak), &[]);
        assert!(detail.contains("on the allow-list"), "{weak:?}: {detail}");
        let issuing = rsa.intermediate("issuing", Key::new(Kind::P256), |spec| spec.algorithm = weak);
        let detail = refused(&anchors, &ek(&issuing, |_| {}), &[issuing.certificate]);
        assert!(detail.contains("on the allow-list"), "{weak:?}: {detail}");
    }
    for strong in [
        Algorithm::Sha256Rsa,
        Algorithm::Sha384Rsa,
        Algorithm::Sha512Rsa,
        Algorithm::Pss { hash: 256, salt: 32 },
        Algorithm::Pss { hash: 384, salt: 48 },
        Algorithm::Pss { hash: 512, salt: 64 },
    ] {
        assert!(
            verify(&anchors, &ek(&rsa, |spec| spec.algorithm = strong), &[], NOW).is_ok(),
            "{strong:?}"
        );
    }
    let leaf = ek(&VENDOR.root, |spec| spec.algorithm = Algorithm::EcdsaSha1);
    assert!(refused(&super::anchors(), &leaf, &[]).contains("on the allow-list"));
    for strong in [Algorithm::EcdsaSha256, Algorithm::EcdsaSha384, Algorithm::EcdsaSha512] {
        assert!(
            verify(
                &super::anchors(),
                &ek(&VENDOR.root, |spec| spec.algorithm = strong),
                &[],
                NOW
            )
            .is_ok()
        );
    }
}

#[test]
fn an_algorithm_of_another_kind_of_key_is_refused() {
    let leaf = ek(&VENDOR.root, |spec| {
        spec.outer_algorithm = Some(Algorithm::Sha256Rsa.identifier())
    });
    assert!(refused(&anchors(), &leaf, &[]).contains("the signature is not its issuer's"));
}

#[test]
fn weak_and_unknown_keys_of_a_ca_are_refused() {
    intermediate_refused("its RSA key is below 2048 bits", |spec| {
        spec.spki = Key::new(Kind::Rsa(1024)).spki()
    });
    intermediate_refused("curve is not P-256, P-384 or P-521", |spec| {
        spec.spki = Key::new(Kind::K256).spki()
    });
}

#[test]
fn a41_names_are_chained_as_bytes() {
    let printable = seq(&[&tlv(0x31, &attribute("2.5.4.3", &tlv(0x13, b"root")))]);
    let leaf = ek(&VENDOR.root, |spec| spec.issuer = printable.clone());
    assert!(refused(&anchors(), &leaf, &[]).contains("neither an anchor nor shipped nor offered"));
    // And the other way round, with the order of two attributes in one RDN.
    let mut parts = [
        attribute("2.5.4.3", &crate::vendor::utf8("x")),
        attribute("2.5.4.10", &crate::vendor::utf8("y")),
    ];
    let sorted = seq(&[&tlv(0x31, &parts.concat())]);
    parts.reverse();
    let unsorted = seq(&[&tlv(0x31, &parts.concat())]);
    let root = VendorCa::root("root", Key::new(Kind::P256), |spec| {
        spec.subject = unsorted.clone();
        spec.issuer = unsorted.clone();
    });
    let anchors = Anchors::new(vec![source("vendor", &root.certificate)], vec![]).unwrap();
    assert!(verify(&anchors, &ek(&root, |spec| spec.issuer = unsorted.clone()), &[], NOW).is_ok());
    let leaf = ek(&root, |spec| spec.issuer = sorted);
    assert!(refused(&anchors, &leaf, &[]).contains("neither an anchor nor shipped nor offered"));
}

#[test]
fn a41_key_identifiers_decide_nothing() {
    let id = |value: u8| seq(&[&tlv(0x80, &[value; 20])]);
    let mut impostor = VendorCa::root("root", Key::new(Kind::P384), |_| {});
    impostor.name = VENDOR.root.name.clone();
    let leaf = ek(&impostor, |spec| spec.extension(AUTHORITY_KEY_IDENTIFIER).value = id(7));
    assert!(refused(&anchors(), &leaf, &[]).contains("the signature is not its issuer's"));
    let leaf = ek(&VENDOR.root, |spec| {
        spec.extension(AUTHORITY_KEY_IDENTIFIER).value = id(9)
    });
    assert!(verify(&anchors(), &leaf, &[], NOW).is_ok());
}

#[test]
fn what_is_not_yet_valid_is_refused_whatever_the_anchor_says() {
    let lax = |root: &VendorCa, shipped: &[Vec<u8>]| {
        let lax = AnchorSource {
            enforce_expiry: false,
            ..source("lax", &root.certificate)
        };
        Anchors::new(vec![lax], shipped.to_vec()).unwrap()
    };
    let later = |spec: &mut Spec| spec.not_before = time("20270101000000");
    const EARLY: &str = "a certificate of the path is not yet valid";
    let anchors = lax(&VENDOR.root, &[]);
    assert!(refused(&anchors, &ek(&VENDOR.root, later), &[]).contains(EARLY));
    let issuing = VENDOR.root.intermediate("issuing", VENDOR.issuing.key.clone(), later);
    assert!(
        refused(
            &anchors,
            &ek(&issuing, |_| {}),
            std::slice::from_ref(&issuing.certificate)
        )
        .contains(EARLY)
    );
    assert!(
        refused(
            &lax(&VENDOR.root, std::slice::from_ref(&issuing.certificate)),
            &ek(&issuing, |_| {}),
            &[]
        )
        .contains(EARLY)
    );
    let root = VendorCa::root("root", VENDOR.root.key.clone(), later);
    assert!(refused(&lax(&root, &[]), &ek(&root, |_| {}), &[]).contains(EARLY));
}

#[test]
fn what_has_expired_is_refused_where_the_anchor_says_so() {
    let expired = |spec: &mut Spec| spec.not_after = time("20251231235959");
    let old_root = VendorCa::root("root", VENDOR.root.key.clone(), expired);
    let issuing = VENDOR.root.intermediate("issuing", VENDOR.issuing.key.clone(), expired);
    let cases = [
        (&VENDOR.root.certificate, ek(&VENDOR.root, expired), vec![]),
        (
            &VENDOR.root.certificate,
            ek(&issuing, |_| {}),
            vec![issuing.certificate.clone()],
        ),
        (&old_root.certificate, ek(&old_root, |_| {}), vec![]),
    ];
    for (certificate, leaf, offered) in cases {
        for enforce_expiry in [true, false] {
            let anchor = AnchorSource {
                enforce_expiry,
                ..source("vendor", certificate)
            };
            let anchors = Anchors::new(vec![anchor], vec![]).unwrap();
            if enforce_expiry {
                assert!(refused(&anchors, &leaf, &offered).contains("a certificate of the path has expired"));
                // Valid up to the last second.
                assert!(verify(&anchors, &leaf, &offered, UnixTime(1_767_225_599)).is_ok());
                assert!(verify(&anchors, &leaf, &offered, UnixTime(1_767_225_600)).is_err());
            } else {
                assert!(verify(&anchors, &leaf, &offered, NOW).is_ok());
            }
        }
    }
}

#[test]
fn an_expired_anchor_does_not_stand_in_the_way_of_its_successor() {
    let old = VendorCa::root("root", VENDOR.root.key.clone(), |spec| {
        spec.not_after = time("20251231235959")
    });
    let sources = vec![source("old", &old.certificate), source("new", &VENDOR.root.certificate)];
    let anchors = Anchors::new(sources, vec![VENDOR.issuing.certificate.clone()]).unwrap();
    assert_eq!(verify(&anchors, &ek(&VENDOR.root, |_| {}), &[], NOW).unwrap(), "new");
    assert_eq!(verify(&anchors, &ek(&VENDOR.issuing, |_| {}), &[], NOW).unwrap(), "new");
}

#[test]
fn offered_certificates_that_are_of_no_use_do_not_harm() {
    let leaf = ek(&VENDOR.issuing, |_| {});
    let impostor = VendorCa::root("root", Key::new(Kind::P256), |_| {});
    let forged = impostor.intermediate("issuing", Key::new(Kind::P256), |_| {});
    let offered = [
        vec![],
        vec![0xFF; 100],
        impostor.certificate,
        forged.certificate,
        VENDOR.issuing.certificate.clone(),
    ];
    assert_eq!(verify(&anchors(), &leaf, &offered, NOW).unwrap(), "vendor");
}
