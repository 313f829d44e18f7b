//! Bytes of strangers that ask.

use std::process::Command;

use const_oid::ObjectIdentifier;
use const_oid::db::rfc6960::{ID_PKIX_OCSP_NONCE, ID_PKIX_OCSP_RESPONSE};
use openssl::sha::{sha1, sha256};
use proptest::prelude::*;

use super::*;
use crate::Draft;
use crate::Serial;
use crate::encode::{INTEGER, OCTET_STRING, SEQUENCE, context_constructed, tlv};
use crate::fixture::{Hierarchy, leaf_spki, serial, spec, walk};
use crate::tbs::extension;

/// A request put together by hand.
struct Asked {
    algorithm: Vec<u8>,
    name_hash: Vec<u8>,
    key_hash: Vec<u8>,
    serial: Vec<u8>,
    single: Vec<u8>,
    version: Vec<u8>,
    requestor: Vec<u8>,
    /// Content of Extensions, absent when empty.
    extensions: Vec<u8>,
    signature: Vec<u8>,
    times: usize,
}

const SHA1: &[u8] = b"\x30\x07\x06\x05\x2b\x0e\x03\x02\x1a";
const SHA1_NULL: &[u8] = b"\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00";
const SHA256: &[u8] = b"\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01";
const SHA256_NULL: &[u8] = b"\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00";
const SHA384: &[u8] = b"\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02";
const MD5: &[u8] = b"\x30\x0c\x06\x08\x2a\x86\x48\x86\xf7\x0d\x02\x05\x05\x00";

fn good_one() -> Asked {
    Asked {
        algorithm: SHA1_NULL.to_vec(),
        name_hash: vec![1; 20],
        key_hash: vec![2; 20],
        serial: serial(1).octets().to_vec(),
        single: Vec::new(),
        version: Vec::new(),
        requestor: Vec::new(),
        extensions: Vec::new(),
        signature: Vec::new(),
        times: 1,
    }
}

impl Asked {
    fn encode(&self) -> Vec<u8> {
        let one = |n: usize| {
            let mut serial = self.serial.clone();
            if let Some(last) = serial.last_mut() {
                *last ^= u8::try_from(n % 200).unwrap();
            }
            let id = tlv(
                SEQUENCE,
                &[
                    &self.algorithm,
                    &tlv(OCTET_STRING, &[&self.name_hash]),
                    &tlv(OCTET_STRING, &[&self.key_hash]),
                    &tlv(INTEGER, &[&serial]),
                ],
            );
            tlv(SEQUENCE, &[&id, &self.single])
        };
        let list = tlv(SEQUENCE, &[&(0..self.times).flat_map(one).collect::<Vec<u8>>()]);
        let extensions = match self.extensions.as_slice() {
            [] => Vec::new(),
            content => tlv(context_constructed(2), &[&tlv(SEQUENCE, &[content])]),
        };
        let tbs = tlv(SEQUENCE, &[&self.version, &self.requestor, &list, &extensions]);
        tlv(SEQUENCE, &[&tbs, &self.signature])
    }
    fn read(&self) -> Result<OcspRequest, OcspRequestError> {
        OcspRequest::decode(&self.encode())
    }
    fn with_nonce(octets: &[u8]) -> Self {
        Self {
            extensions: extension(&ID_PKIX_OCSP_NONCE, false, &tlv(OCTET_STRING, &[octets])),
            ..good_one()
        }
    }
}

fn refusal(change: impl FnOnce(&mut Asked)) -> OcspRequestError {
    let mut asked = good_one();
    change(&mut asked);
    asked.read().unwrap_err()
}

