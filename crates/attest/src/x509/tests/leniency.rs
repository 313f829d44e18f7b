use super::*;
use crate::vendor::{
    Algorithm, BASIC_CONSTRAINTS, KEY_USAGE, SUBJECT_ALT_NAME, attribute, bits, directory_san, oid, seq, tlv, utf8,
};

/// Accepted with the leniency, refused without it and for this reason; and refused when nothing is allowed.
#[track_caller]
fn named(leniency: Leniency, certificate: &[u8], detail: &'static str) {
    assert_eq!(read(certificate, Leniencies::VENDOR), Ok(()));
    assert_eq!(
        read(certificate, Leniencies::VENDOR.without(leniency)),
        Err(BadDer(detail))
    );
    assert_eq!(read(certificate, Leniencies::NONE), Err(BadDer(detail)));
}

#[test]
fn a_strict_certificate_needs_none() {
    assert_eq!(read(&ek(|_| {}), Leniencies::NONE), Ok(()));
}

#[test]
fn a39_serials() {
    let with = |serial: Vec<u8>| ek(|spec| spec.serial = serial);
    named(
        Leniency::NonMinimalSerial,
        &with(vec![0, 0, 0, 6]),
        "serial is not minimal",
    );
    for serial in [vec![0x80], vec![0xFF, 0x7F], vec![0]] {
        named(Leniency::NonPositiveSerial, &with(serial), "serial is not positive");
    }
    named(Leniency::LongSerial, &with(vec![0x11; 21]), "serial is too long");
    assert_eq!(read(&with(vec![0x7F; 20]), Leniencies::NONE), Ok(()));
    assert_eq!(
        read(&with(vec![0x11; 65]), Leniencies::VENDOR),
        Err(BadDer("serial is too long"))
    );
    assert_eq!(read(&with(vec![]), Leniencies::VENDOR), Err(BadDer("serial is empty")));
}

#[test]
fn a39_multi_valued_rdns_out_of_order() {
    let unsorted = [attribute("2.5.4.10", &utf8("y")), attribute("2.5.4.3", &utf8("x"))].concat();
    let name = seq(&[&tlv(0x31, &unsorted)]);
    named(
        Leniency::UnsortedRdn,
        &ek(|spec| spec.subject = name.clone()),
        "RDN is not in DER order",
    );
    named(
        Leniency::UnsortedRdn,
        &ek(|spec| spec.issuer = name.clone()),
        "RDN is not in DER order",
    );
    let san = directory_san(&name);
    named(
        Leniency::UnsortedRdn,
        &ek(|spec| spec.extension(SUBJECT_ALT_NAME).value = san),
        "RDN is not in DER order",
    );
}

#[test]
fn a39_explicit_defaults() {
    const DETAIL: &str = "DEFAULT FALSE is written out";
    named(
        Leniency::ExplicitFalse,
        &ek(|spec| spec.extension(BASIC_CONSTRAINTS).critical = Some(false)),
        DETAIL,
    );
    let explicit = seq(&[&tlv(0x01, &[0])]);
    named(
        Leniency::ExplicitFalse,
        &ek(|spec| spec.extension(BASIC_CONSTRAINTS).value = explicit),
        DETAIL,
    );
    let neither = seq(&[&tlv(0x01, &[1])]);
    let certificate = ek(|spec| spec.extension(BASIC_CONSTRAINTS).value = neither);
    assert_eq!(
        read(&certificate, Leniencies::VENDOR),
        Err(BadDer("BOOLEAN is neither 00 nor FF"))
    );
}

#[test]
fn a39_generalized_time_before_2050() {
    let certificate = ek(|spec| spec.not_before = tlv(0x18, b"20180430090942Z"));
    named(
        Leniency::EarlyGeneralizedTime,
        &certificate,
        "GeneralizedTime before 2050",
    );
}

#[test]
fn a39_keys_marked_oaep() {
    let modulus = [&[0x00][..], &[0xC5; 256]].concat();
    let key = bits(&seq(&[&tlv(2, &modulus), &tlv(2, &[1, 0, 1])]));
    let spki = seq(&[&seq(&[&oid("1.2.840.113549.1.1.7"), &seq(&[])]), &key]);
    named(
        Leniency::OaepKey,
        &ek(|spec| spec.spki = spki),
        "key algorithm is neither RSA nor EC",
    );
}

#[test]
fn a39_ecdsa_with_null() {
    let identifier = seq(&[&oid("1.2.840.10045.4.3.2"), &tlv(5, &[])]);
    let certificate = ek(|spec| {
        spec.algorithm = Algorithm::EcdsaSha256;
        spec.outer_algorithm = Some(identifier);
    });
    named(Leniency::EcdsaNullParameters, &certificate, "ECDSA with parameters");
}

#[test]
fn a39_key_usage_with_trailing_zeros() {
    const DETAIL: &str = "keyUsage is not in DER form";
    for value in [vec![3, 2, 0, 0x20], vec![3, 2, 4, 0x20], vec![3, 3, 0, 0x20, 0]] {
        named(
            Leniency::UntrimmedKeyUsage,
            &ek(|spec| spec.extension(KEY_USAGE).value = value),
            DETAIL,
        );
    }
    for value in [vec![3, 2, 6, 0x20], vec![3, 2, 8, 0x20], vec![3, 2, 0, 0]] {
        let certificate = ek(|spec| spec.extension(KEY_USAGE).value = value);
        assert_eq!(
            read(&certificate, Leniencies::VENDOR),
            Err(BadDer("keyUsage has no bit, or one among the unused"))
        );
    }
}
