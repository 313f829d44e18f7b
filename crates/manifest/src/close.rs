//! The last two lines: what all the others come to, and who says so.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::{BadLine, Hash, digest, exactly, spelled, text};

/// The last line but one: how many devices, and the root over all lines above it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closing {
    /// Devices.
    pub entries: u64,
    root: String,
}

impl Closing {
    /// Of a tree with this root over the header and so many devices.
    #[must_use]
    pub fn new(entries: u64, root: &Hash) -> Self {
        Self {
            entries,
            root: hex::encode(root),
        }
    }

    /// Read the line.
    ///
    /// # Errors
    /// [`BadLine`].
    pub fn parse(line: &[u8]) -> Result<Self, BadLine> {
        let closing: Self = exactly(line)?;
        digest("root", &closing.root)?;
        Ok(closing)
    }

    /// The line.
    ///
    /// # Errors
    /// Never.
    pub fn line(&self) -> Result<Vec<u8>, BadLine> {
        spelled(self)
    }

    /// Root over header and devices, lower-case hex: the name of this manifest.
    #[must_use]
    pub fn root(&self) -> &str {
        &self.root
    }

    /// SHA-256 of the line: what a signature of a manifest stands on.
    ///
    /// # Errors
    /// Never.
    pub fn digest(&self) -> Result<Hash, BadLine> {
        Ok(openssl::sha::sha256(&self.line()?))
    }
}

/// The last line: signature and key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    /// Signature algorithm, as `ca-cli` names them.
    pub algorithm: String,
    key: String,
    signature: String,
}

impl Seal {
    /// Of a key (SubjectPublicKeyInfo, DER) and its signature.
    #[must_use]
    pub fn new(algorithm: &str, spki: &[u8], signature: &[u8]) -> Self {
        Self {
            algorithm: algorithm.to_owned(),
            key: STANDARD.encode(spki),
            signature: STANDARD.encode(signature),
        }
    }

    /// Read the line.
    ///
    /// # Errors
    /// [`BadLine`].
    pub fn parse(line: &[u8]) -> Result<Self, BadLine> {
        let seal: Self = exactly(line)?;
        text("algorithm", &seal.algorithm, 64)?;
        for (what, value) in [("key", &seal.key), ("signature", &seal.signature)] {
            let bytes = STANDARD.decode(value).ok().filter(|b| !b.is_empty());
            bytes.ok_or_else(|| BadLine(format!("{what}: base64")))?;
        }
        Ok(seal)
    }

    /// The line.
    ///
    /// # Errors
    /// Never.
    pub fn line(&self) -> Result<Vec<u8>, BadLine> {
        spelled(self)
    }

    /// SubjectPublicKeyInfo of the key that it says has signed, DER. A claim: compare it with a key that is believed.
    #[must_use]
    pub fn spki(&self) -> Vec<u8> {
        STANDARD.decode(&self.key).unwrap_or_default()
    }

    /// The signature.
    #[must_use]
    pub fn signature(&self) -> Vec<u8> {
        STANDARD.decode(&self.signature).unwrap_or_default()
    }
}
