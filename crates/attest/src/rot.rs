//! The RoT-binding extension and our OIDs: what was proven, as a certificate carries it.
//!
//! Byte by byte in `docs/reference/rot-binding.md`. The arc is below 1.3.6.1.4.1.32473, the enterprise number that
//! RFC 5612 reserves for documentation: it marks these OIDs as private until Holdfast has a number of its own.

use const_oid::ObjectIdentifier;
use der::asn1::OctetString;
use der::{Enumerated, Sequence};

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
