//! The RoT-binding extension and our OIDs: what was proven, as a certificate carries it.
//!
//! Byte by byte in `docs/reference/rot-binding.md`. The arc is below 1.3.6.1.4.1.32473, the enterprise number that
//! RFC 5612 reserves for documentation: it marks these OIDs as private until Holdfast has a number of its own.

use const_oid::ObjectIdentifier;
use der::asn1::OctetString;
use der::{Decode as _, Encode as _, Enumerated, Sequence};

/// `id-hf-rotBinding`: the RoT-binding extension, never critical.
pub const ID_ROT_BINDING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.27071.1.1");
/// `id-hf-rehearsal`: extension (NULL, never critical) on CA certificates of a rehearsal.
pub const ID_REHEARSAL: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.27071.1.2");
/// Certificate policy: assurance `hardware-verified`.
pub const ID_HARDWARE_VERIFIED: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.27071.2.1");
/// Certificate policy: assurance `hardware-allowlisted`.
pub const ID_HARDWARE_ALLOWLISTED: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.27071.2.2");
/// Certificate policy: assurance `virtual`.
pub const ID_VIRTUAL: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.27071.2.3");
/// Certificate policy: assurance `software` (demonstrations only).
pub const ID_SOFTWARE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.27071.2.4");
/// Certificate policy: assurance `manufacturer-verified`.
pub const ID_MANUFACTURER_VERIFIED: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.27071.2.5");

/// tcg-cap-verifiedTPMResidency.
pub const TCG_VERIFIED_TPM_RESIDENCY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.11.1.1");
/// tcg-cap-verifiedTPMFixed.
pub const TCG_VERIFIED_TPM_FIXED: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.11.1.2");
/// tcg-cap-verifiedTPMRestricted.
pub const TCG_VERIFIED_TPM_RESTRICTED: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.11.1.3");
/// id-on-hardwareModuleName (RFC 4108 §5).
pub const ID_ON_HARDWARE_MODULE_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.8.4");
/// id-on-permanentIdentifier (RFC 4043 §2).
pub const ID_ON_PERMANENT_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.8.3");
/// tcg-on-ekPermIdSha256: assigner of a permanentIdentifier that is SHA-256 of an EK certificate.
pub const TCG_ON_EK_PERM_ID_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.12.1");
/// hwType of a TPM 2.0.
pub const TCG_HW_TYPE_TPM20: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.1.2");

/// Kind of root of trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Enumerated)]
#[repr(u8)]
pub enum RotKind {
    /// A TPM, discrete or firmware.
    Tpm = 0,
    /// A virtual TPM.
    Vtpm = 1,
    /// DICE.
    Dice = 2,
}

/// `RotBinding ::= SEQUENCE { version INTEGER, rotKind ENUMERATED, ekSpkiSha256, akName, ikName, evidenceSha256
/// OCTET STRING, parentRot [0] IMPLICIT OCTET STRING OPTIONAL }`.
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct RotBinding {
    /// 1.
    pub version: u8,
    /// Kind of root of trust.
    pub rot_kind: RotKind,
    /// SHA-256 of the EK's SubjectPublicKeyInfo.
    pub ek_spki_sha256: OctetString,
    /// TPM Name of the AK.
    pub ak_name: OctetString,
    /// TPM Name of the certified key; equal to `ak_name` on an attestation key's certificate.
    pub ik_name: OctetString,
    /// SHA-256 over the evidence, see [`crate::EvidenceRecord::digest`].
    pub evidence_sha256: OctetString,
    /// SHA-256 of the parent's EK SubjectPublicKeyInfo when the root of trust is virtual.
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    pub parent_rot: Option<OctetString>,
}

/// What the proof of a key stood on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Enumerated)]
#[repr(u8)]
pub enum Basis {
    /// An attestation key was activated with the endorsement key, and certified this one ([`RotBinding`]).
    EkActivation = 0,
    /// An attestation key that its manufacturer had certified before (IAK) certified this one.
    IakCertified = 1,
}

impl Basis {
    /// The word used in profiles, rules, the record and on the screen.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EkActivation => "ek-activation",
            Self::IakCertified => "iak-certified",
        }
    }
}

