use super::*;
use crate::vendor::{Algorithm, CsrSpec, Extension, Key, Kind, bits, common_name, csr_attribute, oid, seq, tlv, utf8};
use std::sync::LazyLock;

static KEY: LazyLock<Key> = LazyLock::new(|| Key::new(Kind::P256));
static RSA: LazyLock<Key> = LazyLock::new(|| Key::new(Kind::Rsa(2048)));

fn csr(change: impl FnOnce(&mut CsrSpec)) -> Vec<u8> {
    signed(&KEY, change)
}

fn signed(key: &Key, change: impl FnOnce(&mut CsrSpec)) -> Vec<u8> {
    let mut spec = CsrSpec::new(key);
    change(&mut spec);
    spec.sign(key)
}

#[track_caller]
fn refused(reason: Reason, detail: &str, der: &[u8]) {
    let refusal = prove(der).expect_err("the request must be refused");
    assert_eq!((refusal.reason, refusal.detail), (reason, format!("CSR: {detail}")));
}

fn extension(oid: &'static str, value: Vec<u8>) -> Extension {
    Extension {
        oid,
        critical: None,
        value,
    }
}

const SAN: &str = "2.5.29.17";

#[test]
fn a_bare_request_asks_for_nothing() {
    let proven = prove(&csr(|_| {})).unwrap();
    assert_eq!(proven.spki, KEY.spki());
    let nothing = CsrRequest {
        subject: vec![0x30, 0],
        ..CsrRequest::default()
    };
    assert_eq!(proven.request, nothing);
}

#[test]
fn k12_every_listed_key_and_algorithm_is_proven() {
    use Algorithm::{EcdsaSha256, EcdsaSha384, EcdsaSha512, Pss, Sha256Rsa, Sha384Rsa, Sha512Rsa};
    let ec = [EcdsaSha256, EcdsaSha384, EcdsaSha512];
    let pss = |hash, salt| Pss { hash, salt };
    let rsa = [
        Sha256Rsa,
        Sha384Rsa,
        Sha512Rsa,
        pss(256, 32),
        pss(384, 48),
        pss(512, 64),
    ];
    for (kind, algorithms) in [
        (Kind::P256, &ec[..]),
        (Kind::P384, &ec),
        (Kind::Rsa(2048), &rsa),
        (Kind::Rsa(3072), &rsa),
    ] {
        let key = Key::new(kind);
        for algorithm in algorithms {
            let proven = prove(&signed(&key, |spec| spec.algorithm = *algorithm)).unwrap();
            assert_eq!(proven.spki, key.spki(), "{kind:?} {algorithm:?}");
        }
    }
}

#[test]
fn k12_other_algorithms_are_refused() {
    const OTHER: &str = "signature algorithm is not on the allow-list";
    for algorithm in [Algorithm::Md5Rsa, Algorithm::Sha1Rsa] {
        refused(Reason::CsrSig, OTHER, &signed(&RSA, |spec| spec.algorithm = algorithm));
    }
    refused(
        Reason::CsrSig,
        OTHER,
        &csr(|spec| spec.algorithm = Algorithm::EcdsaSha1),
    );
    for (hash, salt) in [(256, 20), (256, 64), (512, 32)] {
        let pss = signed(&RSA, |spec| spec.algorithm = Algorithm::Pss { hash, salt });
        refused(Reason::CsrSig, "RSASSA-PSS parameters are not on the allow-list", &pss);
    }
    // MGF1 with another hash; parameters that mean SHA-1 by their absence.
    let sha = |last: u8| seq(&[&oid(&format!("2.16.840.1.101.3.4.2.{last}"))]);
    let pss = |parameters: &[u8]| {
        let identifier = seq(&[&oid("1.2.840.113549.1.1.10"), parameters]);
        signed(&RSA, |spec| {
            spec.algorithm = Algorithm::Pss { hash: 256, salt: 32 };
            spec.identifier = Some(identifier);
        })
    };
    let mixed = seq(&[
        &tlv(0xA0, &sha(1)),
        &tlv(0xA1, &seq(&[&oid("1.2.840.113549.1.1.8"), &sha(2)])),
        &tlv(0xA2, &tlv(2, &[32])),
    ]);
    refused(
        Reason::CsrSig,
        "RSASSA-PSS parameters are not on the allow-list",
        &pss(&mixed),
    );
    refused(Reason::CsrSig, "RSASSA-PSS with SHA-1", &pss(&seq(&[])));
    refused(Reason::CsrSig, "RSASSA-PSS without parameters", &pss(&[]));
}

