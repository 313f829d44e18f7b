//! Bytes -> [`RawCrl`] -> [`Crl`].

use attest::UnixTime;

use super::entry::{CrlEntry, Mark};
use super::scope::CrlScope;
use super::statement::{By, CrlNumber, Statement};
use super::view::TbsCrl;
use crate::issuer::IssuerFacts;
use crate::view::{Certificate, Malformed};
use crate::{Issuer, Serial};

/// The longest CRL read or written: 256 MiB, more than five million entries.
pub const MAX_CRL_BYTES: usize = 1 << 28;

/// A CRL decoded and not believed. Strict: exactly the bytes that this CA would write to say the same.
#[derive(Debug)]
pub struct RawCrl {
    der: Vec<u8>,
    claimed: Claimed,
}

#[derive(Debug)]
struct Claimed {
    statement: Statement,
    issuer: Vec<u8>,
    key_id: Vec<u8>,
    algorithm: Vec<u8>,
}

/// A CRL of an issuer, read in full, its signature verified.
#[derive(Debug)]
pub struct Crl {
    der: Vec<u8>,
    pub(super) statement: Statement,
    issuer: Vec<u8>,
    key_id: Vec<u8>,
}

/// Bytes that are no CRL of the issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CrlError {
    /// More than [`MAX_CRL_BYTES`].
    #[error("{0} octets are too many")]
    TooLong(usize),
    /// Not the structure, or not the form this CA writes.
    #[error("not a CRL as this CA writes them: {0}")]
    Malformed(&'static str),
    /// Another issuer's: by name, key identifier or algorithm.
    #[error("the CRL of another issuer: its {0} differs")]
    AnotherIssuer(&'static str),
    /// The signature does not verify.
    #[error("the signature does not verify")]
    Signature,
}

impl From<Malformed> for CrlError {
    fn from(Malformed(what): Malformed) -> Self {
        Self::Malformed(what)
    }
}

impl RawCrl {
    /// Read `der`, exactly one CertificateList. Memory is bounded by the length of the input.
    ///
    /// # Errors
    /// [`CrlError::TooLong`], [`CrlError::Malformed`].
    pub fn decode(der: Vec<u8>) -> Result<Self, CrlError> {
        if der.len() > MAX_CRL_BYTES {
            return Err(CrlError::TooLong(der.len()));
        }
        let claimed = claimed(&der)?;
        Ok(Self { der, claimed })
    }

    /// The number it claims, believed by nobody yet.
    #[must_use]
    pub fn claimed_number(&self) -> CrlNumber {
        self.claimed.statement.number
    }

    /// The `Name` (DER) of the issuer it claims, believed by nobody yet.
    #[must_use]
    pub fn claimed_issuer(&self) -> &[u8] {
        &self.claimed.issuer
    }

    /// The authorityKeyIdentifier it claims, believed by nobody yet.
    #[must_use]
    pub fn claimed_key_id(&self) -> &[u8] {
        &self.claimed.key_id
    }

    /// Believe it, if `issuer` signed it.
    ///
    /// # Errors
    /// [`CrlError::AnotherIssuer`], [`CrlError::Signature`].
    pub fn verify(self, issuer: &Issuer) -> Result<Crl, CrlError> {
        self.verify_by(&issuer.facts)
    }

    pub(super) fn verify_by(self, issuer: &IssuerFacts) -> Result<Crl, CrlError> {
        let Self { der, claimed } = self;
        if claimed.issuer != issuer.name {
            return Err(CrlError::AnotherIssuer("name"));
        }
        if claimed.key_id != issuer.key_id {
            return Err(CrlError::AnotherIssuer("key identifier"));
        }
        if claimed.algorithm != issuer.algorithm.identifier() {
            return Err(CrlError::AnotherIssuer("algorithm"));
        }
        let outer = Certificate::parse(&der)?;
        issuer
            .verifier
            .verify(outer.tbs, outer.signature)
            .map_err(|_| CrlError::Signature)?;
        Ok(Crl {
            der,
            statement: claimed.statement,
            issuer: claimed.issuer,
            key_id: claimed.key_id,
        })
    }
}

fn claimed(der: &[u8]) -> Result<Claimed, CrlError> {
    // The three fields around a CRL are those around a certificate.
    let outer = Certificate::parse(der)?;
    let tbs = TbsCrl::parse(outer.tbs)?;
    let statement = tbs.statement()?;
    let claimed = Claimed {
        statement,
        issuer: tbs.issuer.to_vec(),
        key_id: tbs.key_id()?.to_vec(),
        algorithm: tbs.algorithm.to_vec(),
    };
    if outer.algorithm != tbs.algorithm {
        return Err(CrlError::Malformed("the outer algorithm is not the inner one"));
    }
    let by = By {
        name: &claimed.issuer,
        key_id: &claimed.key_id,
        algorithm: &claimed.algorithm,
    };
    if claimed.statement.encode(by).as_deref() != Some(outer.tbs) {
        return Err(CrlError::Malformed("not the form this CA writes"));
    }
    let bits = crate::encode::tlv(crate::encode::BIT_STRING, &[&[0], outer.signature]);
    let length = outer.tbs.len() + outer.algorithm.len() + bits.len();
    let mut frame = Vec::with_capacity(6);
    crate::encode::header(&mut frame, crate::encode::SEQUENCE, length);
    if !der.starts_with(&frame) || der.len() != frame.len() + length {
        return Err(CrlError::Malformed("not the form this CA writes"));
    }
    Ok(claimed)
}

impl Crl {
    /// The CRL, DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }
    /// Which certificates it speaks for.
    #[must_use]
    pub fn scope(&self) -> &CrlScope {
        &self.statement.scope
    }
    /// CRLNumber.
    #[must_use]
    pub fn number(&self) -> CrlNumber {
        self.statement.number
    }
    /// BaseCRLNumber of a delta CRL.
    #[must_use]
    pub fn base(&self) -> Option<CrlNumber> {
        self.statement.base
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
    /// Where its delta CRLs are, if it says so.
    #[must_use]
    pub fn delta_url(&self) -> Option<&str> {
        self.statement.delta_url.as_deref()
    }
    /// By serial, none twice.
    #[must_use]
    pub fn entries(&self) -> &[CrlEntry] {
        &self.statement.entries
    }
    /// What it says about a certificate; `None` when it does not list it.
    #[must_use]
    pub fn find(&self, serial: Serial) -> Option<CrlEntry> {
        let entries = self.entries();
        let at = entries.binary_search_by_key(&serial, |entry| entry.serial).ok()?;
        entries.get(at).copied()
    }
    /// Whether it lists the certificate as revoked or on hold.
    #[must_use]
    pub fn revokes(&self, serial: Serial) -> bool {
        self.find(serial).is_some_and(|entry| entry.mark != Mark::Removed)
    }
    /// Issuer `Name`, DER.
    #[must_use]
    pub fn issuer_name(&self) -> &[u8] {
        &self.issuer
    }
    /// subjectKeyIdentifier of the issuer.
    #[must_use]
    pub fn issuer_key_id(&self) -> &[u8] {
        &self.key_id
    }
}
