//! What has been learnt about keys and endorsements; plain data, believed only inside a [`crate::VerifiedBinding`].

use crate::ek::EkTemplate;
use crate::rot::Basis;

/// Seconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(pub i64);

/// How much stands behind an identity, in the words of the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Assurance {
    /// EK certificate of a hardware vendor.
    HardwareVerified,
    /// EK key named by an administrator, hardware by his word.
    HardwareAllowlisted,
    /// A virtual TPM.
    Virtual,
    /// A software TPM or a test root: demonstrations only.
    Software,
    /// A hardware TPM by the word of the device's manufacturer, whose IAK certificate was shown; its EK was not seen.
    ManufacturerVerified,
}

impl Assurance {
    /// Every level.
    pub const ALL: [Self; 5] = [
        Self::HardwareVerified,
        Self::HardwareAllowlisted,
        Self::Virtual,
        Self::Software,
        Self::ManufacturerVerified,
    ];

    /// The word used in policy, in the record and on the screen.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HardwareVerified => "hardware-verified",
            Self::HardwareAllowlisted => "hardware-allowlisted",
            Self::Virtual => "virtual",
            Self::Software => "software",
            Self::ManufacturerVerified => "manufacturer-verified",
        }
    }
}

/// What kind of TPM an anchor speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AnchorKind {
    /// Discrete or firmware TPM of a hardware vendor.
    Hardware,
    /// Virtual TPM of a hypervisor operator.
    Virtual,
    /// Test root; refused in production at start-up.
    Software,
}

/// Key algorithms an AK or identity key may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyAlgorithm {
    /// RSA with a 2048-bit modulus.
    Rsa2048,
    /// RSA with a 3072-bit modulus.
    Rsa3072,
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
}

impl KeyAlgorithm {
    /// The word used in policy and on the screen.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa3072 => "rsa-3072",
            Self::P256 => "p-256",
            Self::P384 => "p-384",
        }
    }
}

/// An endorsement that chained to an anchor, or that an administrator vouched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EkFacts {
    /// SHA-256 of the EK certificate as received; of no bytes where there is none ([`EkFacts::has_certificate`]).
    pub certificate_sha256: [u8; 32],
    /// SHA-256 of the EK's SubjectPublicKeyInfo (DER; RSA always as rsaEncryption with NULL): the device's hardware key.
    pub spki_sha256: [u8; 32],
    /// Which TCG template the EK follows.
    pub template: EkTemplate,
    /// `id:` and 8 upper-case hex digits (2.23.133.2.1); printable ASCII only.
    pub manufacturer: String,
    /// 2.23.133.2.2; printable ASCII only.
    pub model: String,
    /// 2.23.133.2.3, `id:` and hex digits.
    pub version: String,
    /// keyIdentifier of the EK certificate's AKI, lower-case hex; empty when absent.
    pub authority_key_id: String,
    /// Serial of the EK certificate, lower-case hex of the DER content octets.
    pub serial: String,
    /// Name of the anchor it chains to.
    pub anchor: String,
    /// SHA-256 of the anchor certificate.
    pub anchor_sha256: [u8; 32],
    /// What follows from the anchor's kind.
    pub assurance: Assurance,
    /// What the anchor let pass: `expired` (a certificate of the path, or the EK's), `unchecked` (no current CRL).
    pub passed: Vec<String>,
    /// The CA certificates of the path that was believed, DER, anchor first; none where people vouched for the key.
    pub path: Vec<Vec<u8>>,
}

/// SHA-256 of the certificate of an EK that has none: that of no bytes at all.
pub(crate) const NO_CERTIFICATE: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41,
    0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

impl EkFacts {
    /// Whether a manufacturer's certificate names it. If not, an administrator vouched for the key: manufacturer, model,
    /// version, key identifier and serial are empty, `anchor` is [`crate::AllowedEk::ANCHOR`].
    #[must_use]
    pub fn has_certificate(&self) -> bool {
        self.certificate_sha256 != NO_CERTIFICATE
    }
}

/// A key whose public area was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFacts {
    /// TPM Name, computed here: nameAlg || digest.
    pub name: Vec<u8>,
    /// `TPMT_PUBLIC` as received.
    pub public: Vec<u8>,
    /// SubjectPublicKeyInfo, DER (RSA as rsaEncryption with NULL; EC named curve, uncompressed).
    pub spki: Vec<u8>,
    /// Algorithm.
    pub algorithm: KeyAlgorithm,
    /// `TPMA_OBJECT` bits.
    pub attributes: u32,
}

/// An attestation key that a manufacturer's certificate vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IakFacts {
    /// SHA-256 of the IAK's certificate as received.
    pub certificate_sha256: [u8; 32],
    /// SHA-256 of its SubjectPublicKeyInfo: what the device is known by.
    pub spki_sha256: [u8; 32],
    /// Name of the issuer, DER.
    pub issuer: Vec<u8>,
    /// Serial, DER content octets.
    pub serial: Vec<u8>,
    /// SHA-256 of the IDevID certificate that was shown beside it.
    pub idevid_sha256: Option<[u8; 32]>,
    /// hwSerialNum of its HardwareModuleName of a TPM 2.0; hex digits and colons only.
    pub hardware_serial: Option<String>,
    /// Its permanentIdentifier: SHA-256 of the EK certificate in lower-case hex, by its issuer's word.
    pub permanent_id: Option<String>,
    /// SHA-256 of the EK's SubjectPublicKeyInfo, by its issuer's word: only a Holdfast CA says it.
    pub ek_spki_sha256: Option<[u8; 32]>,
    /// Name of the anchor it chains to.
    pub anchor: String,
    /// SHA-256 of the anchor certificate.
    pub anchor_sha256: [u8; 32],
    /// What follows from the anchor's kind, or from what the certificate says itself, whichever is less.
    pub assurance: Assurance,
    /// The CA certificates that were believed on the way to it, and to the IDevID's, DER, anchor first.
    pub path: Vec<Vec<u8>>,
}

/// What a proof stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Root {
    /// The endorsement key: an attestation key was activated with it.
    Ek(EkFacts),
    /// The manufacturer's IAK.
    Iak(IakFacts),
}

impl Root {
    /// Which of the two.
    #[must_use]
    pub fn basis(&self) -> Basis {
        match self {
            Self::Ek(_) => Basis::EkActivation,
            Self::Iak(_) => Basis::IakCertified,
        }
    }

    /// How much stands behind it.
    #[must_use]
    pub fn assurance(&self) -> Assurance {
        match self {
            Self::Ek(ek) => ek.assurance,
            Self::Iak(iak) => iak.assurance,
        }
    }

    /// The endorsement, if that is what it stands on.
    #[must_use]
    pub fn ek(&self) -> Option<&EkFacts> {
        match self {
            Self::Ek(ek) => Some(ek),
            Self::Iak(_) => None,
        }
    }

    /// SHA-256 of the EK's SubjectPublicKeyInfo: proven, or by the word of the IAK's issuer.
    #[must_use]
    pub fn ek_spki_sha256(&self) -> Option<[u8; 32]> {
        match self {
            Self::Ek(ek) => Some(ek.spki_sha256),
            Self::Iak(iak) => iak.ek_spki_sha256,
        }
    }
}
