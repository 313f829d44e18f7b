//! What the CA checked and decided in one enrollment. One content has one form: compact JSON, members in this order; a
//! reader takes nothing else.

use serde::{Deserialize, Serialize};

/// The first member of every transcript.
pub const TRANSCRIPT_V1: &str = "holdfast-transcript/v1";

/// Longest transcript that is read.
const MAX_BYTES: usize = 64 * 1024;

/// Bytes that are no transcript.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TranscriptError {
    /// Not JSON, or members are missing, unknown or of another kind.
    #[error("not a transcript: {0}")]
    Form(String),
    /// It says it in another way than we write it.
    #[error("the transcript is not written as one is")]
    Encoding,
    /// Of a version that is not known here.
    #[error("the transcript is of version `{0}`, which is not known here")]
    Version(String),
}

/// The transcript of an enrollment or renewal. Digests, ids and Names are lower-case hex; times are unix seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transcript {
    /// [`TRANSCRIPT_V1`].
    pub v: String,
    /// Enrollment id.
    pub enrollment: String,
    /// Nonce of the challenge, out of the CA's random source: known to the CA and the device only, it also keeps the
    /// digest of this transcript from telling anything.
    pub nonce: String,
    /// SHA-256 of the evidence record.
    pub evidence: String,
    /// Which CA, and what ran there.
    pub ca: Ca,
    /// SHA-256 of the archived policy that decided (`policies::ArchivedPolicy`); absent before it was archived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// What the device asked for.
    pub asked: Asked,
    /// When the EK was judged and the challenge made.
    pub challenged_at: i64,
    /// Last second at which an answer was taken.
    pub expires_at: i64,
    /// When the answer was judged.
    pub decided_at: i64,
    /// What the proof stands on.
    pub root: Root,
    /// Name of the device in the inventory.
    pub device: String,
    /// What the inventory said of it; absent before transcripts said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<Inventory>,
    /// Why each certificate was granted; the attestation key's first.
    pub decisions: Vec<Decided>,
    /// SHA-256 of the certificate that was renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewed: Option<String>,
    /// Of a renewal, whether it keeps the key; absent before transcripts said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_key: Option<bool>,
}

/// What the inventory said of the device when it was decided, as far as a decision looks at it. **The CA's word.**
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inventory {
    /// Whether it was bound to this root of trust already; else this was its first contact.
    pub bound: bool,
    /// Whether an administrator held it.
    pub held: bool,
    /// Lot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<String>,
    /// DNS names for services.
    pub dns_names: Vec<String>,
    /// SPIFFE id for services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spiffe_id: Option<String>,
    /// Advisories in spite of which people had let this EK in.
    pub accepted_advisories: Vec<String>,
}

/// Which CA, and what ran there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ca {
    /// Its name.
    pub name: String,
    /// Version of the server.
    pub version: String,
}

/// What the device asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Profile for the identity key.
    pub profile: String,
    /// Profile for the attestation key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attestation_profile: Option<String>,
    /// The name it claimed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

/// What the proof stands on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "basis", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Root {
    /// The endorsement key, with which the AK was activated.
    EkActivation(EkWord),
    /// The manufacturer's IAK.
    IakCertified(IakWord),
}

/// What was found about the EK, and the activation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EkWord {
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub ek_spki_sha256: String,
    /// On whose word it was believed.
    pub word: Word,
    /// Name of the anchor.
    pub anchor: String,
    /// `hardware`, `virtual` or `software`.
    pub kind: String,
    /// Manufacturers the anchor may speak for.
    pub manufacturers: Vec<String>,
    /// Whether expiry refuses below it.
    pub enforce_expiry: bool,
    /// SHA-256 of the CA certificates of the path, anchor first.
    pub path: Vec<String>,
    /// What the anchor let pass.
    pub passed: Vec<String>,
    /// Template of the EK.
    pub template: String,
    /// The level.
    pub assurance: String,
    /// The activation.
    pub activation: Activation,
}

/// On whose word an EK is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// A manufacturer's certificate.
    Chain,
    /// An administrator's.
    AllowList,
    /// People's, in a review.
    Review,
}

/// The activation. **The CA's word**: whoever made the credential knows the secret, so its answer shows nothing to others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Activation {
    /// `TPM2_MakeCredential`.
    pub method: String,
    /// Name of the AK for which the credential was made, with this EK.
    pub ak_name: String,
    /// `secret-returned`: what came back was compared, in constant time, with what was drawn.
    pub answer: String,
}

/// What was found about an IAK.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IakWord {
    /// SHA-256 of its certificate.
    pub iak_certificate_sha256: String,
    /// Name of the anchor.
    pub anchor: String,
    /// SHA-256 of the anchor.
    pub anchor_sha256: String,
    /// The level.
    pub assurance: String,
    /// On what terms the anchor was believed; absent before transcripts said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<IakTerms>,
}

/// On what terms an anchor for IAKs was believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IakTerms {
    /// `hardware`, `virtual` or `software`.
    pub kind: String,
    /// Whether expiry refuses below it.
    pub enforce_expiry: bool,
    /// SHA-256 of the CA certificates above IAK and IDevID, anchor first.
    pub path: Vec<String>,
}

/// Why a certificate was granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decided {
    /// Profile.
    pub profile: String,
    /// SHA-256 of it.
    pub profile_sha256: String,
    /// SHA-256 of the rules.
    pub policy_sha256: String,
    /// Ids of the rules that permitted.
    pub rules: Vec<String>,
    /// Their reasons.
    pub reasons: Vec<String>,
}

impl Transcript {
    /// Its bytes.
    ///
    /// # Errors
    /// [`TranscriptError::Form`]; never for what this type can hold.
    pub fn to_bytes(&self) -> Result<Vec<u8>, TranscriptError> {
        serde_json::to_vec(self).map_err(|e| TranscriptError::Form(e.to_string()))
    }

    /// Read one.
    ///
    /// # Errors
    /// [`TranscriptError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, TranscriptError> {
        if bytes.len() > MAX_BYTES {
            return Err(TranscriptError::Form(format!("longer than {MAX_BYTES} bytes")));
        }
        let read: Self = serde_json::from_slice(bytes).map_err(|e| TranscriptError::Form(e.to_string()))?;
        if read.v != TRANSCRIPT_V1 {
            return Err(TranscriptError::Version(read.v));
        }
        if read.to_bytes()? != bytes {
            return Err(TranscriptError::Encoding);
        }
        Ok(read)
    }
}

/// The CA certificates above an EK as they are stored beside a transcript: each as u32 big-endian length || DER.
#[must_use]
pub fn path_bytes(path: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for der in path {
        out.extend(u32::try_from(der.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(der);
    }
    out
}
