//! The CA certificate that signs, parsed once.

#[cfg(test)]
mod tests;

use std::num::NonZeroU16;
use std::sync::Arc;

use attest::UnixTime;
use attest::rot::ID_REHEARSAL;
use const_oid::db::rfc5280;
use openssl::x509::X509;

use crate::SignatureAlgorithm;
use crate::encode::{BIT_STRING, BOOLEAN, INTEGER, OCTET_STRING, SEQUENCE};
use crate::lint::Curves;
use crate::tbs::key_id;
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
    /// Whether keyUsage has cRLSign.
    pub(crate) crl_sign: bool,
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
    /// URL of the OCSP responder (plain http).
    pub ocsp: Option<String>,
    /// CRL distribution point (plain http). With shards it holds `{shard}` once, where the number goes.
    pub crl: Option<String>,
    /// Among how many CRLs new certificates are spread; absent means one CRL for all.
    pub crl_shards: Option<NonZeroU16>,
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
        for url in [&urls.ca_issuers, &urls.ocsp].into_iter().flatten() {
            plain_http(url).map_err(IssuerError)?;
        }
        urls.check_crl().map_err(IssuerError)?;
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
                crl_sign: first.crl_sign,
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

/// What a CA certificate says of itself, whoever signed it: it is read, not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaClaims {
    /// Whether it is a root: self-signed, by a signature that holds.
    pub root: bool,
    /// Whether it carries the rehearsal marker.
    pub rehearsal: bool,
    /// Whether its subjectKeyIdentifier is the one we give its key: certificates below it name it by that.
    pub usual_key_id: bool,
}

impl CaClaims {
    /// Read one, DER: a CA with a name, keyCertSign and a subjectKeyIdentifier.
    ///
    /// # Errors
    /// [`IssuerError`]: it is no CA's, or malformed.
    pub fn read(der: &[u8]) -> Result<Self, IssuerError> {
        let ca = CaCertificate::parse(der)?;
        let usual = key_id(ca.tbs.spki).map_err(|e| IssuerError(e.to_string()))?;
        Ok(Self {
            root: ca.check_signed_by(&ca).is_ok(),
            rehearsal: ca.tbs.extension(&ID_REHEARSAL).is_some(),
            usual_key_id: ca.key_id == usual.as_slice(),
        })
    }
}

/// One certificate of the chain.
struct CaCertificate<'a> {
    tbs: Tbs<'a>,
    x509: X509,
    subject: &'a [u8],
    key_id: &'a [u8],
    path_len: Option<u8>,
    crl_sign: bool,
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
        let crl_sign = bits.get(1).is_some_and(|octet| octet & 0x02 != 0);
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
            crl_sign,
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