/// Version 2 of the binding: no endorsement key was seen; the manufacturer's IAK vouched.
///
/// `CertifiedBinding ::= SEQUENCE { version INTEGER, rotKind ENUMERATED, basis ENUMERATED, iakCertificateSha256,
/// iakSpkiSha256, iakName, ikName, evidenceSha256 OCTET STRING, ekSpkiSha256 [0] IMPLICIT OCTET STRING OPTIONAL }`.
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct CertifiedBinding {
    /// 2.
    pub version: u8,
    /// Kind of root of trust.
    pub rot_kind: RotKind,
    /// [`Basis::IakCertified`].
    pub basis: Basis,
    /// SHA-256 of the IAK's certificate.
    pub iak_certificate_sha256: OctetString,
    /// SHA-256 of the IAK's SubjectPublicKeyInfo.
    pub iak_spki_sha256: OctetString,
    /// TPM Name of the IAK.
    pub iak_name: OctetString,
    /// TPM Name of the certified key; never that of the IAK.
    pub ik_name: OctetString,
    /// SHA-256 over the evidence, see [`crate::EvidenceRecord::digest`].
    pub evidence_sha256: OctetString,
    /// SHA-256 of the EK's SubjectPublicKeyInfo, where the IAK's certificate says it. Its issuer's word, not proven here.
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    pub ek_spki_sha256: Option<OctetString>,
}

/// What the extension `id-hf-rotBinding` says, in either version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RotStatement {
    /// Version 1.
    Activation(RotBinding),
    /// Version 2.
    Certified(CertifiedBinding),
}

impl RotStatement {
    /// Read a whole extension value.
    ///
    /// # Errors
    /// Bytes that are neither version exactly.
    pub fn from_der(bytes: &[u8]) -> der::Result<Self> {
        if let Ok(binding) = RotBinding::from_der(bytes) {
            return match binding.version {
                1 => Ok(Self::Activation(binding)),
                _ => Err(der::ErrorKind::Value { tag: der::Tag::Integer }.into()),
            };
        }
        let binding = CertifiedBinding::from_der(bytes)?;
        if binding.version != 2 || binding.basis != Basis::IakCertified {
            return Err(der::ErrorKind::Failed.into());
        }
        Ok(Self::Certified(binding))
    }

    /// The extension value.
    ///
    /// # Errors
    /// Lengths that DER cannot say; never for what was read.
    pub fn to_der(&self) -> der::Result<Vec<u8>> {
        match self {
            Self::Activation(binding) => binding.to_der(),
            Self::Certified(binding) => binding.to_der(),
        }
    }

    /// What the proof stood on.
    #[must_use]
    pub fn basis(&self) -> Basis {
        match self {
            Self::Activation(_) => Basis::EkActivation,
            Self::Certified(_) => Basis::IakCertified,
        }
    }

    /// Kind of root of trust.
    #[must_use]
    pub fn rot_kind(&self) -> RotKind {
        match self {
            Self::Activation(binding) => binding.rot_kind,
            Self::Certified(binding) => binding.rot_kind,
        }
    }

    /// TPM Name of the attestation key that vouched: the activated AK, or the IAK.
    #[must_use]
    pub fn voucher_name(&self) -> &[u8] {
        match self {
            Self::Activation(binding) => binding.ak_name.as_bytes(),
            Self::Certified(binding) => binding.iak_name.as_bytes(),
        }
    }

    /// TPM Name of the key in the certificate.
    #[must_use]
    pub fn ik_name(&self) -> &[u8] {
        match self {
            Self::Activation(binding) => binding.ik_name.as_bytes(),
            Self::Certified(binding) => binding.ik_name.as_bytes(),
        }
    }

    /// SHA-256 of the evidence record.
    #[must_use]
    pub fn evidence_sha256(&self) -> &[u8] {
        match self {
            Self::Activation(binding) => binding.evidence_sha256.as_bytes(),
            Self::Certified(binding) => binding.evidence_sha256.as_bytes(),
        }
    }

    /// SHA-256 of the EK's SubjectPublicKeyInfo: proven in version 1, in version 2 the manufacturer's word, if it gave it.
    #[must_use]
    pub fn ek_spki_sha256(&self) -> Option<&[u8]> {
        match self {
            Self::Activation(binding) => Some(binding.ek_spki_sha256.as_bytes()),
            Self::Certified(binding) => binding.ek_spki_sha256.as_ref().map(OctetString::as_bytes),
        }
    }
}
