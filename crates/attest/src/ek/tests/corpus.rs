//! The corpus of real EK certificates: every leaf verifies against its vendor's root or is refused for a stated reason.

use super::*;
use crate::x509::PublicKey;
use std::path::PathBuf;

/// Files of one folder of the corpus; `None`, said in one line, when it is not beside the checkout.
pub(super) fn files(folder: &str) -> Option<BTreeMap<String, Vec<u8>>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data/ek")
        .join(folder);
    let Ok(entries) = std::fs::read_dir(path) else {
        assert!(
            std::env::var_os("CI").is_none(),
            "the corpus of EK certificates is missing"
        );
        eprintln!("skipped: no corpus of EK certificates beside the checkout");
        return None;
    };
    let read = |path: PathBuf| {
        (
            path.file_name().unwrap().to_string_lossy().into_owned(),
            std::fs::read(&path).unwrap(),
        )
    };
    Some(
        entries
            .map(|entry| read(entry.unwrap().path()))
            .filter(|(name, _)| name.ends_with(".der"))
            .collect(),
    )
}

/// Manufacturer, model and version; or why it is refused.
type Verdict = Result<&'static str, (Reason, &'static str)>;

/// What the vendors' roots may speak for, by the beginning of the file name.
const ROOTS: [(&str, AnchorKind, &str); 8] = [
    ("Infineon_OPTIGA", AnchorKind::Hardware, "id:49465800"),
    ("GlobalSign_Trusted", AnchorKind::Hardware, "id:53544D20"),
    ("NTC_TPM", AnchorKind::Hardware, "id:4E544300"),
    ("Nuvoton", AnchorKind::Hardware, "id:4E544300"),
    ("VeriSign", AnchorKind::Hardware, "id:49465800"),
    ("EK_AK_CA_Root_Google", AnchorKind::Virtual, "id:474F4F47"),
    ("tpm_ek_v1_cloud_host", AnchorKind::Virtual, "id:474F4F47"),
    ("swtpm_localca", AnchorKind::Software, "id:00001014"),
];

/// The roots of vendors whose leaves are there, and all intermediates.
pub(super) fn corpus_anchors() -> Option<Anchors> {
    let sources = files("roots")?
        .into_iter()
        .filter_map(|(name, certificate)| {
            let (_, kind, manufacturer) = ROOTS.iter().find(|(prefix, _, _)| name.starts_with(prefix))?;
            Some(AnchorSource {
                name,
                certificate,
                kind: *kind,
                manufacturers: vec![(*manufacturer).to_owned()],
                enforce_expiry: false,
            })
        })
        .collect();
    Some(Anchors::new(sources, files("intermediates")?.into_values().collect()).unwrap())
}

/// The public area that a TPM with this certified key would have.
pub(super) fn public_of(certificate: &[u8]) -> TpmtPublic {
    let frame = Certificate::parse(certificate, Leniencies::VENDOR).unwrap();
    let bytes = match PublicKey::parse(frame.spki, Leniencies::VENDOR).unwrap() {
        PublicKey::Rsa { modulus, .. } => EkFields::of("L-1").encode_rsa(&modulus),
        PublicKey::Ec { point, .. } => {
            let (x, y) = point[1..].split_at(point.len() / 2);
            EkFields::of(if x.len() == 32 { "L-2" } else { "H-3" }).encode_ecc(x, y)
        }
    };
    TpmtPublic::parse(&bytes).unwrap()
}

const SHA1: Verdict = Err((
    Reason::EkChain,
    "EK certificate: signature algorithm is not on the allow-list",
));
const STRANGER: Verdict = Err((
    Reason::EkChain,
    "its issuer is neither an anchor nor shipped nor offered",
));
const FORGED: Verdict = Err((Reason::EkChain, "EK certificate: the signature is not its issuer's"));
/// Google's attestation keys have certificates like its EKs', some with the purpose of an EK.
const SIGNING_RSA: Verdict = Err((Reason::EkProfile, "keyUsage lacks keyEncipherment"));
const SIGNING_ECC: Verdict = Err((Reason::EkProfile, "keyUsage lacks keyAgreement"));

