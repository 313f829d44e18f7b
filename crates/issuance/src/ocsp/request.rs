//! Bytes of a stranger -> [`OcspRequest`].

use const_oid::db::rfc6960::ID_PKIX_OCSP_NONCE;

use super::cert_id::RawCertId;
use crate::encode::{OCTET_STRING, SEQUENCE, context_constructed, tlv};
use crate::lint::der_canonical::{DEEPEST, walk};
use crate::tbs::extension;
use crate::view::{Extension, Malformed, Reader, extensions, only};

/// The longest request read. Eight questions with SHA-256 and a nonce of 128 octets take less than a third of it.
pub const MAX_REQUEST_BYTES: usize = 4096;
/// The most certificates asked about at once.
pub const MAX_CERT_IDS: usize = 8;
/// The longest nonce (RFC 9654 §2.1).
pub const MAX_NONCE: usize = 128;

/// A nonce of 1 to 128 octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nonce(Vec<u8>);

impl Nonce {
    /// 1 to [`MAX_NONCE`] octets.
    #[must_use]
    pub fn new(octets: &[u8]) -> Option<Self> {
        (1..=MAX_NONCE).contains(&octets.len()).then(|| Self(octets.to_vec()))
    }
    /// Its octets.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
    /// From the content of the extension (RFC 9654 §2.1): an OCTET STRING in it.
    pub(super) fn read(value: &[u8]) -> Result<Self, Malformed> {
        let octets = only(value, OCTET_STRING, "nonce")?.value;
        Self::new(octets).ok_or(Malformed("a nonce of no octets or more than 128"))
    }
    /// The extension.
    pub(super) fn encode(&self) -> Vec<u8> {
        extension(&ID_PKIX_OCSP_NONCE, false, &tlv(OCTET_STRING, &[&self.0]))
    }
}

/// A request, decoded. Who asks does not matter: a signature on it is ignored (RFC 9919 §3.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OcspRequest {
    /// What is asked, 1 to [`MAX_CERT_IDS`], in order.
    pub questions: Vec<RawCertId>,
    /// To be repeated in the answer.
    pub nonce: Option<Nonce>,
}

/// Bytes that are no request this responder reads; always answered `malformedRequest`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OcspRequestError {
    /// More than [`MAX_REQUEST_BYTES`].
    #[error("{0} octets")]
    TooLong(usize),
    /// None, or more than [`MAX_CERT_IDS`].
    #[error("{0} certificates asked about")]
    Questions(usize),
    /// An extension that must be understood and is not.
    #[error("unknown critical extension {0}")]
    Critical(String),
    /// Not DER, or another structure.
    #[error("{0}")]
    Malformed(String),
}

impl From<Malformed> for OcspRequestError {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed.to_string())
    }
}

impl OcspRequest {
    /// Read exactly one OCSPRequest (RFC 6960 §4.1.1), DER. Memory is bounded by the length of the input, which is checked
    /// first.
    ///
    /// # Errors
    /// [`OcspRequestError`].
    pub fn decode(der: &[u8]) -> Result<Self, OcspRequestError> {
        if der.len() > MAX_REQUEST_BYTES {
            return Err(OcspRequestError::TooLong(der.len()));
        }
        walk(der, DEEPEST).map_err(OcspRequestError::Malformed)?;
        let mut outer = Reader(only(der, SEQUENCE, "OCSPRequest")?.value);
        let tbs = outer.expect(SEQUENCE, "tbsRequest")?.value;
        outer.optional(context_constructed(0))?;
        outer.end("bytes after the request")?;

        let mut fields = Reader(tbs);
        // Version 1 is the default, so it is left out; there is no other.
        fields.optional(context_constructed(1))?;
        let list = Reader(fields.expect(SEQUENCE, "requestList")?.value).all()?;
        let request_extensions = match fields.optional(context_constructed(2))? {
            Some(outer) => extensions(outer.value)?,
            None => Vec::new(),
        };
        fields.end("bytes after the extensions")?;

        if list.is_empty() || list.len() > MAX_CERT_IDS {
            return Err(OcspRequestError::Questions(list.len()));
        }
        let mut questions = Vec::with_capacity(list.len());
        for element in list {
            if element.tag != SEQUENCE {
                return Err(Malformed("Request").into());
            }
            let mut request = Reader(element.value);
            let question = RawCertId::read(request.expect(SEQUENCE, "reqCert")?.value)?;
            if let Some(outer) = request.optional(context_constructed(0))? {
                understood(&extensions(outer.value)?, false)?;
            }
            request.end("bytes after a request")?;
            if questions.contains(&question) {
                return Err(Malformed("one certificate asked about twice").into());
            }
            questions.push(question);
        }
        let nonce = understood(&request_extensions, true)?;
        Ok(Self { questions, nonce })
    }

    /// A request of our own, DER: about one certificate of this issuer.
    #[must_use]
    pub fn encode(id: super::CertId, issuer: &super::IssuerHashes, nonce: Option<&Nonce>) -> Vec<u8> {
        let list = tlv(SEQUENCE, &[&tlv(SEQUENCE, &[&id.encode(issuer)])]);
        let extensions = nonce.map_or_else(Vec::new, |nonce| {
            tlv(context_constructed(2), &[&tlv(SEQUENCE, &[&nonce.encode()])])
        });
        tlv(SEQUENCE, &[&tlv(SEQUENCE, &[&list, &extensions])])
    }
}

/// The nonce, where one may be. An extension that is not known is ignored unless it is critical; none comes twice.
fn understood(extensions: &[Extension<'_>], nonce_here: bool) -> Result<Option<Nonce>, OcspRequestError> {
    let mut nonce = None;
    for (n, extension) in extensions.iter().enumerate() {
        if extensions.iter().take(n).any(|earlier| earlier.oid == extension.oid) {
            return Err(Malformed("an extension twice").into());
        }
        if nonce_here && extension.oid == ID_PKIX_OCSP_NONCE {
            walk(extension.value, DEEPEST).map_err(OcspRequestError::Malformed)?;
            nonce = Some(Nonce::read(extension.value)?);
        } else if extension.is_critical() {
            return Err(OcspRequestError::Critical(extension.oid.to_string()));
        }
    }
    Ok(nonce)
}
