//! The CA certificate that signs, parsed once.

use std::sync::Arc;

use attest::UnixTime;
use attest::rot::ID_REHEARSAL;
use const_oid::db::rfc5280;
use openssl::x509::X509;

use crate::SignatureAlgorithm;
use crate::encode::{BIT_STRING, BOOLEAN, INTEGER, OCTET_STRING, SEQUENCE};
use crate::lint::Curves;
use crate::verify::Verifier;
use crate::view::{Certificate, Malformed, Reader, Tbs, only, time};

/// A CA certificate and its chain, parsed once and kept. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Issuer {
    pub(crate) facts: Arc<IssuerFacts>,
    chain: Arc<[Vec<u8>]>,
}

/// What a certificate takes from its issuer.
#[derive(Debug, Clone)]
pub(crate) struct IssuerFacts {
    /// `Name`, as in the certificate.
    pub(crate) name: Vec<u8>,
    pub(crate) key_id: Vec<u8>,
    pub(crate) spki: Vec<u8>,
    pub(crate) algorithm: SignatureAlgorithm,
    pub(crate) not_before: UnixTime,
    pub(crate) not_after: UnixTime,
    pub(crate) path_len: Option<u8>,
    pub(crate) rehearsal: bool,
    pub(crate) urls: IssuerUrls,
    pub(crate) verifier: Verifier,
    pub(crate) curves: Arc<Curves>,
}

/// Where relying parties find things; empty means the extension is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IssuerUrls {
    /// caIssuers URL (plain http, one DER certificate).
    pub ca_issuers: Option<String>,
    /// CRL distribution point (plain http).
    pub crl: Option<String>,
}

/// A CA certificate that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("issuer: {0}")]
pub struct IssuerError(pub String);

impl From<Malformed> for IssuerError {
    fn from(e: Malformed) -> Self {
        Self(e.to_string())
    }
}

impl Issuer {
    /// `chain` is DER: issuing CA first, root last. Each is verified under the next; each must be a CA with keyCertSign
    /// and an SKI, the last self-signed; `algorithm` must be one for the first one's key. Dates are not compared with
    /// any clock.
    ///
    /// # Errors
    /// [`IssuerError`].
    pub fn from_chain(chain: &[Vec<u8>], algorithm: SignatureAlgorithm, urls: IssuerUrls) -> Result<Self, IssuerError> {
        for url in [&urls.ca_issuers, &urls.crl].into_iter().flatten() {
            plain_http(url).map_err(IssuerError)?;
        }
        let cas = chain
            .iter()
            .map(|der| CaCertificate::parse(der))
            .collect::<Result<Vec<_>, _>>()?;
        let (Some(first), Some(root)) = (cas.first(), cas.last()) else {
            return Err(IssuerError("the chain is empty".into()));
        };
        root.check_signed_by(root)
            .map_err(|e| IssuerError(format!("the last certificate is not self-signed: {e}")))?;
        for (below, pair) in cas.windows(2).enumerate() {
            let [child, parent] = pair else { continue };
            child
                .check_signed_by(parent)
                .map_err(|e| IssuerError(format!("certificate {below}: {e}")))?;
            // RFC 5280 §4.2.1.9: how many CA certificates may follow; `below + 1` do.
            if parent.path_len.is_some_and(|max| usize::from(max) <= below) {
                return Err(IssuerError(format!(
                    "the chain is longer than certificate {} permits",
                    below + 1
                )));
            }
        }
        let tbs = &first.tbs;
        let verifier = Verifier::new(algorithm, tbs.spki).map_err(|e| IssuerError(e.to_string()))?;
        Ok(Self {
            facts: Arc::new(IssuerFacts {
                name: first.subject.to_vec(),
                key_id: first.key_id.to_vec(),
                spki: tbs.spki.to_vec(),
                algorithm,
                not_before: time(tbs.not_before)?,
                not_after: time(tbs.not_after)?,
                path_len: first.path_len,
                rehearsal: tbs.extension(&ID_REHEARSAL).is_some(),
                urls,
                verifier,
                curves: Arc::new(Curves::new().map_err(|e| IssuerError(e.to_string()))?),
            }),
            chain: chain.into(),
        })
    }
    /// Subject `Name`, the DER bytes as in the certificate.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.facts.name
    }
    /// subjectKeyIdentifier.
    #[must_use]
    pub fn key_id(&self) -> &[u8] {
        &self.facts.key_id
    }
    /// SubjectPublicKeyInfo, DER.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.facts.spki
    }
    /// Algorithm it signs with.
    #[must_use]
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.facts.algorithm
    }
    /// First second of validity.
    #[must_use]
    pub fn not_before(&self) -> UnixTime {
        self.facts.not_before
    }
    /// Last second of validity.
    #[must_use]
    pub fn not_after(&self) -> UnixTime {
        self.facts.not_after
    }
    /// Chain, DER: this certificate first, root last.
    #[must_use]
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }
    /// URLs.
    #[must_use]
    pub fn urls(&self) -> &IssuerUrls {
        &self.facts.urls
    }
    /// Whether the certificate carries the rehearsal marker: it may not be relied upon.
    #[must_use]
    pub fn is_rehearsal(&self) -> bool {
        self.facts.rehearsal
    }
}

