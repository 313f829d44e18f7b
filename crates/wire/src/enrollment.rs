//! `POST /v1/enrollments` and `POST /v1/enrollments/{id}/activation`.

use crate::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// 128 random bits that name one enrollment; written `enr_` and 32 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EnrollmentId(pub [u8; 16]);

impl core::fmt::Display for EnrollmentId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "enr_{}", hex::encode(self.0))
    }
}

/// Text that is not an [`EnrollmentId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnEnrollmentId;

impl core::fmt::Display for NotAnEnrollmentId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("an enrollment id is `enr_` and 32 lower-case hex digits")
    }
}

impl core::error::Error for NotAnEnrollmentId {}

impl core::str::FromStr for EnrollmentId {
    type Err = NotAnEnrollmentId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix("enr_").ok_or(NotAnEnrollmentId)?;
        if digits.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(NotAnEnrollmentId);
        }
        let mut id = [0; 16];
        hex::decode_to_slice(digits, &mut id).map_err(|_| NotAnEnrollmentId)?;
        Ok(Self(id))
    }
}

impl Serialize for EnrollmentId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EnrollmentId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// Body of `POST /v1/enrollments`: what is wanted, and the evidence for it. Answered by [`EnrollmentChallenge`].
///
/// The server keeps nothing between this call and the activation: all it knows travels back in
/// [`EnrollmentChallenge::ticket`], sealed. A repeated call is harmless and gives a new challenge.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrollmentRequest {
    /// Profile wanted for the identity key, for example `device-idevid`.
    pub profile: String,
    /// Profile wanted for the attestation key in the same conversation, for example `device-iak`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attestation_profile: Option<String>,
    /// Name the device believes it has. A claim: the inventory decides, and a different name is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Evidence of the root of trust.
    pub rot: RotEvidence,
    /// What software speaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentInfo>,
}

/// Evidence, by kind of root of trust.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum RotEvidence {
    /// A TPM 2.0.
    #[serde(rename = "tpm20")]
    Tpm20 {
        /// EK certificate, DER exactly as certified (NV padding removed). Left out where the TPM has none: then an
        /// administrator must have vouched for the EK.
        #[serde(default, skip_serializing_if = "none")]
        ek_certificate: Bytes,
        /// Issuing CA certificates the device can offer, DER, any order. Path-building material, never anchors.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ek_chain: Vec<Bytes>,
        /// EK public area: `TPMT_PUBLIC`, without the TPM2B size.
        ek_public: Bytes,
        /// AK public area: `TPMT_PUBLIC`, without the TPM2B size.
        ak_public: Bytes,
    },
}

fn none(bytes: &Bytes) -> bool {
    bytes.0.is_empty()
}

/// What software speaks, for the operator's eyes. Never part of a decision.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentInfo {
    /// Agent version.
    pub version: String,
}

/// Answer to `POST /v1/enrollments` (201).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrollmentChallenge {
    /// Names this enrollment in the URL of the activation.
    pub id: EnrollmentId,
    /// Always [`EnrollmentState::Challenged`].
    pub state: EnrollmentState,
    /// Server clock, seconds since 1970-01-01T00:00:00Z.
    pub server_time: i64,
    /// After this server time the activation is refused (410), seconds since 1970-01-01T00:00:00Z.
    pub expires_at: i64,
    /// The question only the right TPM can answer.
    pub challenge: TpmChallenge,
    /// Sealed server state; sent back unchanged with the activation. Opaque.
    pub ticket: Bytes,
}

/// The question, in the TPM's own structures.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TpmChallenge {
    /// `TPM2B_ID_OBJECT`, size prefix included, as `TPM2_ActivateCredential` takes it.
    pub credential_blob: Bytes,
    /// `TPM2B_ENCRYPTED_SECRET`, size prefix included.
    pub secret: Bytes,
    /// 32 bytes that go into the qualifying data of `TPM2_Certify`.
    pub nonce: Bytes,
}

/// Body of `POST /v1/enrollments/{id}/activation`. Answered by [`EnrollmentResult`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActivationRequest {
    /// [`EnrollmentChallenge::ticket`], unchanged.
    pub ticket: Bytes,
    /// What `TPM2_ActivateCredential` gave back (32 bytes).
    pub secret: Bytes,
    /// Identity key public area: `TPMT_PUBLIC`, without the TPM2B size.
    pub key_public: Bytes,
    /// `TPM2_Certify` of the identity key by the activated AK.
    pub key_certify: KeyCertify,
    /// PKCS#10 request, DER, signed by the identity key.
    pub csr: Bytes,
}

