use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, PKeyRef, Private};
use openssl::x509::extension::{BasicConstraints, KeyUsage, SubjectKeyIdentifier};
use openssl::x509::{X509, X509NameBuilder};
use policies::ProfileKind;

use super::*;
use crate::Draft;
use crate::fixture::{Hierarchy, leaf_spki, serial, spec, urls, walk};
use crate::testkey::ec;

const ALGORITHM: SignatureAlgorithm = SignatureAlgorithm::EcdsaP256Sha256;

/// A CA certificate as others make them, by OpenSSL; one thing may be left out or be wrong.
struct Foreign {
    common_name: &'static str,
    ca: Option<bool>,
    path_len: Option<u32>,
    usage: Option<bool>,
    key_id: bool,
}

impl Foreign {
    fn good(common_name: &'static str) -> Self {
        Self {
            common_name,
            ca: Some(true),
            path_len: None,
            usage: Some(true),
            key_id: true,
        }
    }
    fn sign(&self, key: &PKeyRef<Private>, issuer: Option<(&X509, &PKeyRef<Private>)>) -> X509 {
        let mut b = X509::builder().unwrap();
        b.set_version(2).unwrap();
        b.set_serial_number(&BigNum::from_u32(77).unwrap().to_asn1_integer().unwrap())
            .unwrap();
        let mut name = X509NameBuilder::new().unwrap();
        if !self.common_name.is_empty() {
            name.append_entry_by_text("CN", self.common_name).unwrap();
        }
        let name = name.build();
        b.set_subject_name(&name).unwrap();
        b.set_issuer_name(issuer.map_or(&name, |(c, _)| c.subject_name()))
            .unwrap();
        b.set_not_before(&Asn1Time::from_unix(1_700_000_000).unwrap()).unwrap();
        b.set_not_after(&Asn1Time::from_unix(2_600_000_000).unwrap()).unwrap();
        b.set_pubkey(key).unwrap();
        if let Some(ca) = self.ca {
            let mut constraints = BasicConstraints::new();
            constraints.critical();
            if ca {
                constraints.ca();
            }
            if let Some(n) = self.path_len {
                constraints.pathlen(n);
            }
            b.append_extension(constraints.build().unwrap()).unwrap();
        }
        if let Some(cert_sign) = self.usage {
            let mut usage = KeyUsage::new();
            usage.critical().crl_sign();
            if cert_sign {
                usage.key_cert_sign();
            }
            b.append_extension(usage.build().unwrap()).unwrap();
        }
        if self.key_id {
            let extension = SubjectKeyIdentifier::new()
                .build(&b.x509v3_context(None, None))
                .unwrap();
            b.append_extension(extension).unwrap();
        }
        b.sign(issuer.map_or(key, |(_, k)| k), MessageDigest::sha256()).unwrap();
        b.build()
    }
}

fn key() -> PKey<Private> {
    ec(openssl::nid::Nid::X9_62_PRIME256V1)
}

fn from(chain: &[&X509]) -> Result<Issuer, IssuerError> {
    let chain: Vec<Vec<u8>> = chain.iter().map(|c| c.to_der().unwrap()).collect();
    Issuer::from_chain(&chain, ALGORITHM, IssuerUrls::default())
}

fn refusal(chain: &[&X509]) -> String {
    from(chain).unwrap_err().0
}

#[test]
fn what_others_made() {
    let (root_key, ca_key) = (key(), key());
    let root = Foreign::good("Root").sign(&root_key, None);
    let ca = Foreign::good("Issuing").sign(&ca_key, Some((&root, &root_key)));
    let issuer = from(&[&ca, &root]).unwrap();
    assert_eq!(issuer.key_id(), ca.subject_key_id().unwrap().as_slice());
    assert_eq!(issuer.name(), ca.subject_name().to_der().unwrap());
    assert_eq!(issuer.spki(), ca_key.public_key_to_der().unwrap());
    assert_eq!(
        (issuer.not_before(), issuer.not_after()),
        (UnixTime(1_700_000_000), UnixTime(2_600_000_000))
    );
    assert!(!issuer.is_rehearsal());
    assert_eq!(issuer.chain().len(), 2);
    assert!(from(&[&root]).is_ok());
}

#[test]
fn one_thing_wrong() {
    let root_key = key();
    let root = Foreign::good("Root").sign(&root_key, None);
    let below = |foreign: Foreign| foreign.sign(&key(), Some((&root, &root_key)));
    let good = || Foreign::good("Issuing");
    let cases = [
        (Foreign { ca: None, ..good() }, "no basicConstraints"),
        (
            Foreign {
                ca: Some(false),
                ..good()
            },
            "cA is not TRUE",
        ),
        (Foreign { usage: None, ..good() }, "no keyUsage"),
        (
            Foreign {
                usage: Some(false),
                ..good()
            },
            "lacks keyCertSign",
        ),
        (
            Foreign {
                key_id: false,
                ..good()
            },
            "no subjectKeyIdentifier",
        ),
        (
            Foreign {
                common_name: "",
                ..good()
            },
            "without a name",
        ),
    ];
    assert!(from(&[&below(good()), &root]).is_ok());
    for (foreign, why) in cases {
        let refusal = refusal(&[&below(foreign), &root]);
        assert!(refusal.contains(why), "{refusal}");
    }
}

