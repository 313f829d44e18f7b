//! The file of a wrapped backup: the wrapped key, and what a restored one is compared with. Worth nothing without shares.

use issuance::SignatureAlgorithm;
use openssl::base64;

use crate::Sha256;
use crate::share::Commitment;

/// The first line.
const FORMAT: &str = "holdfast-key-backup-1";
/// The longest backup that is read, in bytes: an RSA-4096 key has about 4000.
const MAX_BACKUP_BYTES: usize = 16 << 10;

/// A key under a wrapping key (RFC 5649 over PKCS#8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyBackup {
    /// Name of the ceremony that made it, and the shares of its wrapping key.
    pub ceremony: String,
    /// Algorithm of the key.
    pub algorithm: SignatureAlgorithm,
    /// Its SubjectPublicKeyInfo, DER.
    pub spki: Vec<u8>,
    /// The split of the wrapping key.
    pub shares: Commitment,
    /// The wrapped key.
    pub wrapped: Vec<u8>,
}

impl KeyBackup {
    /// SHA-256 of its public key, by which plans name it.
    #[must_use]
    pub fn key_sha256(&self) -> Sha256 {
        Sha256::of(&self.spki)
    }

    /// The file.
    #[must_use]
    pub fn text(&self) -> String {
        format!(
            "{FORMAT}\nceremony: {}\nalgorithm: {}\nkey: {}\nshares: {}\nwrapped: {}\n",
            self.ceremony,
            self.algorithm.as_str(),
            base64::encode_block(&self.spki),
            hex::encode(self.shares.0),
            base64::encode_block(&self.wrapped),
        )
    }

    /// Read a backup: exactly the lines that [`KeyBackup::text`] writes. `None` for anything else.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_BACKUP_BYTES {
            return None;
        }
        let mut lines = core::str::from_utf8(bytes).ok()?.split('\n');
        let mut value = |name: &str| lines.next()?.strip_prefix(name);
        value(FORMAT)?;
        let ceremony = value("ceremony: ")?.to_owned();
        let algorithm = SignatureAlgorithm::from_text(value("algorithm: ")?)?;
        let spki = base64::decode_block(value("key: ")?).ok()?;
        let mut shares = [0; 16];
        hex::decode_to_slice(value("shares: ")?, &mut shares).ok()?;
        let wrapped = base64::decode_block(value("wrapped: ")?).ok()?;
        let backup = Self {
            ceremony,
            algorithm,
            spki,
            shares: Commitment(shares),
            wrapped,
        };
        (backup.text().as_bytes() == bytes).then_some(backup)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_backup_has_one_spelling() {
        let backup = KeyBackup {
            ceremony: "root-r1".into(),
            algorithm: SignatureAlgorithm::EcdsaP384Sha384,
            spki: vec![1; 120],
            shares: Commitment([2; 16]),
            wrapped: vec![3; 88],
        };
        let text = backup.text();
        assert_eq!(KeyBackup::parse(text.as_bytes()), Some(backup));
        for end in 0..text.len() {
            assert_eq!(KeyBackup::parse(&text.as_bytes()[..end]), None);
        }
        for spoilt in [
            text.replace('\n', "\r\n"),
            format!("{text}\n"),
            text.replace("shares: 02", "shares: 0A"),
            text.replace("key: ", "key:  "),
            text.replace("algorithm: ecdsa-p384-sha384", "algorithm: none"),
            text.replace("-1\n", "-2\n"),
        ] {
            assert_ne!(spoilt, text);
            assert_eq!(KeyBackup::parse(spoilt.as_bytes()), None, "{spoilt}");
        }
        assert_eq!(KeyBackup::parse(&vec![b'a'; MAX_BACKUP_BYTES + 1]), None);
    }
}
