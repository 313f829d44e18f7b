//! Bytes -> [`RawOcspResponse`] -> [`OcspResponse`].

use attest::UnixTime;
use const_oid::db::rfc6960::ID_PKIX_OCSP_BASIC;

use super::cert_id::{CertId, RawCertId};
use super::refusal::OcspRefusal;
use super::request::{MAX_CERT_IDS, Nonce};
use super::responder::{Responder, ResponderError};
use super::statement::{CertStatus, OcspAnswer, Statement};
use super::view::TbsResponse;
use crate::encode::{BIT_STRING, ENUMERATED, OCTET_STRING, OID, SEQUENCE, context_constructed, oid, tlv};
use crate::view::{Malformed, Reader, only, time};
use crate::{Issuer, Serial, SignatureAlgorithm};

/// The longest answer read. One about eight certificates, by a responder with an RSA-4096 key below such a CA, takes half of it.
pub const MAX_RESPONSE_BYTES: usize = 8192;

/// An answer decoded and not believed. Strict: exactly the bytes that this CA would write to say the same.
#[derive(Debug)]
pub struct RawOcspResponse {
    der: Vec<u8>,
}

/// An answer that its responder signed.
#[derive(Debug, Clone)]
pub struct OcspResponse {
    der: Vec<u8>,
    statement: Statement,
}

/// What is not an answer, or not one to believe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OcspError {
    /// More than [`MAX_RESPONSE_BYTES`].
    #[error("{0} octets: longer than an OCSP answer is")]
    TooLong(usize),
    /// The responder did not answer.
    #[error("the responder says {}", .0.as_str())]
    Refused(OcspRefusal),
    /// Not an answer, or not in the form that this CA writes.
    #[error("not an OCSP answer of this CA: {0}")]
    Malformed(&'static str),
    /// Signed by someone who may not speak for this CA.
    #[error(transparent)]
    Responder(#[from] ResponderError),
    /// About a certificate of another CA.
    #[error("about a certificate of another CA")]
    AnotherIssuer,
    /// The responder's certificate was not valid when it answered.
    #[error("the responder's certificate does not cover the times of the answer")]
    ResponderDates,
    /// The signature does not verify.
    #[error("the signature does not verify")]
    Signature,
}

impl From<Malformed> for OcspError {
    fn from(Malformed(what): Malformed) -> Self {
        Self::Malformed(what)
    }
}

/// OCSPResponse with responseStatus successful, id-pkix-ocsp-basic, one certificate.
pub(super) fn assemble(tbs: &[u8], algorithm: &[u8], signature: &[u8], certificate: &[u8]) -> Vec<u8> {
    let bits = tlv(BIT_STRING, &[&[0], signature]);
    let certificates = tlv(context_constructed(0), &[&tlv(SEQUENCE, &[certificate])]);
    let basic = tlv(SEQUENCE, &[tbs, algorithm, &bits, &certificates]);
    let bytes = tlv(SEQUENCE, &[&oid(&ID_PKIX_OCSP_BASIC), &tlv(OCTET_STRING, &[&basic])]);
    tlv(
        SEQUENCE,
        &[&tlv(ENUMERATED, &[&[0]]), &tlv(context_constructed(0), &[&bytes])],
    )
}

/// BasicOCSPResponse, as slices.
struct Basic<'a> {
    tbs: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
    certificate: &'a [u8],
}

impl<'a> Basic<'a> {
    fn parse(der: &'a [u8]) -> Result<Self, Malformed> {
        let mut outer = Reader(only(der, SEQUENCE, "OCSPResponse")?.value);
        if outer.expect(ENUMERATED, "responseStatus")?.value != [0] {
            return Err(Malformed("responseStatus"));
        }
        let bytes = outer.expect(context_constructed(0), "responseBytes")?.value;
        outer.end("bytes after responseBytes")?;
        let mut bytes = Reader(only(bytes, SEQUENCE, "ResponseBytes")?.value);
        if bytes.expect(OID, "responseType")?.value != ID_PKIX_OCSP_BASIC.as_bytes() {
            return Err(Malformed("responseType"));
        }
        let basic = bytes.expect(OCTET_STRING, "response")?.value;
        bytes.end("bytes after response")?;
        let mut fields = Reader(only(basic, SEQUENCE, "BasicOCSPResponse")?.value);
        let tbs = fields.expect(SEQUENCE, "tbsResponseData")?.raw;
        let algorithm = fields.expect(SEQUENCE, "signatureAlgorithm")?.raw;
        let bits = fields.expect(BIT_STRING, "signature")?.value;
        let certificates = fields.expect(context_constructed(0), "certs")?.value;
        fields.end("bytes after certs")?;
        let certificates = only(certificates, SEQUENCE, "certs")?.value;
        let certificate = only(certificates, SEQUENCE, "one certificate")?.raw;
        let Some((0, signature)) = bits.split_first() else {
            return Err(Malformed("signature with unused bits"));
        };
        let basic = Self {
            tbs,
            algorithm,
            signature,
            certificate,
        };
        // Reading is writing backwards: one form, ours.
        if assemble(tbs, algorithm, signature, certificate) != der {
            return Err(Malformed("not the form this CA writes"));
        }
        Ok(basic)
    }
}

