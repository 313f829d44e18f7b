//! The evidence record of a proof by an IAK.

use crate::binding::{EvidenceRecord, get, put};

/// First bytes of the record of an enrollment, and of a renewal.
const EVIDENCE: &[u8] = b"holdfast-iak-evidence-v1\0";
const RENEWAL: &[u8] = b"holdfast-iak-renewal-v1\0";

/// The fields of an [`EvidenceRecord`] of an IAK-based proof, read in place. Bytes of the past: nothing in them is proven
/// by reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IakEvidenceFields<'a> {
    /// Enrollment id.
    pub id: &'a [u8],
    /// The IAK's certificate, DER.
    pub certificate: &'a [u8],
    /// The IDevID certificate that was shown beside it, DER; empty if there was none.
    pub idevid: &'a [u8],
    /// Certificates of the manufacturer's CAs that were offered, DER.
    pub chain: Vec<&'a [u8]>,
    /// The IAK's `TPMT_PUBLIC`.
    pub iak_public: &'a [u8],
    /// `TPMT_PUBLIC` of the new attestation key; empty if there was none.
    pub lak_public: &'a [u8],
    /// Identity key `TPMT_PUBLIC`.
    pub key_public: &'a [u8],
    /// Nonce of the challenge.
    pub nonce: &'a [u8],
    /// `TPMS_ATTEST` of the IAK over the identity key.
    pub attest: &'a [u8],
    /// `TPMT_SIGNATURE` over it.
    pub signature: &'a [u8],
    /// `TPMS_ATTEST` of the IAK over the attestation key; empty if there was none.
    pub lak_attest: &'a [u8],
    /// `TPMT_SIGNATURE` over it; empty likewise.
    pub lak_signature: &'a [u8],
    /// CSR, DER.
    pub csr: &'a [u8],
    /// SHA-256 of the certificate that was renewed; none: it was an enrollment.
    pub renewed: Option<&'a [u8]>,
}

impl<'a> IakEvidenceFields<'a> {
    /// Read the fields of `bytes` ([`EvidenceRecord::bytes`]); `None` unless every byte belongs to them.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (renewal, mut rest) = match bytes.strip_prefix(RENEWAL) {
            Some(rest) => (true, rest),
            None => (false, bytes.strip_prefix(EVIDENCE)?),
        };
        let rest = &mut rest;
        let fields = Self {
            id: get(rest)?,
            certificate: get(rest)?,
            idevid: get(rest)?,
            chain: list(get(rest)?)?,
            iak_public: get(rest)?,
            lak_public: get(rest)?,
            key_public: get(rest)?,
            nonce: get(rest)?,
            attest: get(rest)?,
            signature: get(rest)?,
            lak_attest: get(rest)?,
            lak_signature: get(rest)?,
            csr: get(rest)?,
            renewed: if renewal { Some(get(rest)?) } else { None },
        };
        rest.is_empty().then_some(fields)
    }

    /// The record of these fields.
    pub(super) fn record(&self) -> EvidenceRecord {
        let mut chain = Vec::new();
        for certificate in &self.chain {
            put(&mut chain, certificate);
        }
        let head = if self.renewed.is_some() { RENEWAL } else { EVIDENCE };
        let mut bytes = head.to_vec();
        let fields = [
            self.id,
            self.certificate,
            self.idevid,
            &chain,
            self.iak_public,
            self.lak_public,
            self.key_public,
            self.nonce,
            self.attest,
            self.signature,
            self.lak_attest,
            self.lak_signature,
            self.csr,
        ];
        for field in fields.into_iter().chain(self.renewed) {
            put(&mut bytes, field);
        }
        EvidenceRecord {
            digest: crate::digest::sha256(&bytes),
            bytes,
        }
    }
}

/// A list of fields inside of a field.
pub(super) fn list(mut rest: &[u8]) -> Option<Vec<&[u8]>> {
    let mut items = Vec::new();
    while !rest.is_empty() {
        items.push(get(&mut rest)?);
    }
    Some(items)
}