/// End of the file name, and its manufacturer, model and version, or why it is refused.
const LEAVES: [(&str, Verdict); 35] = [
    ("0dd71325", Ok("id:474F4F47  ")),
    ("25a5373d", SIGNING_ECC),
    ("2df7967a", Ok("id:474F4F47  ")),
    // Its issuer has the name of the intermediate that is here, and another key.
    ("8f5a0701", FORGED),
    ("3722cd55", Ok("id:474F4F47  ")),
    ("8e8d20ad", SIGNING_RSA),
    ("9f2d40c0", SIGNING_RSA),
    ("9c49baf0", SIGNING_ECC),
    ("9fdd7997", Ok("id:474F4F47 vTPM id:20160511")),
    ("d2ec0b0a", SIGNING_RSA),
    // TPM 1.2.
    ("906dd96e", STRANGER),
    ("dfd310e7", Ok("id:49465800 SLB 9670 TPM2.0 id:073f")),
    ("234480e4", Ok("id:49465800 SLB 9670 TPM2.0 id:073f")),
    ("e54a9d6e", Ok("id:49465800 SLB 9665 id:053E")),
    ("8e0c90e2", Ok("id:4E544300 NPCT6xx id:13")),
    ("3c5e8e09", SHA1),
    ("5207b53a", Ok("id:4E544300 NPCT75x id:00070002")),
    ("54dea27f", Ok("id:4E544300 NPCT75x id:00070002")),
    ("85f38843", Ok("id:53544D20 ST33HTPHAHB4 id:00490004")),
    ("07d685f9", SHA1),
    ("411a4bb6", SHA1),
    ("73ffb9ae", Ok("id:53544D20 ST33HTPHAHB4 id:00490004")),
    ("9e62a0df", Ok("id:53544D20 ST33HTPHAHD4 id:00010101")),
    // Examples of the TCG, without an issuer.
    ("4fd2ec8d", STRANGER),
    ("a09144d8", STRANGER),
    // A platform certificate test that says keyEncipherment of a P-384 key.
    ("ba13d361", SIGNING_ECC),
    // Other machines' swtpm: one name for every local CA.
    ("3a888ace", FORGED),
    ("3080892d", FORGED),
    ("51e1856d", Ok("id:00001014 swtpm id:20191023")),
    ("54b0e605", Ok("id:00001014 swtpm id:20240125")),
    ("65e4c242", Ok("id:00001014 swtpm id:20240125")),
    ("8905c6d8", Ok("id:00001014 swtpm id:20191023")),
    ("a7384a7c", Ok("id:00001014 swtpm id:20240125")),
    ("b29e62e0", Ok("id:00001014 swtpm id:20240125")),
    ("f1a242ae", Ok("id:00001014 swtpm id:20240125")),
];

#[test]
fn a39_every_real_leaf_verifies_or_is_refused_for_a_stated_reason() {
    let (Some(leaves), Some(anchors)) = (files("leaves"), corpus_anchors()) else {
        return;
    };
    assert_eq!(leaves.len(), LEAVES.len());
    for (name, certificate) in leaves {
        let (_, expected) = LEAVES
            .iter()
            .find(|(end, _)| name.ends_with(&format!("_{end}.der")))
            .expect("a row");
        let found = verify(&certificate, &[], &public_of(&certificate), &anchors, NOW);
        match (expected, found) {
            (Ok(expected), Ok(facts)) => {
                let found = format!("{} {} {}", facts.manufacturer, facts.model, facts.version);
                assert_eq!(&found, expected, "{name}");
            }
            (Err((reason, detail)), Err(refusal)) => {
                assert_eq!(refusal.reason, *reason, "{name}: {refusal}");
                assert!(refusal.detail.contains(detail), "{name}: {refusal}");
            }
            (expected, found) => panic!("{name}: {expected:?} expected, {found:?} found"),
        }
    }
}

/// OpenSSL, where it reads a key at all, reads the same; an OAEP key is the RSA key it is.
#[test]
fn the_key_of_every_real_leaf_is_read() {
    let Some(leaves) = files("leaves") else { return };
    let mut oaep = 0;
    for (name, certificate) in leaves {
        let spki = certificate_spki(&certificate).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(public_of(&certificate).spki().unwrap(), spki, "{name}");
        let theirs = openssl::x509::X509::from_der(&certificate).unwrap().public_key();
        match theirs.and_then(|key| key.public_key_to_der()) {
            Ok(theirs) => assert_eq!(theirs, spki, "{name}"),
            Err(_) => oaep += 1,
        }
    }
    assert_eq!(oaep, 4);
}

