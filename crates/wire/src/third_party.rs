//! Third-party issuance: enrollments and renewals on the word of the device's manufacturer.
//!
//! `POST /v1/iak-enrollments` and `POST /v1/iak-enrollments/{id}/certification`; of a renewal `/v1/iak-renewals`, both with
//! the current certificate in TLS. The ids name enrollments in `GET /v1/enrollments/{id}`, the answer of a certification is
//! an [`crate::enrollment::EnrollmentResult`].

use serde::{Deserialize, Serialize};

use crate::enrollment::{AgentInfo, EnrollmentState};
use crate::{Bytes, EnrollmentId};

/// Body of `POST /v1/iak-enrollments`. Answered by [`IakChallenge`]; leaves nothing on the server.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IakEnrollmentRequest {
    /// Profile wanted for the identity key, for example `device-ldevid`.
    pub profile: String,
    /// Profile wanted for a new attestation key in the same conversation, for example `device-lak`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attestation_profile: Option<String>,
    /// Name the device believes it has. A claim: the inventory decides, and a different name is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// What the manufacturer says.
    pub iak: IakCredentials,
    /// What software speaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentInfo>,
}

/// The initial attestation key, and the certificates that vouch for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IakCredentials {
    /// The IAK's certificate, DER.
    pub certificate: Bytes,
    /// The IDevID certificate of the same device, DER; for the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idevid: Option<Bytes>,
    /// Certificates of the manufacturer's CAs, DER, any order. Path-building material, never anchors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<Bytes>,
    /// The IAK's public area: `TPMT_PUBLIC`, without the TPM2B size.
    pub public: Bytes,
}

/// Answer to `POST /v1/iak-enrollments` and `POST /v1/iak-renewals` (201).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IakChallenge {
    /// Names this enrollment in the URL of the certification.
    pub id: EnrollmentId,
    /// Always [`EnrollmentState::Challenged`].
    pub state: EnrollmentState,
    /// Server clock, seconds since 1970-01-01T00:00:00Z.
    pub server_time: i64,
    /// After this server time the certification is refused (410), seconds since 1970-01-01T00:00:00Z.
    pub expires_at: i64,
    /// 32 bytes that go into the qualifying data of each `TPM2_Certify`.
    pub nonce: Bytes,
    /// Sealed server state; sent back unchanged. Opaque.
    pub ticket: Bytes,
}

/// Body of the certification.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificationRequest {
    /// [`IakChallenge::ticket`], unchanged.
    pub ticket: Bytes,
    /// The identity key, and what the IAK says of it.
    pub key: CertifiedKey,
    /// The new attestation key; if and only if a profile for it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attestation_key: Option<CertifiedKey>,
    /// PKCS#10 request, DER, signed by the identity key.
    pub csr: Bytes,
}

/// A key, and the IAK's `TPM2_Certify` of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertifiedKey {
    /// `TPMT_PUBLIC`, without the TPM2B size.
    pub public: Bytes,
    /// `TPMS_ATTEST`, without the TPM2B size.
    pub attest: Bytes,
    /// `TPMT_SIGNATURE`.
    pub signature: Bytes,
}

/// Body of `POST /v1/iak-renewals`. Which certificate, device and IAK, the server knows from the certificate in the TLS
/// handshake and from its record.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IakRenewalRequest {
    /// Certificates of the manufacturer's CAs that came since, DER; those of the enrollment are on record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<Bytes>,
    /// What software speaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentInfo>,
}

/// The manufacturer's certificate on which a certificate stands, as the record has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IakProof {
    /// SHA-256 of the IAK's certificate, lower-case hex.
    pub certificate_sha256: String,
    /// SHA-256 of its SubjectPublicKeyInfo, lower-case hex.
    pub spki_sha256: String,
    /// Name of its issuer, DER.
    pub issuer: Bytes,
    /// Its serial number, lower-case hex.
    pub serial: String,
    /// SHA-256 of the IDevID certificate that was shown beside it, lower-case hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idevid_sha256: Option<String>,
    /// SHA-256 of the EK's SubjectPublicKeyInfo, by the word of the IAK's issuer; lower-case hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ek_spki_sha256: Option<String>,
    /// Name of the manufacturer's anchor.
    pub anchor: String,
    /// Assurance level in words.
    pub assurance: String,
    /// Number of the manifest that names what was shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<i64>,
    /// The device's line in the file of that manifest; the first line is 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_line: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_can_be_claimed_in_a_renewal() {
        assert!(crate::parse::<IakRenewalRequest>(b"{}").is_ok());
        for body in [r#"{"device":"other"}"#, r#"{"iak":{}}"#, r#"{"profile":"x"}"#] {
            assert!(crate::parse::<IakRenewalRequest>(body.as_bytes()).is_err(), "{body}");
        }
    }
}