#[test]
fn d04_none_of_the_leniencies_for_vendors_holds_here() {
    let null = seq(&[&oid("1.2.840.10045.4.3.2"), &tlv(5, &[])]);
    refused(
        Reason::CsrSig,
        "ECDSA with parameters",
        &csr(|spec| spec.identifier = Some(null)),
    );
    let name = [
        vec![0x30, 0x07, 6, 3, 0x55, 4, 10, 0x0C, 0],
        vec![0x30, 0x07, 6, 3, 0x55, 4, 3, 0x0C, 0],
    ]
    .concat();
    let unsorted = csr(|spec| spec.subject = seq(&[&tlv(0x31, &name)]));
    refused(Reason::Malformed, "RDN is not in DER order", &unsorted);
    let explicit = Extension {
        critical: Some(false),
        ..extension(SAN, seq(&[&tlv(0x82, b"a")]))
    };
    refused(
        Reason::Malformed,
        "DEFAULT FALSE is written out",
        &csr(|spec| spec.request(&[explicit])),
    );
}

#[test]
fn possession_is_proven_over_the_bytes_received() {
    const WRONG: &str = "the signature is not that of its key";
    refused(
        Reason::CsrSig,
        WRONG,
        &csr(|spec| spec.spki = Key::new(Kind::P256).spki()),
    );
    refused(Reason::CsrSig, WRONG, &csr(|spec| spec.spki = RSA.spki()));
    refused(
        Reason::CsrSig,
        WRONG,
        &csr(|spec| spec.identifier = Some(Algorithm::EcdsaSha384.identifier())),
    );
    let mut sound = csr(|spec| spec.subject = common_name("device"));
    for position in 0..sound.len() {
        sound[position] ^= 1;
        assert!(prove(&sound).is_err(), "byte {position}");
        sound[position] ^= 1;
    }
    prove(&sound).unwrap();
}

#[test]
fn a30_keys_that_are_not_listed_are_refused() {
    for (kind, bits) in [(Kind::Rsa(1024), 1024), (Kind::Rsa(2056), 2056), (Kind::P521, 521)] {
        let detail = format!("a key of {bits} bits, or its exponent, is not on the allow-list");
        refused(Reason::KeyAlg, &detail, &signed(&Key::new(kind), |_| {}));
    }
    refused(
        Reason::KeyAlg,
        "curve is not P-256, P-384 or P-521",
        &signed(&Key::new(Kind::K256), |_| {}),
    );
    let modulus = RSA.0.rsa().unwrap().n().to_vec();
    let with = |modulus: &[u8], exponent: &[u8]| {
        let key = bits(&seq(&[&tlv(2, &[&[0], modulus].concat()), &tlv(2, exponent)]));
        let algorithm = seq(&[&oid("1.2.840.113549.1.1.1"), &tlv(5, &[])]);
        signed(&RSA, |spec| spec.spki = seq(&[&algorithm, &key]))
    };
    prove(&with(&modulus, &[1, 0, 1])).unwrap();
    let range = "RSA exponent is even, too small or too large";
    for exponent in [&[3][..], &[1, 0, 0], &[1, 0, 0, 0, 1, 1]] {
        refused(Reason::KeyAlg, range, &with(&modulus, exponent));
    }
    let unlisted = "a key of 2048 bits, or its exponent, is not on the allow-list";
    refused(Reason::KeyAlg, unlisted, &with(&modulus, &[1, 0, 3]));
    let huge = [&[0x80][..], &[0xFF; 2047]].concat();
    refused(Reason::KeyAlg, "RSA modulus beyond 4096 bits", &with(&huge, &[1, 0, 1]));
    let oaep = seq(&[&seq(&[&oid("1.2.840.113549.1.1.7"), &seq(&[])]), &bits(&seq(&[]))]);
    refused(
        Reason::KeyAlg,
        "key algorithm is neither RSA nor EC",
        &signed(&RSA, |spec| spec.spki = oaep),
    );
}