#[test]
fn a39_a_flipped_bit_anywhere_in_a_real_certificate_is_refused() {
    let (Some(leaves), Some(anchors)) = (files("leaves"), corpus_anchors()) else {
        return;
    };
    for (name, mut certificate) in leaves {
        let public = public_of(&certificate);
        if verify(&certificate, &[], &public, &anchors, NOW).is_err() {
            continue;
        }
        for position in 0..certificate.len() {
            let bit = 1 << (position % 8);
            certificate[position] ^= bit;
            assert!(
                verify(&certificate, &[], &public, &anchors, NOW).is_err(),
                "{name}: byte {position}"
            );
            certificate[position] ^= bit;
        }
    }
}

#[test]
fn bytes_as_read_from_nv_are_refused_until_the_agent_has_cut_them() {
    let Some(leaves) = files("leaves") else { return };
    for certificate in leaves.into_values() {
        for padding in [0x00, 0x11, 0xFF] {
            let padded = [&certificate[..], &[padding; 8]].concat();
            let error = Certificate::parse(&padded, Leniencies::VENDOR).unwrap_err();
            assert_eq!(error.to_string(), "bytes follow the end");
        }
        let wrapped = [&[0x10, 0x01, 0x00, 0x05, 0x77, 0x10, 0x02][..], &certificate].concat();
        assert_eq!(
            Certificate::parse(&wrapped, Leniencies::VENDOR)
                .unwrap_err()
                .to_string(),
            "certificate is not a SEQUENCE"
        );
    }
}

#[test]
fn every_real_ca_is_an_issuer_or_is_refused_for_a_stated_reason() {
    let (Some(roots), Some(intermediates)) = (files("roots"), files("intermediates")) else {
        return;
    };
    let mut refused: BTreeMap<String, usize> = BTreeMap::new();
    for (name, certificate) in roots {
        let source = AnchorSource {
            name,
            certificate,
            kind: AnchorKind::Software,
            manufacturers: vec!["id:49465800".to_owned()],
            enforce_expiry: false,
        };
        if let Err(error) = Anchors::new(vec![source], vec![]) {
            *refused.entry(error.detail).or_default() += 1;
        }
    }
    // IBM's, a TPM simulator's and a test's roots: none of a vendor.
    let expected = [
        ("its basicConstraints is not critical", 3),
        ("its keyUsage lacks keyCertSign", 3),
    ];
    assert_eq!(
        refused,
        expected.map(|(detail, count)| (detail.to_owned(), count)).into()
    );
    // Without any anchor: what remains is the judgement of each for itself.
    let anchors = Anchors::new(vec![], intermediates.into_values().collect()).unwrap();
    let mut refused: BTreeMap<&str, usize> = BTreeMap::new();
    for unused in anchors.unused_intermediates() {
        *refused.entry(&unused.detail).or_default() += 1;
    }
    refused.remove("no anchor or intermediate is its issuer");
    // Microsoft's issuing CAs for attestation keys.
    assert_eq!(refused, [("its extKeyUsage is not for EK certificates", 143)].into());
}

/// Leniencies that are on the list for the sake of certificates that are here.
#[test]
fn a39_the_corpus_needs_its_leniencies() {
    use crate::x509::{Leniency, SignatureAlgorithm};
    let (Some(roots), Some(intermediates), Some(leaves)) = (files("roots"), files("intermediates"), files("leaves"))
    else {
        return;
    };
    let all: Vec<_> = roots
        .into_values()
        .chain(intermediates.into_values())
        .chain(leaves.into_values())
        .collect();
    for leniency in [
        Leniency::NonMinimalSerial,
        Leniency::UnsortedRdn,
        Leniency::EarlyGeneralizedTime,
        Leniency::OaepKey,
        Leniency::EcdsaNullParameters,
        Leniency::UntrimmedKeyUsage,
    ] {
        let reads = |der: &Vec<u8>, leniencies| {
            Certificate::parse(der, leniencies).is_ok_and(|frame| {
                frame.extensions.key_usage().is_ok()
                    && PublicKey::parse(frame.spki, leniencies).is_ok()
                    && SignatureAlgorithm::parse_with_sha1(frame.signature_algorithm, leniencies).is_ok()
            })
        };
        let strict = Leniencies::VENDOR.without(leniency);
        assert!(
            all.iter()
                .any(|der| reads(der, Leniencies::VENDOR) && !reads(der, strict)),
            "{leniency:?}"
        );
    }
}
