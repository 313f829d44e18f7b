//! What the record holds behind an entry of the ledger, over the administration socket: for whoever audits.

use serde::{Deserialize, Serialize};

use crate::Bytes;
use crate::admin::AuditEntry;

/// Answer to `GET /v1/ledger/entries/{place}`. Nothing in it is believed: the entry says what it must be.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Behind {
    /// The entry, as the tables have it.
    pub entry: Bytes,
    /// Of a certificate: it, DER.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Bytes>,
    /// Of a certificate: issuing CA first, root last, DER.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issuers: Vec<Bytes>,
    /// Of a certificate that stands on evidence: its bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<Bytes>,
    /// Of a certificate whose evidence was erased: where that is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erased: Option<ErasedAt>,
    /// Of a certificate, or a step of one: every step, as the tables have them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepTaken>,
    /// Of audit records: what hides them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<Bytes>,
    /// Of audit records: they.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<AuditEntry>,
    /// Of what the CA stands on: the archived text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Bytes>,
}

/// Where an erasure is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErasedAt {
    /// Number of the row that was emptied: the record's `after` is the SHA-256 of the emptied row: number, tab, `\\x`
    /// and the evidence's SHA-256, tab, `\\x`.
    pub row: i64,
    /// Place of the entry that holds the record; absent while it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<u64>,
}

/// A step of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepTaken {
    /// `revoked`, `on_hold` or `released`.
    pub state: String,
    /// Why, as CRLs have it.
    pub reason: String,
    /// When, unix seconds.
    pub at: i64,
}