#[test]
fn a_compressed_point_is_the_same_key() {
    let spki = KEY.spki();
    let point = &spki[spki.len() - 65..];
    let curve = seq(&[&oid("1.2.840.10045.2.1"), &oid("1.2.840.10045.3.1.7")]);
    let compressed = [&[2 | point[64] & 1][..], &point[1..33]].concat();
    let proven = prove(&csr(|spec| spec.spki = seq(&[&curve, &bits(&compressed)]))).unwrap();
    assert_eq!(proven.spki, spki);
    let hybrid = [&[6 | point[64] & 1][..], &point[1..]].concat();
    let form = "point is neither uncompressed nor compressed";
    refused(
        Reason::KeyAlg,
        form,
        &csr(|spec| spec.spki = seq(&[&curve, &bits(&hybrid)])),
    );
}

#[test]
fn everything_that_is_asked_for_is_listed() {
    let san = seq(&[&tlv(0x82, b"device.example")]);
    let name = common_name("device");
    let der = csr(|spec| {
        spec.subject = name.clone();
        spec.request(&[
            extension("2.5.29.19", seq(&[&tlv(1, &[0xFF])])),
            extension(SAN, san.clone()),
            extension("2.5.29.37", seq(&[&oid("1.3.6.1.5.5.7.3.1")])),
        ]);
        spec.attributes
            .push(csr_attribute("1.2.840.113549.1.9.7", &utf8("challenge")));
        spec.attributes.push(csr_attribute("1.3.6.1.4.1.311.2.1.14", &seq(&[])));
        spec.attributes.sort();
    });
    let request = prove(&der).unwrap().request;
    assert_eq!(request.subject, name);
    assert_eq!(request.subject_alt_name, Some(san));
    assert_eq!(request.other_extensions, ["2.5.29.19", "2.5.29.37"]);
    let mut attributes = request.other_attributes;
    attributes.sort();
    assert_eq!(attributes, ["1.2.840.113549.1.9.7", "1.3.6.1.4.1.311.2.1.14"]);
}

#[test]
fn a_second_extension_request_is_listed_and_not_read() {
    let der = csr(|spec| {
        spec.request(&[extension(SAN, seq(&[&tlv(0x82, b"a")]))]);
        spec.request(&[extension(SAN, seq(&[&tlv(0x82, b"b")]))]);
        spec.attributes.sort();
    });
    let request = prove(&der).unwrap().request;
    assert_eq!(request.subject_alt_name, Some(seq(&[&tlv(0x82, b"a")])));
    assert_eq!(request.other_attributes, ["1.2.840.113549.1.9.14"]);
}

#[test]
fn one_extension_twice_is_refused() {
    let twice = [
        extension(SAN, seq(&[&tlv(0x82, b"a")])),
        extension(SAN, seq(&[&tlv(0x82, b"b")])),
    ];
    refused(
        Reason::Malformed,
        "an extension is there twice",
        &csr(|spec| spec.request(&twice)),
    );
}

#[test]
fn an_extension_request_has_one_value() {
    let list = seq(&[&extension(SAN, seq(&[&tlv(0x82, b"a")])).der()]);
    let two = csr_attribute("1.2.840.113549.1.9.14", &[list.clone(), list].concat());
    refused(
        Reason::Malformed,
        "bytes follow the end",
        &csr(|spec| spec.attributes.push(two)),
    );
    let none = csr_attribute("1.2.840.113549.1.9.14", &[]);
    refused(
        Reason::Malformed,
        "extensionRequest is not one SEQUENCE",
        &csr(|spec| spec.attributes.push(none)),
    );
}

#[test]
fn a47_empty_lists_are_refused() {
    refused(
        Reason::Malformed,
        "list of extensions is empty",
        &csr(|spec| spec.request(&[])),
    );
    let san = csr(|spec| spec.request(&[extension(SAN, seq(&[]))]));
    refused(Reason::Malformed, "GeneralNames is empty", &san);
    let other = csr_attribute("1.2.840.113549.1.9.7", &[]);
    refused(
        Reason::Malformed,
        "element is missing",
        &csr(|spec| spec.attributes.push(other)),
    );
}

