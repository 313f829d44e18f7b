//! Evidence bundles, over the administration socket.

use serde::{Deserialize, Serialize};

/// Media type of a bundle: `GET /v1/certificates/{serial}/bundle`.
pub const BUNDLE_TYPE: &str = "application/x-tar";

/// Body of `POST /v1/certificates/{serial}/evidence-erasure`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EraseEvidence {
    /// Why, for the record: 1 to 500 characters.
    pub reason: String,
}

/// Answer to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErasedEvidence {
    /// Serials of the certificates that stood on what was erased, lower-case hex.
    pub serials: Vec<String>,
}
