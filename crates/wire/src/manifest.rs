//! Manifests: what people say to a server about the devices of a lot.

use serde::{Deserialize, Serialize};

/// Body of `POST /v1/manifests`: a signed manifest is to be read. Lines are sent as they stand in it, without their ends.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenManifest {
    /// First line.
    pub header: String,
    /// Last line but one.
    pub closing: String,
    /// Last line.
    pub seal: String,
    /// One bad line, and none of its devices is expected.
    #[serde(default)]
    pub all_or_nothing: bool,
}

/// Body of `POST /v1/manifests/{id}/lines`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestLines {
    /// Position of the first of them: the first device is 0.
    pub from: u64,
    /// Lines of devices, in their order.
    pub lines: Vec<String>,
}

/// Body of `POST /v1/manifests/{id}/withdrawal`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WithdrawManifest {
    /// Why, for the record: 1 to 500 characters.
    pub reason: String,
}

/// A manifest that a server has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Its number.
    pub id: i64,
    /// `open`: it is being read. `complete`: its good lines are expected. `refused`: a bad line where none may be, or lines
    /// that are not the signed ones. `withdrawn`: taken back.
    pub state: String,
    /// `lot`, `transfer` or `repair`.
    pub kind: String,
    /// Name of the lot.
    pub lot: String,
    /// Who made the devices, or handed them on.
    pub maker: String,
    /// For whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// When it was made, seconds since 1970-01-01T00:00:00Z.
    pub made_at: i64,
    /// Root over header and devices, lower-case hex.
    pub root: String,
    /// SHA-256 of the SubjectPublicKeyInfo of the key that signed it, lower-case hex.
    pub signer_sha256: String,
    /// Devices it has.
    pub entries: u64,
    /// Lines that were read: the next one has this position.
    pub lines_read: u64,
    /// Of them, refused.
    pub lines_refused: u64,
    /// One refused line, and none of them is expected.
    pub all_or_nothing: bool,
    /// Who imported it.
    pub imported_by: String,
    /// When that was begun.
    pub imported_at: i64,
}

/// Answer to `GET /v1/manifests`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestPage {
    /// Newest first.
    pub items: Vec<Manifest>,
    /// Give this as `cursor` for the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A line that was refused.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusedLine {
    /// Position of the device, from 0; in the file it is line `position + 2`.
    pub position: i64,
    /// Why.
    pub reason: String,
}

/// Answer to `GET /v1/manifests/{id}/refusals`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusedLines {
    /// In their order.
    pub items: Vec<RefusedLine>,
    /// Give this as `cursor` for the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
