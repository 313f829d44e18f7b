//! Who signs: a delegate of the CA asked about (RFC 6960 §4.2.2.2).

use std::sync::Arc;

use attest::UnixTime;
use const_oid::db::rfc5280::{
    ID_CE_AUTHORITY_KEY_IDENTIFIER, ID_CE_BASIC_CONSTRAINTS, ID_CE_EXT_KEY_USAGE, ID_CE_KEY_USAGE, ID_KP_OCSP_SIGNING,
};
use const_oid::db::rfc6960::ID_PKIX_OCSP_NOCHECK;
use openssl::sha::{sha1, sha256};

use super::cert_id::{IssuerHashes, key_octets};
use crate::encode::{SEQUENCE, context};
use crate::verify::Verifier;
use crate::view::{Certificate, Malformed, Tbs, oid, only, time};
use crate::{Issuer, Serial, SignatureAlgorithm};

/// A delegate whose certificate was checked. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Responder {
    pub(super) facts: Arc<ResponderFacts>,
}

#[derive(Debug)]
pub(super) struct ResponderFacts {
    pub(super) certificate: Vec<u8>,
    pub(super) serial: Serial,
    pub(super) spki: Vec<u8>,
    pub(super) algorithm: SignatureAlgorithm,
    pub(super) verifier: Verifier,
    /// KeyHash: always SHA-1 (RFC 6960 §4.2.1).
    pub(super) key_hash: [u8; 20],
    pub(super) not_before: UnixTime,
    pub(super) not_after: UnixTime,
    pub(super) issuer: IssuerHashes,
}

/// A certificate that may not answer for the issuer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResponderError {
    /// Not a certificate, or not of a form that this CA writes.
    #[error("the responder's certificate: {0}")]
    Malformed(&'static str),
    /// Not issued directly by the CA asked about: name, key identifier or signature algorithm differs.
    #[error("the responder's certificate is another CA's: its {0} differs")]
    AnotherIssuer(&'static str),
    /// Its signature does not verify under the issuer.
    #[error("the responder's certificate is not signed by the issuer")]
    Signature,
    /// extendedKeyUsage is not exactly OCSPSigning.
    #[error("the responder's certificate is not for OCSP: its extendedKeyUsage is not OCSPSigning alone")]
    NotForOcsp,
    /// keyUsage is not exactly digitalSignature.
    #[error("keyUsage of the responder's certificate is not digitalSignature alone")]
    KeyUsage,
    /// Without id-pkix-ocsp-nocheck: who asks would have to ask about the responder, and so on.
    #[error("the responder's certificate lacks id-pkix-ocsp-nocheck")]
    NoCheck,
    /// It is a CA's.
    #[error("the responder's certificate is a CA's")]
    Ca,
    /// The issuer's own key.
    #[error("the responder has the issuer's own key")]
    IssuerKey,
    /// Its key is not one for the algorithm.
    #[error("the responder's key is not one for {0}")]
    Algorithm(&'static str),
}

impl From<Malformed> for ResponderError {
    fn from(Malformed(what): Malformed) -> Self {
        Self::Malformed(what)
    }
}

impl Responder {
    /// `certificate` (DER) speaks for `issuer` and signs with `algorithm`. Dates are not compared with any clock: a lint
    /// compares them with the times of each answer.
    ///
    /// # Errors
    /// [`ResponderError`].
    pub fn new(certificate: &[u8], algorithm: SignatureAlgorithm, issuer: &Issuer) -> Result<Self, ResponderError> {
        let outer = Certificate::parse(certificate)?;
        let tbs = Tbs::parse(outer.tbs)?;
        let facts = &issuer.facts;
        if tbs.issuer != facts.name {
            return Err(ResponderError::AnotherIssuer("issuer name"));
        }
        if authority_key_id(&tbs)? != facts.key_id {
            return Err(ResponderError::AnotherIssuer("authority key identifier"));
        }
        if outer.algorithm != facts.algorithm.identifier() || tbs.algorithm != outer.algorithm {
            return Err(ResponderError::AnotherIssuer("signature algorithm"));
        }
        facts
            .verifier
            .verify(outer.tbs, outer.signature)
            .map_err(|_| ResponderError::Signature)?;
        if tbs.extension(&ID_CE_BASIC_CONSTRAINTS).is_some() {
            return Err(ResponderError::Ca);
        }
        if !for_ocsp_alone(&tbs)? {
            return Err(ResponderError::NotForOcsp);
        }
        // digitalSignature (0), and nothing else.
        if tbs
            .extension(&ID_CE_KEY_USAGE)
            .is_none_or(|usage| usage.value != b"\x03\x02\x07\x80")
        {
            return Err(ResponderError::KeyUsage);
        }
        if tbs
            .extension(&ID_PKIX_OCSP_NOCHECK)
            .is_none_or(|found| found.value != b"\x05\x00")
        {
            return Err(ResponderError::NoCheck);
        }
        if tbs.spki == facts.spki {
            return Err(ResponderError::IssuerKey);
        }
        let verifier = Verifier::new(algorithm, tbs.spki).map_err(|_| ResponderError::Algorithm(algorithm.as_str()))?;
        let octets = <[u8; 16]>::try_from(tbs.serial).map_err(|_| Malformed("a serial this CA does not draw"))?;
        Ok(Self {
            facts: Arc::new(ResponderFacts {
                certificate: certificate.to_vec(),
                serial: Serial::from_octets(octets).ok_or(Malformed("a serial this CA does not draw"))?,
                spki: tbs.spki.to_vec(),
                algorithm,
                verifier,
                key_hash: sha1(key_octets(tbs.spki)?),
                not_before: time(tbs.not_before)?,
                not_after: time(tbs.not_after)?,
                issuer: IssuerHashes::of(issuer),
            }),
        })
    }
    /// The certificate, DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.facts.certificate
    }
    /// Its serial.
    #[must_use]
    pub fn serial(&self) -> Serial {
        self.facts.serial
    }
    /// SHA-256 of its SubjectPublicKeyInfo.
    #[must_use]
    pub fn spki_sha256(&self) -> [u8; 32] {
        sha256(&self.facts.spki)
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
    /// The hashes that name the issuer it speaks for.
    #[must_use]
    pub fn issuer(&self) -> &IssuerHashes {
        &self.facts.issuer
    }
}

fn authority_key_id<'a>(tbs: &Tbs<'a>) -> Result<&'a [u8], Malformed> {
    let extension = tbs
        .extension(&ID_CE_AUTHORITY_KEY_IDENTIFIER)
        .ok_or(Malformed("no authorityKeyIdentifier"))?;
    let sequence = only(extension.value, SEQUENCE, "authorityKeyIdentifier")?;
    Ok(only(sequence.value, context(0), "keyIdentifier alone")?.value)
}

fn for_ocsp_alone(tbs: &Tbs<'_>) -> Result<bool, Malformed> {
    let Some(extension) = tbs.extension(&ID_CE_EXT_KEY_USAGE) else {
        return Ok(false);
    };
    let list = crate::view::Reader(only(extension.value, SEQUENCE, "extendedKeyUsage")?.value).all()?;
    match list.as_slice() {
        [one] => Ok(oid(*one)? == ID_KP_OCSP_SIGNING),
        _ => Ok(false),
    }
}
