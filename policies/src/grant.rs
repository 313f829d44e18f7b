//! Permission for exactly one certificate.

use std::sync::Arc;

use attest::UnixTime;
use attest::rot::RotStatement;
use const_oid::ObjectIdentifier;

use crate::Profile;

/// Permission to issue exactly one certificate. Neither `Clone` nor `Copy`; made only by [`crate::decide`],
/// [`crate::CeremonyPlan::approve`] and, for the CA's own OCSP responder, [`crate::delegate`].
#[derive(Debug)]
pub struct Grant {
    pub(crate) profile: Arc<Profile>,
    pub(crate) kind: GrantKind,
    pub(crate) subject: Subject,
    pub(crate) san: Vec<SanEntry>,
    pub(crate) spki: Vec<u8>,
    pub(crate) validity: Validity,
    pub(crate) policies: Vec<ObjectIdentifier>,
    pub(crate) rot: Option<RotStatement>,
    pub(crate) rehearsal: bool,
    pub(crate) decision: Decision,
}

/// Who signs it and which key it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantKind {
    /// Self-signed root.
    Root,
    /// Issuing CA below the root.
    Issuing,
    /// Another root below the root.
    Cross,
    /// End entity; which key of the conversation it certifies.
    EndEntity(KeyRole),
    /// The OCSP responder of the issuing CA.
    Responder,
}

/// Which of the keys of one enrollment is certified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyRole {
    /// AK.
    Attestation,
    /// IK, or a server's own key.
    Identity,
}

/// Subject in wire order; one attribute per RDN.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject(pub Vec<Rdn>);

/// One attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rdn {
    /// Which attribute.
    pub kind: RdnKind,
    /// Its value: allow-listed characters only, see [`crate::name`].
    pub value: String,
}

/// Attributes we issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RdnKind {
    /// 2.5.4.6, PrintableString.
    Country,
    /// 2.5.4.10, UTF8String.
    Organization,
    /// 2.5.4.3, UTF8String.
    CommonName,
    /// 2.5.4.5, PrintableString.
    SerialNumber,
}

/// One subject alternative name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SanEntry {
    /// dNSName, lower-case A-label.
    Dns(String),
    /// uniformResourceIdentifier.
    Uri(String),
    /// iPAddress, 4 or 16 octets.
    Ip(Vec<u8>),
    /// otherName id-on-hardwareModuleName: (hwType, hwSerialNum).
    HardwareModuleName(ObjectIdentifier, Vec<u8>),
    /// otherName id-on-permanentIdentifier: (identifierValue, assigner).
    PermanentIdentifier(String, ObjectIdentifier),
}

/// First and last second of validity, both inclusive (RFC 5280 §4.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// First second.
    pub not_before: UnixTime,
    /// Last second; [`Validity::NEVER`] for 99991231235959Z.
    pub not_after: UnixTime,
}

impl Validity {
    /// 99991231235959Z: "never expires" (IEEE 802.1AR-2018 §8.7).
    pub const NEVER: UnixTime = UnixTime(253_402_300_799);
}

/// Why it was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Ids of the rules that permitted.
    pub rules: Vec<String>,
    /// Their reasons.
    pub reasons: Vec<String>,
    /// SHA-256 of schema and rules.
    pub policy_sha256: [u8; 32],
}

impl Grant {
    /// Profile to issue under.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.profile
    }
    /// Who signs it.
    #[must_use]
    pub fn kind(&self) -> GrantKind {
        self.kind
    }
    /// Subject.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }
    /// Subject alternative names.
    #[must_use]
    pub fn san(&self) -> &[SanEntry] {
        &self.san
    }
    /// Key to certify, SubjectPublicKeyInfo DER.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }
    /// Validity.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }
    /// Certificate policies, in order.
    #[must_use]
    pub fn policies(&self) -> &[ObjectIdentifier] {
        &self.policies
    }
    /// What was proven, for the RoT-binding extension.
    #[must_use]
    pub fn rot(&self) -> Option<&RotStatement> {
        self.rot.as_ref()
    }
    /// Whether this is a CA certificate of a rehearsal and must be marked as such.
    #[must_use]
    pub fn rehearsal(&self) -> bool {
        self.rehearsal
    }
    /// Why it was granted.
    #[must_use]
    pub fn decision(&self) -> &Decision {
        &self.decision
    }
}