/// One certificate of the chain.
struct CaCertificate<'a> {
    tbs: Tbs<'a>,
    x509: X509,
    subject: &'a [u8],
    key_id: &'a [u8],
    path_len: Option<u8>,
}

impl<'a> CaCertificate<'a> {
    fn parse(der: &'a [u8]) -> Result<Self, IssuerError> {
        let tbs = Tbs::parse(Certificate::parse(der)?.tbs)?;
        let x509 = X509::from_der(der).map_err(|e| IssuerError(e.to_string()))?;
        let path_len = match tbs.extension(&rfc5280::ID_CE_BASIC_CONSTRAINTS) {
            Some(e) => ca_path_len(e.value)?,
            None => return Err(IssuerError("not a CA: no basicConstraints".into())),
        };
        let usage = tbs
            .extension(&rfc5280::ID_CE_KEY_USAGE)
            .ok_or(IssuerError("no keyUsage".into()))?;
        let bits = only(usage.value, BIT_STRING, "keyUsage")?.value;
        // The octet after the count of unused bits: keyCertSign is bit 5 from the left.
        if bits.get(1).is_none_or(|octet| octet & 0x04 == 0) {
            return Err(IssuerError("keyUsage lacks keyCertSign".into()));
        }
        let key_id = tbs
            .extension(&rfc5280::ID_CE_SUBJECT_KEY_IDENTIFIER)
            .ok_or(IssuerError("no subjectKeyIdentifier".into()))?;
        let key_id = only(key_id.value, OCTET_STRING, "subjectKeyIdentifier")?.value;
        if key_id.is_empty() {
            return Err(IssuerError("empty subjectKeyIdentifier".into()));
        }
        if tbs.attributes.is_empty() {
            return Err(IssuerError("a CA without a name".into()));
        }
        let subject = tbs.subject;
        Ok(Self {
            tbs,
            x509,
            subject,
            key_id,
            path_len,
        })
    }

    fn check_signed_by(&self, parent: &CaCertificate<'_>) -> Result<(), IssuerError> {
        if self.tbs.issuer != parent.subject {
            return Err(IssuerError(
                "its issuer name is not the next certificate's subject".into(),
            ));
        }
        let key = parent.x509.public_key().map_err(|e| IssuerError(e.to_string()))?;
        match self.x509.verify(&key) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(IssuerError(
                "its signature does not verify under the next certificate".into(),
            )),
        }
    }
}

/// `BasicConstraints` of a CA -> pathLenConstraint.
fn ca_path_len(value: &[u8]) -> Result<Option<u8>, IssuerError> {
    let mut fields = Reader(only(value, SEQUENCE, "basicConstraints")?.value);
    if fields.optional(BOOLEAN)?.is_none_or(|ca| ca.value != [0xff]) {
        return Err(IssuerError("not a CA: cA is not TRUE".into()));
    }
    let path_len = match fields.optional(INTEGER)?.map(|e| e.value) {
        None => None,
        Some([n @ 0..=0x7f]) => Some(*n),
        Some(_) => return Err(IssuerError("pathLenConstraint out of range".into())),
    };
    fields.end("basicConstraints")?;
    Ok(path_len)
}

/// A URL relying parties can follow without a certificate of ours: plain http (RFC 5280 §8: https would loop).
pub(crate) fn plain_http(url: &str) -> Result<(), String> {
    let rest = url
        .strip_prefix("http://")
        .ok_or_else(|| format!("not a plain http URL: {url:?}"))?;
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.is_empty() || host.contains('@') {
        return Err(format!("no host, or a user, in {url:?}"));
    }
    if url.len() > 2048
        || !url
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b))
    {
        return Err(format!("characters no URI has, or too long: {url:?}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
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
                ca_issuers: None,
            };
            assert!(Issuer::from_chain(&chain, ALGORITHM, urls).is_err(), "{bad:?}");
            let urls = IssuerUrls {
                crl: None,
                ca_issuers: Some(bad.into()),
            };
            assert!(Issuer::from_chain(&chain, ALGORITHM, urls).is_err(), "{bad:?}");
        }
    }
}
