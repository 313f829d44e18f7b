//! What is said to the record about manifests, and what it answers.

use crate::StoreError;

/// Where a manifest stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestState {
    /// It is being read; nothing is expected yet.
    Open,
    /// It was read to its end; its good lines are expected.
    Complete,
    /// A bad line where none may be, or lines that are not the signed ones: nothing of it is expected.
    Refused,
    /// Taken back: what has not come is not expected any more.
    Withdrawn,
}

impl ManifestState {
    /// As it is stored and told.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Complete => "complete",
            Self::Refused => "refused",
            Self::Withdrawn => "withdrawn",
        }
    }

    pub(super) fn from_text(text: &str) -> Option<Self> {
        [Self::Open, Self::Complete, Self::Refused, Self::Withdrawn]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// A signed manifest that is to be read.
#[derive(Clone, Debug)]
pub struct NewManifest {
    /// Root over header and devices.
    pub root: [u8; 32],
    /// SHA-256 of the SubjectPublicKeyInfo of the key whose signature was verified.
    pub signer_sha256: [u8; 32],
    /// `lot`, `transfer` or `repair`.
    pub kind: &'static str,
    /// Name of the lot.
    pub lot: String,
    /// First line.
    pub header: String,
    /// Last line: the signature.
    pub seal: String,
    /// Devices it has.
    pub entries: u64,
    /// One bad line, and none of them is expected.
    pub all_or_nothing: bool,
    /// The tree over the header.
    pub tree: Vec<u8>,
}

/// A manifest on record.
#[derive(Clone, Debug)]
pub struct ManifestRow {
    /// Its number.
    pub id: i64,
    /// Root over header and devices.
    pub root: [u8; 32],
    /// SHA-256 of the SubjectPublicKeyInfo of the key that signed it.
    pub signer_sha256: [u8; 32],
    /// `lot`, `transfer` or `repair`.
    pub kind: String,
    /// First line.
    pub header: String,
    /// Devices it has.
    pub entries: u64,
    /// One bad line, and none of them is expected.
    pub all_or_nothing: bool,
    /// Who imported it.
    pub imported_by: String,
    /// When it was begun, unix seconds.
    pub imported_at: i64,
    /// Where it stands.
    pub state: ManifestState,
    /// Lines of devices that were read.
    pub lines_read: u64,
    /// Of them, refused.
    pub lines_refused: u64,
    /// The tree over what was read.
    pub tree: Vec<u8>,
    /// Serial of the last good line; at first empty.
    pub last_serial: String,
}

/// Some lines of a manifest, read.
#[derive(Clone, Debug)]
pub struct ManifestPart {
    /// Number of the manifest.
    pub manifest: i64,
    /// Position of the first line.
    pub from: u64,
    /// The lines in their order: a device, or why the line is none.
    pub lines: Vec<Result<NewExpected, String>>,
    /// The tree after the last of them.
    pub tree: Vec<u8>,
    /// Root of that tree: at the end it is that of the manifest.
    pub root: [u8; 32],
    /// Serial of the last good line.
    pub last_serial: String,
}

/// A device of a manifest.
#[derive(Clone, Debug)]
pub struct NewExpected {
    /// Serial: its name in the inventory.
    pub serial: String,
    /// SHA-256 of the SubjectPublicKeyInfo of each EK.
    pub ek: Vec<[u8; 32]>,
    /// The same of those that went with a repair.
    pub was: Vec<[u8; 32]>,
    /// SHA-256 of each certificate of its IAK.
    pub iak: Vec<[u8; 32]>,
    /// SHA-256 of each of its IDevID certificates.
    pub idevid: Vec<[u8; 32]>,
}

/// A line of a manifest: what it says about a device that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestEntry {
    /// Serial: the device's name in the inventory.
    pub serial: String,
    /// Number of the manifest.
    pub manifest: i64,
    /// Position of the line; the first device is 0.
    pub position: u64,
    /// Lot.
    pub lot: String,
    /// SHA-256 of the SubjectPublicKeyInfo of each EK.
    pub ek: Vec<[u8; 32]>,
    /// SHA-256 of each certificate of its IAK that the line names.
    pub iak: Vec<[u8; 32]>,
    /// SHA-256 of each of its IDevID certificates that the line names.
    pub idevid: Vec<[u8; 32]>,
}

/// A device that a manifest says will come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedDevice {
    /// Serial: its name in the inventory.
    pub serial: String,
    /// Number of the manifest.
    pub manifest: i64,
    /// Lot.
    pub lot: String,
}

/// Why a manifest was not read on.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ManifestError {
    /// There is no such manifest.
    #[error("there is no such manifest")]
    NotFound,
    /// The signer named this lot before, and said something else.
    #[error("lot `{lot}` of this signer is manifest {id}, and that one has another root")]
    LotTaken {
        /// Its name.
        lot: String,
        /// The manifest that has it.
        id: i64,
    },
    /// It was begun on other terms.
    #[error("it was begun as manifest {0}, {1}: go on so, or withdraw it first")]
    OtherTerms(i64, &'static str),
    /// Another part comes next.
    #[error("the next line is {0}")]
    OutOfStep(u64),
    /// It is not open any more.
    #[error("it is {}", .0.as_str())]
    Closed(ManifestState),
    /// Storage.
    #[error(transparent)]
    Store(#[from] StoreError),
}
