//! Certificate profiles: `RawProfile` (the TOML as written) -> [`Profile`] (validated).

use std::sync::Arc;

/// What a profile is for; fixes what no TOML may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProfileKind {
    /// Self-signed root.
    Root,
    /// Issuing CA, pathLen 0.
    Issuing,
    /// Initial attestation key (TCG IAK).
    DeviceIak,
    /// Initial device identity (IEEE 802.1AR IDevID).
    DeviceIdevid,
    /// Local device identity (LDevID).
    DeviceLdevid,
    /// A service: TLS server and client.
    Service,
    /// `ca-server`'s own TLS certificate.
    ServerTls,
}

/// A validated profile. Private fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    pub(crate) name: String,
    pub(crate) kind: ProfileKind,
    pub(crate) sha256: [u8; 32],
    pub(crate) lifetime: Option<i64>,
    pub(crate) organization: Option<String>,
    pub(crate) extended_key_usage: Vec<const_oid::ObjectIdentifier>,
    pub(crate) backdate: i64,
}

/// What is wrong with a profile, with its place.
#[derive(Debug, Clone, thiserror::Error)]
#[error("profile `{file}`: {message}")]
pub struct ProfileError {
    /// File name.
    pub file: String,
    /// Message with line, caret and suggestion.
    pub message: String,
}

/// The profiles of one CA, by name.
#[derive(Debug, Clone)]
pub struct Profiles {
    pub(crate) by_name: Vec<Arc<Profile>>,
}

impl Profile {
    /// Parse and validate one TOML file.
    ///
    /// # Errors
    /// [`ProfileError`].
    pub fn parse(_file: &str, _toml: &str) -> Result<Self, ProfileError> {
        todo!()
    }
    /// Name, as requests use it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
    /// What it is for.
    #[must_use]
    pub fn kind(&self) -> ProfileKind {
        self.kind
    }
    /// SHA-256 of the TOML as read; stored with each intent.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }
    /// Lifetime in seconds; `None` means never expires.
    #[must_use]
    pub fn lifetime(&self) -> Option<i64> {
        self.lifetime
    }
    /// Extended key usages, in order; empty means no extension.
    #[must_use]
    pub fn extended_key_usage(&self) -> &[const_oid::ObjectIdentifier] {
        &self.extended_key_usage
    }
}

impl Profiles {
    /// The profiles shipped in `policies/profiles/`.
    ///
    /// # Errors
    /// [`ProfileError`]; a test shows there is none.
    pub fn builtin() -> Result<Self, ProfileError> {
        todo!()
    }
    /// From `(file name, TOML)` pairs; names must be unique.
    ///
    /// # Errors
    /// [`ProfileError`].
    pub fn from_sources(_sources: &[(String, String)]) -> Result<Self, ProfileError> {
        todo!()
    }
    /// By name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Profile>> {
        self.by_name.iter().find(|p| p.name == name)
    }
    /// All, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Profile>> {
        self.by_name.iter()
    }
}