#[test]
fn what_is_wrong_above_is_seen_too() {
    let root_key = key();
    let root = Foreign {
        usage: Some(false),
        ..Foreign::good("Root")
    }
    .sign(&root_key, None);
    let ca = Foreign::good("Issuing").sign(&key(), Some((&root, &root_key)));
    assert!(refusal(&[&ca, &root]).contains("lacks keyCertSign"));
}

#[test]
fn signatures_are_verified() {
    let (root_key, other_key) = (key(), key());
    let root = Foreign::good("Root").sign(&root_key, None);
    // The same name, another key.
    let other = Foreign::good("Root").sign(&other_key, None);
    let ca = Foreign::good("Issuing").sign(&key(), Some((&other, &other_key)));
    assert!(from(&[&ca, &other]).is_ok());
    assert!(refusal(&[&ca, &root]).contains("does not verify"));
    // A root that only names itself.
    let forged = Foreign::good("Root").sign(&root_key, Some((&other, &other_key)));
    assert!(refusal(&[&forged]).contains("does not verify"));
}

#[test]
fn names_must_chain() {
    let root_key = key();
    let root = Foreign::good("Root").sign(&root_key, None);
    let renamed = Foreign::good("Another name").sign(&root_key, None);
    let ca = Foreign::good("Issuing").sign(&key(), Some((&renamed, &root_key)));
    assert!(refusal(&[&ca, &root]).contains("issuer name"));
}

#[test]
fn the_last_is_self_signed() {
    let root_key = key();
    let root = Foreign::good("Root").sign(&root_key, None);
    let ca = Foreign::good("Issuing").sign(&key(), Some((&root, &root_key)));
    assert!(refusal(&[&ca]).contains("not self-signed"));
    assert!(refusal(&[]).contains("empty"));
}

#[test]
fn path_lengths_are_kept() {
    let (root_key, middle_key, ca_key) = (key(), key(), key());
    let chain = |root_len, middle_len| {
        let root = Foreign {
            path_len: root_len,
            ..Foreign::good("Root")
        }
        .sign(&root_key, None);
        let middle = Foreign {
            path_len: middle_len,
            ..Foreign::good("Middle")
        };
        let middle = middle.sign(&middle_key, Some((&root, &root_key)));
        let ca = Foreign::good("Issuing").sign(&ca_key, Some((&middle, &middle_key)));
        from(&[&ca, &middle, &root])
    };
    assert!(chain(None, None).is_ok());
    assert!(chain(Some(2), Some(1)).is_ok());
    assert!(chain(Some(1), Some(1)).unwrap_err().0.contains("longer"));
    assert!(chain(Some(2), Some(0)).unwrap_err().0.contains("longer"));
}

#[test]
fn the_algorithm_is_the_keys() {
    let chain = Hierarchy::p256().issuer.chain().to_vec();
    for algorithm in SignatureAlgorithm::ALL {
        let outcome = Issuer::from_chain(&chain, algorithm, urls());
        assert_eq!(outcome.is_ok(), algorithm == ALGORITHM, "{algorithm:?}");
    }
}

#[test]
fn trailing_or_missing_octets() {
    let chain = Hierarchy::p256().issuer.chain().to_vec();
    let mut longer = chain.clone();
    longer[0].push(0);
    let mut shorter = chain.clone();
    shorter[0].pop();
    for chain in [longer, shorter] {
        assert!(Issuer::from_chain(&chain, ALGORITHM, urls()).is_err());
    }
}

#[test]
fn leaves_are_not_issuers() {
    let hierarchy = Hierarchy::p256();
    let spec = spec(ProfileKind::Service, &leaf_spki());
    let leaf = walk(
        Draft::below(spec, &hierarchy.issuer, serial(3)).unwrap(),
        &hierarchy.key,
    );
    let mut chain = hierarchy.issuer.chain().to_vec();
    chain.insert(0, leaf.certificate().to_vec());
    assert!(Issuer::from_chain(&chain, ALGORITHM, urls()).is_err());
}

#[test]
fn urls_are_plain_http() {
    let chain = Hierarchy::p256().issuer.chain().to_vec();
    for good in [
        "http://pki.example.com/a.crl",
        "http://10.0.0.1:8080/a?b=c",
        "http://[fd00::1]/a",
    ] {
        assert_eq!(plain_http(good), Ok(()), "{good}");
    }
    for bad in [
        "",
        "https://a/b",
        "HTTP://a/b",
        "ldap://a/b",
        "http://",
        "http:///a",
        "http://u@a/b",
        "http://a/ö",
        "http://a/\n",
    ] {
        let urls = IssuerUrls {
            crl: Some(bad.into()),
            ..IssuerUrls::default()
        };
        assert!(Issuer::from_chain(&chain, ALGORITHM, urls).is_err(), "{bad:?}");
        let urls = IssuerUrls {
            ca_issuers: Some(bad.into()),
            ..IssuerUrls::default()
        };
        assert!(Issuer::from_chain(&chain, ALGORITHM, urls).is_err(), "{bad:?}");
        let urls = IssuerUrls {
            ocsp: Some(bad.into()),
            ..IssuerUrls::default()
        };
        assert!(Issuer::from_chain(&chain, ALGORITHM, urls).is_err(), "{bad:?}");
    }
}
