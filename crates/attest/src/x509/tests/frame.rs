use super::*;
use crate::vendor::{Algorithm, common_name, seq, time, tlv};

#[track_caller]
fn refused(detail: &'static str, change: impl FnOnce(&mut Spec)) {
    assert_eq!(read(&ek(change), Leniencies::VENDOR), Err(BadDer(detail)));
}

#[test]
fn a_certificate_is_of_version_3() {
    refused("version is missing", |spec| spec.version = vec![]);
    refused("version is not 3", |spec| spec.version = tlv(0xA0, &tlv(2, &[1])));
    refused("version is not 3", |spec| spec.version = tlv(0xA0, &tlv(2, &[3])));
    refused("bytes follow the version", |spec| {
        spec.version = tlv(0xA0, &[tlv(2, &[2]), tlv(2, &[2])].concat())
    });
}

#[test]
fn the_two_signature_algorithms_are_equal_byte_for_byte() {
    refused("the two signature algorithms differ", |spec| {
        spec.inner_algorithm = Some(Algorithm::EcdsaSha384.identifier());
    });
}

#[test]
fn names_are_sequences_of_sets_of_pairs() {
    refused("issuer is empty", |spec| spec.issuer = seq(&[]));
    refused("name is not a SEQUENCE", |spec| spec.issuer = tlv(0x31, &[]));
    refused("RDN is not a SET", |spec| spec.subject = seq(&[&seq(&[])]));
    refused("RDN is empty", |spec| spec.subject = seq(&[&tlv(0x31, &[])]));
    refused("name attribute has no type", |spec| {
        spec.subject = seq(&[&tlv(0x31, &seq(&[]))])
    });
    refused("name attribute type is not an OID", |spec| {
        spec.subject = seq(&[&tlv(0x31, &seq(&[&tlv(6, &[0x55, 0x80]), &tlv(0x0C, b"x")]))]);
    });
    refused("element is missing", |spec| {
        spec.subject = seq(&[&tlv(0x31, &seq(&[&tlv(6, &[0x55])]))])
    });
    refused("bytes follow a name attribute", |spec| {
        spec.subject = seq(&[&tlv(0x31, &seq(&[&tlv(6, &[0x55]), &tlv(0x0C, b"x"), &tlv(5, &[])]))]);
    });
}

#[test]
fn a_validity_is_two_times() {
    refused("time is not in the calendar", |spec| {
        spec.not_before = tlv(0x17, b"210230000000Z")
    });
    refused("validity is not a time", |spec| spec.not_before = tlv(5, &[]));
    refused("element is missing", |spec| spec.not_before = vec![]);
    refused("bytes follow the validity", |spec| {
        spec.not_after = [time("20300101000000"), time("20300101000000")].concat()
    });
}

#[test]
fn fields_that_nobody_may_make_are_refused() {
    // issuerUniqueID, subjectUniqueID.
    for tag in [0x81, 0x82] {
        refused("unexpected field in the TBSCertificate", |spec| {
            spec.before_extensions = tlv(tag, &[0, 1])
        });
    }
}

#[test]
fn extensions_are_there_once_and_not_too_many() {
    refused("an extension is there twice", |spec| {
        spec.with("2.5.29.15", None, vec![])
    });
    refused("list of extensions is empty", |spec| {
        spec.extensions.clear();
        spec.before_extensions = tlv(0xA3, &seq(&[]));
    });
    refused("bytes follow the extensions", |spec| {
        spec.extensions.clear();
        spec.before_extensions = tlv(
            0xA3,
            &[seq(&[&seq(&[&tlv(6, &[1]), &tlv(4, &[])])]), tlv(5, &[])].concat(),
        );
    });
    const MANY: &[&str] = &[
        "1.1", "1.2", "1.3", "1.4", "1.5", "1.6", "1.7", "1.8", "1.9", "1.10", "1.11", "1.12", "1.13", "1.14", "1.15",
        "1.16", "1.17", "1.18", "1.19", "1.20", "1.21", "1.22", "1.23", "1.24", "1.25", "1.26", "1.27", "1.28", "1.29",
        "1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37", "1.38", "1.39", "2.1", "2.2", "2.3", "2.4",
        "2.5", "2.6", "2.7", "2.8", "2.9", "2.10", "2.11", "2.12", "2.13", "2.14", "2.15", "2.16", "2.17", "2.18",
        "2.19", "2.20", "2.21",
    ];
    let fill = |count: usize| {
        ek(|spec| {
            let missing = count - spec.extensions.len();
            MANY.iter().take(missing).for_each(|oid| spec.with(oid, None, vec![]));
        })
    };
    assert_eq!(read(&fill(64), Leniencies::NONE), Ok(()));
    assert_eq!(read(&fill(65), Leniencies::VENDOR), Err(BadDer("too many extensions")));
}

#[test]
fn bytes_after_the_signature_are_refused() {
    let mut certificate = ek(|_| {});
    certificate.push(0);
    assert_eq!(
        read(&certificate, Leniencies::VENDOR),
        Err(BadDer("bytes follow the end"))
    );
    let spec_parts = |extra: &[u8], signature: &[u8]| {
        let certificate = ek(|_| {});
        let tbs = Certificate::parse(&certificate, Leniencies::NONE).unwrap().tbs;
        seq(&[tbs, &Algorithm::EcdsaSha256.identifier(), signature, extra])
    };
    let inside = spec_parts(&tlv(5, &[]), &tlv(3, &[0, 1]));
    assert_eq!(
        read(&inside, Leniencies::VENDOR),
        Err(BadDer("bytes follow the signature"))
    );
    for bits in [vec![], vec![1, 2]] {
        let odd = spec_parts(&[], &tlv(3, &bits));
        assert_eq!(
            read(&odd, Leniencies::VENDOR),
            Err(BadDer("BIT STRING is not whole octets"))
        );
    }
}

#[test]
fn what_x509_cert_reads_is_read_alike() {
    use der::{Decode as _, Encode as _};
    let certificate = ek(|spec| spec.subject = common_name("chip"));
    let ours = Certificate::parse(&certificate, Leniencies::NONE).unwrap();
    let theirs = x509_cert::Certificate::from_der(&certificate).unwrap();
    let tbs = theirs.tbs_certificate();
    assert_eq!(ours.issuer, tbs.issuer().to_der().unwrap());
    assert_eq!(ours.subject, tbs.subject().to_der().unwrap());
    assert_eq!(ours.serial, tbs.serial_number().as_bytes());
    assert_eq!(ours.spki, tbs.subject_public_key_info().to_der().unwrap());
    assert_eq!(ours.tbs, tbs.to_der().unwrap());
    let seconds = |time: x509_cert::time::Time| i64::try_from(time.to_unix_duration().as_secs()).unwrap();
    assert_eq!(ours.not_before.0, seconds(tbs.validity().not_before));
    assert_eq!(ours.not_after.0, seconds(tbs.validity().not_after));
    assert_eq!(
        PublicKey::parse(ours.spki, Leniencies::NONE).unwrap().to_spki(),
        CHIP.spki()
    );
}
