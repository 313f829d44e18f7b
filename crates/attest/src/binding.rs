//! The proof, and what it was made from.

use crate::csr::CsrRequest;
use crate::evidence::ChallengeContext;
use crate::tpm::TpmsClockInfo;
use crate::{KeyFacts, Root};

/// First bytes of [`EvidenceRecord::bytes`].
const EVIDENCE_V1: &[u8] = b"holdfast-evidence-v1\0";
/// The same of a renewal.
const RENEWAL_V1: &[u8] = b"holdfast-renewal-v1\0";

/// Everything that was checked, as bytes, so that it can be checked again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceRecord {
    /// SHA-256 of `bytes`: goes into the RoT-binding extension.
    pub digest: [u8; 32],
    /// Deterministic encoding: "holdfast-evidence-v1" || 00, then each field as u32 big-endian length || bytes, in the
    /// order enrollment id, EK certificate, EK public, AK public, IK public, nonce, TPMS_ATTEST, TPMT_SIGNATURE, CSR.
    /// Of a renewal: "holdfast-renewal-v1" || 00, the same fields, and the SHA-256 of the certificate it replaces.
    pub bytes: Vec<u8>,
}

/// The fields of [`EvidenceRecord::bytes`], read in place. Bytes of the past: nothing in them is proven by reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvidenceFields<'a> {
    /// Enrollment id.
    pub id: &'a [u8],
    /// EK certificate, DER.
    pub ek_certificate: &'a [u8],
    /// EK `TPMT_PUBLIC`.
    pub ek_public: &'a [u8],
    /// AK `TPMT_PUBLIC`.
    pub ak_public: &'a [u8],
    /// Identity key `TPMT_PUBLIC`.
    pub key_public: &'a [u8],
    /// Nonce of the challenge.
    pub nonce: &'a [u8],
    /// `TPMS_ATTEST`.
    pub attest: &'a [u8],
    /// `TPMT_SIGNATURE`.
    pub signature: &'a [u8],
    /// CSR, DER.
    pub csr: &'a [u8],
    /// SHA-256 of the certificate that was renewed; none: it was an enrollment.
    pub renewed: Option<&'a [u8]>,
}

/// A key, proven to live in a root of trust we recognise. Made only by [`crate::Pending::answer`] and
/// [`crate::iak::IakPending::answer`].
///
/// Nobody asserts a binding: the fields are private, and there is no other constructor.
///
/// ```compile_fail,E0451
/// # use attest::{ChallengeContext, EvidenceRecord, KeyFacts, Root, tpm::TpmsClockInfo};
/// # fn forge(context: ChallengeContext, root: Root, key: KeyFacts, clock: TpmsClockInfo, evidence: EvidenceRecord) {
/// let forged = attest::VerifiedBinding {
///     context,
///     root,
///     ak: key.clone(),
///     lak: None,
///     identity: key,
///     requested: attest::csr::CsrRequest::default(),
///     clock,
///     evidence,
/// };
/// # }
/// ```
///
/// Nor does anyone change one, keep a copy for later, or conjure one up:
///
/// ```compile_fail,E0616
/// fn redirect(mut binding: attest::VerifiedBinding, other: attest::KeyFacts) {
///     binding.identity = other;
/// }
/// ```
/// ```compile_fail,E0308
/// fn keep(binding: &attest::VerifiedBinding) -> attest::VerifiedBinding {
///     binding.clone()
/// }
/// ```
/// ```compile_fail,E0599
/// fn conjure() -> attest::VerifiedBinding {
///     attest::VerifiedBinding::default()
/// }
/// ```
///
/// Reading is for everyone:
///
/// ```
/// fn name(binding: &attest::VerifiedBinding) -> &[u8] {
///     &binding.identity().name
/// }
/// ```
#[derive(Debug)]
pub struct VerifiedBinding {
    pub(crate) context: ChallengeContext,
    pub(crate) root: Root,
    pub(crate) ak: KeyFacts,
    pub(crate) lak: Option<KeyFacts>,
    pub(crate) identity: KeyFacts,
    pub(crate) requested: CsrRequest,
    pub(crate) clock: TpmsClockInfo,
    pub(crate) evidence: EvidenceRecord,
}

impl EvidenceRecord {
    pub(crate) fn assemble(fields: [&[u8]; 9], renewed: Option<&[u8; 32]>) -> Self {
        let head = if renewed.is_some() { RENEWAL_V1 } else { EVIDENCE_V1 };
        let len = head.len() + 36 + fields.iter().map(|field| 4 + field.len()).sum::<usize>();
        let mut bytes = Vec::with_capacity(len);
        bytes.extend_from_slice(head);
        for field in fields.into_iter().chain(renewed.map(<[u8; 32]>::as_slice)) {
            put(&mut bytes, field);
        }
        Self {
            digest: crate::digest::sha256(&bytes),
            bytes,
        }
    }
}

impl<'a> EvidenceFields<'a> {
    /// Read the fields of `bytes` (as [`EvidenceRecord::bytes`]); `None` unless every byte belongs to them.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (renewal, mut rest) = match bytes.strip_prefix(RENEWAL_V1) {
            Some(rest) => (true, rest),
            None => (false, bytes.strip_prefix(EVIDENCE_V1)?),
        };
        let fields = Self {
            id: get(&mut rest)?,
            ek_certificate: get(&mut rest)?,
            ek_public: get(&mut rest)?,
            ak_public: get(&mut rest)?,
            key_public: get(&mut rest)?,
            nonce: get(&mut rest)?,
            attest: get(&mut rest)?,
            signature: get(&mut rest)?,
            csr: get(&mut rest)?,
            renewed: if renewal { Some(get(&mut rest)?) } else { None },
        };
        rest.is_empty().then_some(fields)
    }
}

/// Append a field: u32 big-endian length, then the bytes.
pub(crate) fn put(out: &mut Vec<u8>, field: &[u8]) {
    // Fields come from bodies of some kilobytes; four gigabytes cannot get here, and would not decode.
    out.extend(u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(field);
}

/// Take a field that [`put`] wrote.
pub(crate) fn get<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, after) = rest.split_first_chunk()?;
    let (field, after) = after.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)?;
    *rest = after;
    Some(field)
}

impl VerifiedBinding {
    /// What the challenge was for.
    #[must_use]
    pub fn context(&self) -> &ChallengeContext {
        &self.context
    }

    /// What it stands on.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The attestation key that vouched: the activated one, or the manufacturer's.
    #[must_use]
    pub fn ak(&self) -> &KeyFacts {
        &self.ak
    }

    /// The attestation key that may be certified here: the activated one, or one that the manufacturer's vouched for.
    #[must_use]
    pub fn attestation_key(&self) -> Option<&KeyFacts> {
        match self.root {
            Root::Ek(_) => Some(&self.ak),
            Root::Iak(_) => self.lak.as_ref(),
        }
    }

    /// The certified identity key.
    #[must_use]
    pub fn identity(&self) -> &KeyFacts {
        &self.identity
    }

    /// What the CSR asks for.
    #[must_use]
    pub fn requested(&self) -> &CsrRequest {
        &self.requested
    }

    /// The TPM's clock and counters, as the attestation key signed them with the identity key.
    #[must_use]
    pub fn clock(&self) -> &TpmsClockInfo {
        &self.clock
    }

    /// The evidence.
    #[must_use]
    pub fn evidence(&self) -> &EvidenceRecord {
        &self.evidence
    }
}