#[test]
fn alternative_names_are_of_known_form() {
    for name in [
        tlv(0x89, b"a"),
        tlv(0x0C, b"a"),
        tlv(0xA2, b"a"),
        tlv(0x84, &[]),
        tlv(0x80, &[]),
    ] {
        let der = csr(|spec| spec.request(&[extension(SAN, seq(&[&name]))]));
        refused(Reason::Malformed, "GeneralName of unknown form", &der);
    }
}

#[test]
fn the_frame_is_exact() {
    refused(
        Reason::Malformed,
        "version is not 0",
        &csr(|spec| spec.version = tlv(2, &[1])),
    );
    refused(
        Reason::Malformed,
        "INTEGER is not minimal",
        &csr(|spec| spec.version = tlv(2, &[0, 0])),
    );
    refused(
        Reason::Malformed,
        "attributes are missing",
        &csr(|spec| spec.wrapped_attributes = Some(vec![])),
    );
    let more = [tlv(0xA0, &[]), tlv(5, &[])].concat();
    refused(
        Reason::Malformed,
        "bytes follow the attributes",
        &csr(|spec| spec.wrapped_attributes = Some(more)),
    );
    let mut padded = csr(|_| {});
    padded.push(0);
    refused(Reason::Malformed, "bytes follow the end", &padded);
    let whole = csr(|_| {});
    let inside = asn1::only(&whole, SEQUENCE, "a request").unwrap().content;
    let longer = tlv(0x30, &[inside, &tlv(5, &[])].concat());
    refused(Reason::Malformed, "bytes follow the signature", &longer);
    let unsorted = csr(|spec| {
        spec.attributes.push(csr_attribute("1.2.840.113549.1.9.7", &utf8("b")));
        spec.attributes.push(csr_attribute("1.2.840.113549.1.9.7", &utf8("a")));
    });
    refused(Reason::Malformed, "attributes are not in DER order", &unsorted);
}

#[test]
fn requests_are_bounded() {
    let fill = |length: usize| {
        csr(|spec| {
            spec.attributes
                .push(csr_attribute("1.2.840.113549.1.9.7", &utf8(&"x".repeat(length))))
        })
    };
    // ECDSA signatures differ by a few bytes in length.
    prove(&fill(MAX_CSR_BYTES - 300)).unwrap();
    refused(Reason::Malformed, "longer than 16 KiB", &fill(MAX_CSR_BYTES));
    let many = |count| csr(|spec| spec.attributes = vec![csr_attribute("1.2.840.113549.1.9.7", &utf8("x")); count]);
    prove(&many(16)).unwrap();
    refused(Reason::Malformed, "too many attributes", &many(17));
}

#[test]
fn requests_of_openssl_are_proven() {
    for key in [&*KEY, &*RSA] {
        let mut builder = openssl::x509::X509Req::builder().unwrap();
        let mut name = openssl::x509::X509Name::builder().unwrap();
        name.append_entry_by_text("CN", "device").unwrap();
        builder.set_version(0).unwrap();
        builder.set_subject_name(&name.build()).unwrap();
        builder.set_pubkey(&key.0).unwrap();
        let san = openssl::x509::extension::SubjectAlternativeName::new()
            .dns("device.example")
            .build(&builder.x509v3_context(None))
            .unwrap();
        let mut extensions = openssl::stack::Stack::new().unwrap();
        extensions.push(san).unwrap();
        builder.add_extensions(&extensions).unwrap();
        builder.sign(&key.0, openssl::hash::MessageDigest::sha256()).unwrap();
        let proven = prove(&builder.build().to_der().unwrap()).unwrap();
        assert_eq!(proven.spki, key.spki());
        assert_eq!(
            proven.request.subject_alt_name,
            Some(seq(&[&tlv(0x82, b"device.example")]))
        );
        assert!(proven.request.other_extensions.is_empty() && proven.request.other_attributes.is_empty());
    }
}