impl RawOcspResponse {
    /// Read `der`, exactly one OCSPResponse. Memory is bounded by the length of the input.
    ///
    /// # Errors
    /// [`OcspError::TooLong`], [`OcspError::Refused`], [`OcspError::Malformed`].
    pub fn decode(der: Vec<u8>) -> Result<Self, OcspError> {
        if der.len() > MAX_RESPONSE_BYTES {
            return Err(OcspError::TooLong(der.len()));
        }
        if let Some(refusal) = OcspRefusal::read(&der) {
            return Err(OcspError::Refused(refusal));
        }
        let basic = Basic::parse(&der)?;
        TbsResponse::parse(basic.tbs)?;
        Ok(Self { der })
    }

    /// `ResponseData`, the bytes that are signed.
    pub(super) fn tbs(&self) -> Option<&[u8]> {
        Basic::parse(&self.der).ok().map(|basic| basic.tbs)
    }
    /// The certificate in it, DER.
    pub(super) fn certificate(&self) -> Option<&[u8]> {
        Basic::parse(&self.der).ok().map(|basic| basic.certificate)
    }

    /// Believe it, if a delegate of `issuer` signed it. The moment is for the caller to judge
    /// ([`OcspResponse::this_update`], [`OcspResponse::next_update`]), and whether it answers the question
    /// ([`OcspResponse::status`], [`OcspResponse::nonce`]).
    ///
    /// # Errors
    /// [`OcspError`].
    pub fn verify(self, issuer: &Issuer) -> Result<OcspResponse, OcspError> {
        let basic = Basic::parse(&self.der)?;
        let spki = {
            let outer = crate::view::Certificate::parse(basic.certificate)?;
            crate::view::Tbs::parse(outer.tbs)?.spki
        };
        let algorithm = SignatureAlgorithm::for_key(basic.algorithm, spki).ok_or(OcspError::Malformed(
            "an algorithm that is not one for the responder's key",
        ))?;
        let responder = Responder::new(basic.certificate, algorithm, issuer)?;
        self.verify_by(&responder)
    }

    pub(super) fn verify_by(self, responder: &Responder) -> Result<OcspResponse, OcspError> {
        let facts = &responder.facts;
        let basic = Basic::parse(&self.der)?;
        let tbs = TbsResponse::parse(basic.tbs)?;
        if basic.algorithm != facts.algorithm.identifier() {
            return Err(OcspError::Malformed("another algorithm than the responder's"));
        }
        if tbs.key_hash()? != facts.key_hash {
            return Err(OcspError::Malformed("the name of another responder"));
        }
        let statement = statement(&tbs, responder)?;
        if statement.encode(&facts.key_hash, &facts.issuer).as_deref() != Some(basic.tbs) {
            return Err(OcspError::Malformed("not the form this CA writes"));
        }
        facts
            .verifier
            .verify(basic.tbs, basic.signature)
            .map_err(|_| OcspError::Signature)?;
        if statement.produced_at < facts.not_before
            || statement.this_update < facts.not_before
            || statement.next_update > facts.not_after
        {
            return Err(OcspError::ResponderDates);
        }
        Ok(OcspResponse {
            der: self.der,
            statement,
        })
    }
}

/// What it says. Whether it says it in the one form this CA writes is for the caller to see.
fn statement(tbs: &TbsResponse<'_>, responder: &Responder) -> Result<Statement, OcspError> {
    let (Some(first), true) = (tbs.answers.first(), tbs.answers.len() <= MAX_CERT_IDS) else {
        return Err(OcspError::Malformed("no answers, or too many"));
    };
    let mut answers: Vec<OcspAnswer> = Vec::with_capacity(tbs.answers.len());
    for view in &tbs.answers {
        let id: RawCertId = view.id()?;
        let id: CertId = id.of(&responder.facts.issuer).ok_or(OcspError::AnotherIssuer)?;
        if answers.iter().any(|earlier| earlier.id == id) {
            return Err(OcspError::Malformed("one certificate twice"));
        }
        let status = view.status()?;
        answers.push(OcspAnswer { id, status });
    }
    Ok(Statement {
        answers,
        produced_at: time(tbs.produced_at)?,
        this_update: time(first.this_update)?,
        next_update: time(first.next_update.ok_or(Malformed("nextUpdate missing"))?)?,
        nonce: tbs.nonce()?,
    })
}

impl OcspResponse {
    /// OCSPResponse, DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }
    /// What it says about a certificate; `None` when it says nothing.
    #[must_use]
    pub fn status(&self, serial: Serial) -> Option<CertStatus> {
        let mut answers = self.statement.answers.iter();
        answers
            .find(|answer| answer.id.serial == serial)
            .map(|answer| answer.status)
    }
    /// All it says, in order.
    #[must_use]
    pub fn answers(&self) -> &[OcspAnswer] {
        &self.statement.answers
    }
    /// producedAt.
    #[must_use]
    pub fn produced_at(&self) -> UnixTime {
        self.statement.produced_at
    }
    /// thisUpdate.
    #[must_use]
    pub fn this_update(&self) -> UnixTime {
        self.statement.this_update
    }
    /// nextUpdate.
    #[must_use]
    pub fn next_update(&self) -> UnixTime {
        self.statement.next_update
    }
    /// The nonce of its question.
    #[must_use]
    pub fn nonce(&self) -> Option<&Nonce> {
        self.statement.nonce.as_ref()
    }
}
