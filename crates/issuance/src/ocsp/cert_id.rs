//! Which certificate is asked about (`CertID`, RFC 6960 §4.1.1).

use openssl::sha::{sha1, sha256};

use crate::encode::{BIT_STRING, INTEGER, NULL, OCTET_STRING, OID, SEQUENCE, tlv};
use crate::view::{Malformed, Reader, only};
use crate::{Issuer, Serial};

/// 1.3.14.3.2.26
const SHA1: &[u8] = b"\x2b\x0e\x03\x02\x1a";
/// 2.16.840.1.101.3.4.2.1
const SHA256: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x01";

/// How the issuer is named: by which hash, and whether its parameters are NULL or absent. An answer repeats the form of its
/// question: some clients compare octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CertIdForm {
    /// SHA-1, parameters absent.
    Sha1,
    /// SHA-1, parameters NULL.
    Sha1Null,
    /// SHA-256, parameters absent.
    Sha256,
    /// SHA-256, parameters NULL.
    Sha256Null,
}

impl CertIdForm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Sha1, Self::Sha1Null, Self::Sha256, Self::Sha256Null];

    fn oid(self) -> &'static [u8] {
        match self {
            Self::Sha1 | Self::Sha1Null => SHA1,
            Self::Sha256 | Self::Sha256Null => SHA256,
        }
    }
    fn null(self) -> bool {
        matches!(self, Self::Sha1Null | Self::Sha256Null)
    }
    fn octets(self) -> usize {
        match self {
            Self::Sha1 | Self::Sha1Null => 20,
            Self::Sha256 | Self::Sha256Null => 32,
        }
    }
    fn algorithm(self) -> Vec<u8> {
        let parameters = if self.null() { tlv(NULL, &[]) } else { Vec::new() };
        tlv(SEQUENCE, &[&tlv(OID, &[self.oid()]), &parameters])
    }
    fn read(algorithm: &[u8]) -> Result<Self, Malformed> {
        let known = Self::ALL.into_iter().find(|form| form.algorithm() == algorithm);
        known.ok_or(Malformed("a hash that is neither SHA-1 nor SHA-256"))
    }
}

/// The hashes by which an issuer is named, computed once.
#[derive(Clone, PartialEq, Eq)]
pub struct IssuerHashes {
    sha1: ([u8; 20], [u8; 20]),
    sha256: ([u8; 32], [u8; 32]),
}

impl std::fmt::Debug for IssuerHashes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IssuerHashes({})", hex::encode(self.sha256.1))
    }
}

/// The key of a SubjectPublicKeyInfo as CertID and ResponderID hash it: the BIT STRING without tag, length and unused bits.
pub(super) fn key_octets(spki: &[u8]) -> Result<&[u8], Malformed> {
    let mut fields = Reader(only(spki, SEQUENCE, "SubjectPublicKeyInfo")?.value);
    fields.expect(SEQUENCE, "algorithm")?;
    let bits = fields.expect(BIT_STRING, "subjectPublicKey")?.value;
    fields.end("SubjectPublicKeyInfo")?;
    match bits.split_first() {
        Some((0, key)) => Ok(key),
        _ => Err(Malformed("subjectPublicKey")),
    }
}

impl IssuerHashes {
    /// Of this issuer; its key parsed when the issuer was made.
    #[must_use]
    pub fn of(issuer: &Issuer) -> Self {
        // An issuer's SubjectPublicKeyInfo was read when the issuer was made.
        let key = key_octets(issuer.spki()).unwrap_or_default();
        Self {
            sha1: (sha1(issuer.name()), sha1(key)),
            sha256: (sha256(issuer.name()), sha256(key)),
        }
    }
    fn by(&self, form: CertIdForm) -> (&[u8], &[u8]) {
        match form {
            CertIdForm::Sha1 | CertIdForm::Sha1Null => (&self.sha1.0, &self.sha1.1),
            CertIdForm::Sha256 | CertIdForm::Sha256Null => (&self.sha256.0, &self.sha256.1),
        }
    }
}

/// A `CertID` as asked, of any CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawCertId {
    form: CertIdForm,
    name_hash: Vec<u8>,
    key_hash: Vec<u8>,
    /// Content octets.
    serial: Vec<u8>,
}

/// A certificate that this CA could have issued, asked about in this form. Whether it did, the record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CertId {
    /// How the question named the issuer.
    pub form: CertIdForm,
    /// Which certificate.
    pub serial: Serial,
}

impl RawCertId {
    /// Content of a `CertID`.
    pub(super) fn read(content: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Reader(content);
        let form = CertIdForm::read(fields.expect(SEQUENCE, "hashAlgorithm")?.raw)?;
        let name_hash = fields.expect(OCTET_STRING, "issuerNameHash")?.value;
        let key_hash = fields.expect(OCTET_STRING, "issuerKeyHash")?.value;
        let serial = fields.expect(INTEGER, "serialNumber")?.value;
        fields.end("bytes after serialNumber")?;
        if name_hash.len() != form.octets() || key_hash.len() != form.octets() {
            return Err(Malformed("a hash of another length than its algorithm's"));
        }
        // RFC 5280 §4.1.2.2: 20 octets at most, and one more for a sign.
        if serial.is_empty() || serial.len() > 21 {
            return Err(Malformed("serialNumber"));
        }
        Ok(Self {
            form,
            name_hash: name_hash.to_vec(),
            key_hash: key_hash.to_vec(),
            serial: serial.to_vec(),
        })
    }

    /// The certificate it is about, if it is one of the issuer with these hashes: name **and** key. `None` for another CA's,
    /// and for a serial that this CA does not draw.
    #[must_use]
    pub fn of(self, issuer: &IssuerHashes) -> Option<CertId> {
        let (name, key) = issuer.by(self.form);
        if self.name_hash != name || self.key_hash != key {
            return None;
        }
        Some(CertId {
            form: self.form,
            serial: Serial::from_octets(self.serial.try_into().ok()?)?,
        })
    }
}

impl CertId {
    /// `CertID`, DER.
    pub(super) fn encode(&self, issuer: &IssuerHashes) -> Vec<u8> {
        let (name, key) = issuer.by(self.form);
        tlv(
            SEQUENCE,
            &[
                &self.form.algorithm(),
                &tlv(OCTET_STRING, &[name]),
                &tlv(OCTET_STRING, &[key]),
                &tlv(INTEGER, &[self.serial.octets()]),
            ],
        )
    }
}
