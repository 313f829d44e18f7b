//! Why evidence was not believed.

/// Reason codes of the audit record. An outsider never sees them; `as_str` is API for operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// Bytes that are not evidence (400 `malformed`, not an attestation failure).
    Malformed,
    /// The EK certificate does not chain to an anchor.
    EkChain,
    /// The path leads through a CA that is refused.
    EkCaRefused,
    /// The path ends at a CA that is there and not trusted: known, or not decided about.
    EkCaUntrusted,
    /// The EK certificate is not of the TCG profile.
    EkProfile,
    /// The EK public area is not the certified key, or not of an allowed template, or weak.
    EkKey,
    /// The anchor may not speak for this manufacturer.
    EkVendor,
    /// The EK certificate, or a CA above it, is on a CRL of its issuer.
    EkRevoked,
    /// There is no EK certificate, and nobody vouched for the key.
    EkNoCertificate,
    /// The IAK certificate does not chain to a manufacturer's anchor.
    IakChain,
    /// Its path leads through a CA that is refused, or it is refused itself, by certificate or key.
    IakRefused,
    /// Its path ends at a CA that is there and not trusted.
    IakCaUntrusted,
    /// The certificate does not say that its key is an initial attestation key.
    IakProfile,
    /// The IAK's public area is not the certified key, or not the one its certificate names.
    IakKey,
    /// The IDevID certificate beside it is not of the same device and manufacturer.
    Idevid,
    /// The AK lacks an attribute that makes it an attestation key.
    AkAttr,
    /// The AK's algorithm, scheme, hash or size is not on the allow-list, or a signature uses another than the AK's.
    AkAlg,
    /// The activation secret is wrong.
    ActSecret,
    /// Certify: magic is not TPM_GENERATED_VALUE.
    CertMagic,
    /// Certify: type is not TPM_ST_ATTEST_CERTIFY.
    CertType,
    /// Certify: the Name is not that of the submitted public area.
    CertName,
    /// Certify: qualifying data is not ours.
    CertNonce,
    /// Certify: the signature is not the activated AK's.
    CertSig,
    /// The identity key lacks an attribute that keeps it in the TPM, or has one too many.
    KeyAttr,
    /// The identity key's algorithm or size is not on the allow-list.
    KeyAlg,
    /// One key in two roles: EK, AK and identity key must differ.
    KeyReuse,
    /// The CSR carries another key than the certified one.
    CsrKey,
    /// The CSR's signature (proof of possession) is wrong.
    CsrSig,
}

impl Reason {
    /// Stable code in capitals.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "MALFORMED",
            Self::EkChain => "EK_CHAIN",
            Self::EkCaRefused => "EK_CA_REFUSED",
            Self::EkCaUntrusted => "EK_CA_UNTRUSTED",
            Self::EkProfile => "EK_PROFILE",
            Self::EkKey => "EK_KEY",
            Self::EkVendor => "EK_VENDOR",
            Self::EkRevoked => "EK_REVOKED",
            Self::EkNoCertificate => "EK_NO_CERTIFICATE",
            Self::IakChain => "IAK_CHAIN",
            Self::IakRefused => "IAK_REFUSED",
            Self::IakCaUntrusted => "IAK_CA_UNTRUSTED",
            Self::IakProfile => "IAK_PROFILE",
            Self::IakKey => "IAK_KEY",
            Self::Idevid => "IDEVID",
            Self::AkAttr => "AK_ATTR",
            Self::AkAlg => "AK_ALG",
            Self::ActSecret => "ACT_SECRET",
            Self::CertMagic => "CERT_MAGIC",
            Self::CertType => "CERT_TYPE",
            Self::CertName => "CERT_NAME",
            Self::CertNonce => "CERT_NONCE",
            Self::CertSig => "CERT_SIG",
            Self::KeyAttr => "KEY_ATTR",
            Self::KeyAlg => "KEY_ALG",
            Self::KeyReuse => "KEY_REUSE",
            Self::CsrKey => "CSR_KEY",
            Self::CsrSig => "CSR_SIG",
        }
    }
}

/// A refusal: the reason code, and a sentence for the operator (never for the client).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", reason.as_str())]
pub struct Refusal {
    /// Code.
    pub reason: Reason,
    /// What was found, lower case, no full stop; never contains control characters from the input.
    pub detail: String,
}

impl Refusal {
    /// A refusal for `reason`, with what was found.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
        }
    }

    /// The same finding under another reason: who asks knows whose key it is.
    #[must_use]
    pub fn because(self, reason: Reason) -> Self {
        Self { reason, ..self }
    }
}