fn malformed(change: impl FnOnce(&mut Asked)) -> String {
    match refusal(change) {
        OcspRequestError::Malformed(what) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_forms_that_are_read() {
    for (algorithm, length) in [(SHA1, 20), (SHA1_NULL, 20), (SHA256, 32), (SHA256_NULL, 32)] {
        let mut asked = good_one();
        asked.algorithm = algorithm.to_vec();
        (asked.name_hash, asked.key_hash) = (vec![1; length], vec![2; length]);
        let read = asked.read().unwrap();
        assert_eq!((read.questions.len(), read.nonce), (1, None));
    }
    let mut asked = good_one();
    asked.times = MAX_CERT_IDS;
    assert_eq!(asked.read().unwrap().questions.len(), MAX_CERT_IDS);
    // Who asks, and the signature, do not matter.
    asked.requestor = b"\xa1\x04\x82\x02ab".to_vec();
    asked.signature = b"\xa0\x02\x30\x00".to_vec();
    asked.read().unwrap();
}

/// D09: a hash this CA does not know; and hashes of another length than their algorithm's.
#[test]
fn unknown_hashes() {
    const WHAT: &str = "not the expected structure: a hash that is neither SHA-1 nor SHA-256";
    for algorithm in [SHA384, MD5] {
        assert_eq!(malformed(|asked| asked.algorithm = algorithm.to_vec()), WHAT);
    }
    // Parameters that are not NULL.
    assert_eq!(
        malformed(|asked| asked.algorithm = b"\x30\x0a\x06\x05\x2b\x0e\x03\x02\x1a\x02\x01\x00".to_vec()),
        WHAT
    );
    const LENGTH: &str = "not the expected structure: a hash of another length than its algorithm's";
    for length in [0, 19, 21, 32] {
        assert_eq!(malformed(|asked| asked.name_hash = vec![1; length]), LENGTH);
        assert_eq!(malformed(|asked| asked.key_hash = vec![1; length]), LENGTH);
    }
}

/// D09: more questions than anybody has, and none.
#[test]
fn too_many_questions() {
    for times in [0, MAX_CERT_IDS + 1] {
        assert_eq!(refusal(|asked| asked.times = times), OcspRequestError::Questions(times));
    }
    let mut many = good_one();
    many.times = 100_000;
    let many = many.encode();
    assert_eq!(OcspRequest::decode(&many), Err(OcspRequestError::TooLong(many.len())));
    assert_eq!(
        malformed(|asked| (asked.times, asked.serial) = (2, vec![])),
        "tag 02 holds "
    );
}

/// D09: a nonce of none, of 129 octets, of a megabyte.
#[test]
fn nonces() {
    for length in [1, 15, 16, 32, 33, 128] {
        let read = Asked::with_nonce(&vec![7; length]).read().unwrap();
        assert_eq!(read.nonce.unwrap().octets(), vec![7; length]);
    }
    for length in [0, 129, 3000] {
        let read = Asked::with_nonce(&vec![7; length]).read();
        let expected = "not the expected structure: a nonce of no octets or more than 128";
        assert_eq!(read, Err(OcspRequestError::Malformed(expected.into())), "{length}");
    }
    let mega = Asked::with_nonce(&vec![7; 1 << 20]).encode();
    assert_eq!(OcspRequest::decode(&mega), Err(OcspRequestError::TooLong(mega.len())));
    // Not an OCTET STRING in it; two of them.
    let bare = extension(&ID_PKIX_OCSP_NONCE, false, &[7; 16]);
    assert!(malformed(|asked| asked.extensions = bare).ends_with("value cut off"));
    let one = Asked::with_nonce(&[7; 16]).extensions;
    let twice = malformed(|asked| asked.extensions = [one.clone(), one].concat());
    assert!(twice.ends_with("an extension twice"), "{twice}");
    // RFC 9654 does not forbid that it is critical.
    let mut critical = good_one();
    critical.extensions = extension(&ID_PKIX_OCSP_NONCE, true, &tlv(OCTET_STRING, &[&[7; 16]]));
    assert!(critical.read().unwrap().nonce.is_some());
}

#[test]
fn extensions_that_are_not_known() {
    let unknown = ObjectIdentifier::new_unwrap("1.2.3.4");
    for oid in [unknown, ID_PKIX_OCSP_RESPONSE] {
        for single in [false, true] {
            let of = |critical| {
                let list = extension(&oid, critical, &[5, 0]);
                let mut asked = good_one();
                if single {
                    asked.single = tlv(context_constructed(0), &[&tlv(SEQUENCE, &[&list])]);
                } else {
                    asked.extensions = list;
                }
                asked.read()
            };
            assert!(of(false).is_ok(), "ignored");
            assert_eq!(of(true), Err(OcspRequestError::Critical(oid.to_string())));
        }
    }
    // A nonce of a single question is none.
    let nonce = Asked::with_nonce(&[7; 16]).extensions;
    let mut asked = good_one();
    asked.single = tlv(context_constructed(0), &[&tlv(SEQUENCE, &[&nonce])]);
    assert_eq!(asked.read().unwrap().nonce, None);
}

#[test]
fn the_rest_of_the_structure() {
    assert!(malformed(|asked| asked.version = b"\xa0\x03\x02\x01\x00".to_vec()).ends_with("requestList"));
    assert!(malformed(|asked| asked.single = vec![5, 0]).ends_with("bytes after a request"));
    assert!(malformed(|asked| asked.signature = vec![5, 0]).ends_with("bytes after the request"));
    assert!(malformed(|asked| asked.serial = vec![0x40; 22]).ends_with("serialNumber"));
    assert_eq!(malformed(|asked| asked.serial = vec![0, 1]), "tag 02 holds 0001");
    let mut twice = good_one();
    twice.times = 2;
    let mut bytes = twice.encode();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let Err(OcspRequestError::Malformed(what)) = OcspRequest::decode(&bytes) else {
        panic!("asked twice")
    };
    assert!(what.ends_with("one certificate asked about twice"), "{what}");
    let good = good_one().encode();
    for length in 0..good.len() {
        assert!(OcspRequest::decode(&good[..length]).is_err(), "cut at {length}");
    }
    assert!(OcspRequest::decode(&[&good[..], &[0]].concat()).is_err());
    // BER: a length of two octets where one is enough.
    let long = [b"\x30\x81", &good[1..]].concat();
    assert!(matches!(
        OcspRequest::decode(&long),
        Err(OcspRequestError::Malformed(_))
    ));
}

/// R05, R12: the issuer is named by its name and its key, both of them, and only serials that this CA draws are its own.
#[test]
fn whose_certificate() {
    let (one, two) = (Hierarchy::p256(), Hierarchy::p256());
    let hashes = IssuerHashes::of(&one.issuer);
    assert_eq!(one.issuer.name(), two.issuer.name(), "the same name and another key");
    for form in CertIdForm::ALL {
        let id = CertId {
            form,
            serial: serial(5),
        };
        let asked = OcspRequest::encode(id, &hashes, None);
        let question = || OcspRequest::decode(&asked).unwrap().questions.remove(0);
        assert_eq!(question().of(&hashes), Some(id));
        assert_eq!(question().of(&IssuerHashes::of(&two.issuer)), None, "the key differs");
        assert_eq!(question().of(&IssuerHashes::of(&one.root)), None, "both differ");
        // The name alone differs.
        let mut other = asked.clone();
        let name = if matches!(form, CertIdForm::Sha1 | CertIdForm::Sha1Null) {
            sha1(one.issuer.name()).to_vec()
        } else {
            sha256(one.issuer.name()).to_vec()
        };
        let at = other.windows(name.len()).position(|w| w == name).unwrap();
        other[at] ^= 1;
        assert_eq!(
            OcspRequest::decode(&other).unwrap().questions.remove(0).of(&hashes),
            None
        );
    }
    // Serials of other forms: short, long, of the right length with other first bits.
    let ours = OcspRequest::encode(
        CertId {
            form: CertIdForm::Sha1Null,
            serial: serial(5),
        },
        &hashes,
        None,
    );
    let mut asked = good_one();
    asked.name_hash = sha1(one.issuer.name()).to_vec();
    asked.key_hash = ours[ours.len() - 18 - 20..ours.len() - 18].to_vec();
    asked.serial = serial(5).octets().to_vec();
    assert_eq!(asked.encode(), ours);
    for foreign in [vec![1], vec![0x40; 15], vec![0x40; 17], vec![0x20; 16], vec![0xc0; 16]] {
        asked.serial = foreign;
        assert_eq!(asked.read().unwrap().questions.remove(0).of(&hashes), None);
    }
}

/// What `openssl ocsp -reqout` writes, read; and what is written here, `openssl ocsp -reqin` reads.
#[test]
fn openssl_asks_alike() {
    let hierarchy = Hierarchy::p256();
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let draft = Draft::below(
        spec(policies::ProfileKind::Service, &leaf_spki()),
        &hierarchy.issuer,
        serial(9),
    );
    let leaf = walk(draft.unwrap(), &hierarchy.key);
    super::others::pem(&file("issuing.pem"), &hierarchy.issuer.chain()[0]);
    super::others::pem(&file("leaf.pem"), leaf.certificate());
    let hashes = IssuerHashes::of(&hierarchy.issuer);
    for (digest, forms) in [
        ("-sha1", [CertIdForm::Sha1, CertIdForm::Sha1Null]),
        ("-sha256", [CertIdForm::Sha256, CertIdForm::Sha256Null]),
    ] {
        for nonce in ["-nonce", "-no_nonce"] {
            let out = Command::new("openssl")
                .args(["ocsp", digest, nonce, "-issuer"])
                .arg(file("issuing.pem"))
                .arg("-cert")
                .arg(file("leaf.pem"))
                .arg("-reqout")
                .arg(file("req.der"))
                .output()
                .unwrap();
            assert!(out.status.success(), "{out:?}");
            let request = OcspRequest::decode(&std::fs::read(file("req.der")).unwrap()).unwrap();
            assert_eq!(request.nonce.is_some(), nonce == "-nonce");
            let [question] = <[RawCertId; 1]>::try_from(request.questions).unwrap();
            let id = question.of(&hashes).unwrap();
            assert_eq!(id.serial, leaf.serial());
            assert!(forms.contains(&id.form), "{:?}", id.form);
        }
    }
    let id = CertId {
        form: CertIdForm::Sha256,
        serial: leaf.serial(),
    };
    let request = OcspRequest::encode(id, &hashes, Nonce::new(&[0xab; 32]).as_ref());
    std::fs::write(file("ours.der"), request).unwrap();
    let out = Command::new("openssl")
        .args(["ocsp", "-req_text", "-reqin"])
        .arg(file("ours.der"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout).to_lowercase();
    assert!(text.contains("hash algorithm: sha256"), "{text}");
    assert!(text.contains(&leaf.serial().hex()), "{text}");
    assert!(text.contains(&"ab".repeat(32)), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = OcspRequest::decode(&bytes);
        let _ = OcspRequest::decode(&tlv(SEQUENCE, &[&tlv(SEQUENCE, &[&bytes])]));
    }

    #[test]
    fn one_octet_changed(at in any::<prop::sample::Index>(), xor in 1_u8.., nonce in proptest::collection::vec(any::<u8>(), 1..129)) {
        let mut asked = good_one();
        asked.extensions = Asked::with_nonce(&nonce).extensions;
        let good = asked.read().unwrap();
        let mut bytes = asked.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= xor;
        if let Ok(read) = OcspRequest::decode(&bytes) {
            // What is read says something else, or the octet is in what is ignored: an unknown extension.
            prop_assert!(read != good || read.nonce.is_none());
        }
    }

    #[test]
    fn what_is_asked_is_read(octets in any::<[u8; 16]>(), form in 0_usize..4, nonce in proptest::collection::vec(any::<u8>(), 0..129)) {
        thread_local!(static HASHES: IssuerHashes = IssuerHashes::of(&Hierarchy::p256().issuer));
        let mut octets = octets;
        octets[0] = (octets[0] & 0x3f) | 0x40;
        let id = CertId { form: CertIdForm::ALL[form], serial: Serial::from_octets(octets).unwrap() };
        let nonce = Nonce::new(&nonce);
        HASHES.with(|hashes| {
            let read = OcspRequest::decode(&OcspRequest::encode(id, hashes, nonce.as_ref())).unwrap();
            assert_eq!(read.nonce, nonce);
            let mut questions = read.questions;
            assert_eq!(questions.remove(0).of(hashes), Some(id));
            assert!(questions.is_empty());
        });
    }
}
