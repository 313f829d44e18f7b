//! RFC 7512 PKCS#11 URIs.

/// A parsed `pkcs11:` URI. A `pin-value` is an error, with the fix in it: secrets have no place in configuration.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Pkcs11Uri {
    /// `token`: label.
    pub token: Option<String>,
    /// `serial`: token serial number.
    pub serial: Option<String>,
    /// `manufacturer`.
    pub manufacturer: Option<String>,
    /// `model`.
    pub model: Option<String>,
    /// `object`: label of the key.
    pub object: Option<String>,
    /// `id`: CKA_ID.
    pub id: Option<Vec<u8>>,
    /// `module-path`.
    pub module_path: Option<std::path::PathBuf>,
}

/// Text that is not an acceptable `pkcs11:` URI.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UriError(pub String);

impl core::str::FromStr for Pkcs11Uri {
    type Err = UriError;
    fn from_str(_text: &str) -> Result<Self, Self::Err> {
        todo!()
    }
}