/// A `TPM2_Certify` answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyCertify {
    /// `TPMS_ATTEST`, without the TPM2B size.
    pub attest: Bytes,
    /// `TPMT_SIGNATURE`.
    pub signature: Bytes,
}

/// Where an enrollment stands. Terminal states never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnrollmentState {
    /// A challenge is out.
    Challenged,
    /// The intent is recorded, the signature is under way.
    Verifying,
    /// The certificates exist.
    Issued,
    /// The outcome of the signature is unknown; a person or the recovery job looks after it. Enroll again.
    Orphaned,
}

/// Answer to the activation and to `GET /v1/enrollments/{id}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrollmentResult {
    /// This enrollment.
    pub id: EnrollmentId,
    /// Where it stands.
    pub state: EnrollmentState,
    /// The device's name in the inventory.
    pub device: String,
    /// Certificates issued in this conversation.
    #[serde(default)]
    pub certificates: Vec<IssuedCertificate>,
    /// Issuing CA first, root last, DER.
    #[serde(default)]
    pub chain: Vec<Bytes>,
}

/// One certificate of an enrollment.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuedCertificate {
    /// Profile it was issued under.
    pub profile: String,
    /// Which of the two keys it certifies.
    pub key: KeyRole,
    /// Serial number, lower-case hex, as in the DER content octets.
    pub serial: String,
    /// The certificate, DER.
    pub certificate: Bytes,
    /// Its entry in the ledger; absent when the server signs none, and for certificates of before the ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<LedgerReceipt>,
}

/// That a certificate is in the ledger, or will be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerReceipt {
    /// The leaf: what the ledger says of the certificate.
    pub entry: Bytes,
    /// The promise, a signed note (`holdfast-ledger-promise/v1`): the leaf is in every tree signed after the time it names.
    pub promise: String,
}

/// Which of the keys of one enrollment is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyRole {
    /// The attestation key (AK), proven by credential activation.
    Attestation,
    /// The identity key (IK), certified by the AK.
    Identity,
}

/// Answer to `GET /v1/issuers`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuers {
    /// Name the operator gave this CA.
    pub name: String,
    /// SHA-256 of the root certificate's DER, lower-case hex: what an agent pins.
    pub root_sha256: String,
    /// Issuing CA first, root last, DER.
    pub chain: Vec<Bytes>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_have_one_spelling() {
        let id: EnrollmentId = "enr_000102030405060708090a0b0c0d0e0f".parse().unwrap();
        assert_eq!(id.0, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        for text in [
            "",
            "enr_",
            "000102030405060708090a0b0c0d0e0f",
            "enr_000102030405060708090A0B0C0D0E0F",
            "ENR_000102030405060708090a0b0c0d0e0f",
            "enr_000102030405060708090a0b0c0d0e0",
            "enr_000102030405060708090a0b0c0d0e0f0",
            "enr_000102030405060708090a0b0c0d0e0f00",
            " enr_000102030405060708090a0b0c0d0e0f",
            "enr_000102030405060708090a0b0c0d0e0f\n",
            "enr_000102030405060708090a0b0c0d0e0g",
            "enr_../../../../../../../../../../../etc",
            "enr_%30%30",
            "enr_0001020304050607\u{ff10}8090a0b0c0d0e0f",
        ] {
            assert_eq!(text.parse::<EnrollmentId>(), Err(NotAnEnrollmentId), "{text:?}");
        }
    }

    #[test]
    fn debug_of_an_activation_shows_no_secret() {
        let request = ActivationRequest {
            ticket: vec![0xaa; 4].into(),
            secret: b"CANARY".to_vec().into(),
            key_public: vec![].into(),
            key_certify: KeyCertify {
                attest: vec![].into(),
                signature: vec![].into(),
            },
            csr: vec![].into(),
        };
        let text = format!("{request:?}");
        assert!(!text.contains("CANARY") && !text.contains("67, 65"));
        assert!(text.contains("Bytes(6 bytes)"));
    }

    proptest! {
        #[test]
        fn ids_round_trip(id: [u8; 16]) {
            prop_assert_eq!(EnrollmentId(id).to_string().parse(), Ok(EnrollmentId(id)));
        }

        #[test]
        fn no_text_panics(text in ".{0,80}") {
            let _ = text.parse::<EnrollmentId>();
        }
    }
}
