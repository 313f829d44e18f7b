//! A trust store as it travels from the desk to the servers: its bytes, and a signature over exactly these.
//!
//! The signature lies beside the file, `FILE.sig`, in the form `openssl dgst -sha256 -sign` writes: ECDSA over P-256, P-384 or
//! P-521 as DER, or RSA PKCS #1 of 3072 bits and more; always SHA-256. A store begins with `format`, and this key signs nothing else.

use openssl::hash::MessageDigest;
use openssl::pkey::{Id, PKey, Private, Public};
use openssl::sign::{Signer, Verifier};

/// Smallest RSA key.
const MIN_RSA_BITS: u32 = 3072;

/// A key that may sign trust stores.
#[derive(Clone, Debug)]
pub struct TrustKey {
    key: PKey<Public>,
    sha256: [u8; 32],
}

/// A signed store that was verified, as a server remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedBundle {
    /// Name of the file.
    pub file: String,
    /// Word for whose claims it is about: `tpm`, `iak`.
    pub about: &'static str,
    /// Version of the store.
    pub version: u64,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// SHA-256 of the SubjectPublicKeyInfo that signed it.
    pub key_sha256: [u8; 32],
}

/// Why a store is not taken for one that a trusted key signed, or cannot be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// No key that may sign stores.
    #[error("no key that may sign a trust store: {0}")]
    Key(&'static str),
    /// None of the keys made this signature over these bytes.
    #[error("the signature is of none of the keys, or not over these bytes")]
    Signature,
    /// It is older than one that was taken before.
    #[error("version {found} is older than version {known}, which was taken before")]
    Older {
        /// The version of the store at hand.
        found: u64,
        /// The version known.
        known: u64,
    },
    /// It has the version of another one that was taken before.
    #[error("version {0} is another one than the version {0} that was taken before")]
    Other(u64),
}

impl TrustKey {
    /// Read a public key (PEM, SubjectPublicKeyInfo).
    ///
    /// # Errors
    /// [`BundleError::Key`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, BundleError> {
        let key = PKey::public_key_from_pem(pem).map_err(|_| BundleError::Key("not a PEM public key"))?;
        fit(key.id(), key.bits())?;
        let spki = key
            .public_key_to_der()
            .map_err(|_| BundleError::Key("it cannot be written"))?;
        Ok(Self {
            key,
            sha256: attest::sha256(&spki),
        })
    }

    /// SHA-256 of its SubjectPublicKeyInfo.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    fn made(&self, store: &[u8], signature: &[u8]) -> bool {
        Verifier::new(MessageDigest::sha256(), &self.key)
            .and_then(|mut verifier| verifier.verify_oneshot(signature, store))
            .unwrap_or(false)
    }
}

fn fit(id: Id, bits: u32) -> Result<(), BundleError> {
    match id {
        Id::RSA if bits < MIN_RSA_BITS => Err(BundleError::Key("RSA below 3072 bits")),
        Id::EC if bits < 256 => Err(BundleError::Key("a curve below 256 bits")),
        Id::RSA | Id::EC => Ok(()),
        _ => Err(BundleError::Key("ECDSA or RSA is wanted")),
    }
}

/// Which of the keys signed these bytes.
///
/// # Errors
/// [`BundleError::Signature`].
pub fn signed_by<'a>(store: &[u8], signature: &[u8], keys: &'a [TrustKey]) -> Result<&'a TrustKey, BundleError> {
    keys.iter()
        .find(|key| key.made(store, signature))
        .ok_or(BundleError::Signature)
}

/// Sign the bytes of a store.
///
/// # Errors
/// [`BundleError::Key`].
pub fn sign(store: &[u8], key: &PKey<Private>) -> Result<Vec<u8>, BundleError> {
    fit(key.id(), key.bits())?;
    Signer::new(MessageDigest::sha256(), key)
        .and_then(|mut signer| signer.sign_oneshot_to_vec(store))
        .map_err(|_| BundleError::Key("it does not sign"))
}

impl SignedBundle {
    /// What a server calls the row of bundles that this one is of: whose claims, and whose signature.
    #[must_use]
    pub fn row(&self) -> String {
        format!("trust:{}:{}", self.about, hex::encode(self.key_sha256))
    }

    /// Whether it may follow the bundle of this version and SHA-256: a newer one, or the same.
    ///
    /// # Errors
    /// [`BundleError::Older`], [`BundleError::Other`].
    pub fn may_follow(&self, version: u64, sha256: &[u8; 32]) -> Result<(), BundleError> {
        if self.version < version {
            return Err(BundleError::Older {
                found: self.version,
                known: version,
            });
        }
        if self.version == version && self.sha256 != *sha256 {
            return Err(BundleError::Other(version));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openssl::ec::{EcGroup, EcKey};
    use openssl::nid::Nid;
    use openssl::rsa::Rsa;

    fn key() -> (PKey<Private>, TrustKey) {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
        let public = TrustKey::from_pem(&key.public_key_to_pem().unwrap()).unwrap();
        (key, public)
    }

    #[test]
    fn one_of_the_keys_signed_exactly_these_bytes() {
        let ((private, public), (_, other)) = (key(), key());
        let store = b"format = 1\nversion = 3\n";
        let signature = sign(store, &private).unwrap();
        let keys = [other.clone(), public.clone()];
        assert_eq!(signed_by(store, &signature, &keys).unwrap().sha256(), public.sha256());
        assert_eq!(
            signed_by(store, &signature, &[other]).unwrap_err(),
            BundleError::Signature
        );
        let public = [public];
        for at in 0..store.len() {
            let mut changed = store.to_vec();
            changed[at] ^= 1;
            assert!(signed_by(&changed, &signature, &public).is_err(), "{at}");
        }
        for at in 0..signature.len() {
            let mut changed = signature.clone();
            changed[at] ^= 1;
            assert!(signed_by(store, &changed, &public).is_err(), "{at}");
        }
        assert!(signed_by(store, b"", &public).is_err());
    }

    #[test]
    fn weak_and_other_keys_do_not_sign() {
        let rsa = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        assert_eq!(sign(b"x", &rsa).unwrap_err(), BundleError::Key("RSA below 3072 bits"));
        let pem = rsa.public_key_to_pem().unwrap();
        assert_eq!(
            TrustKey::from_pem(&pem).unwrap_err(),
            BundleError::Key("RSA below 3072 bits")
        );
        let ed = PKey::generate_ed25519().unwrap();
        assert_eq!(sign(b"x", &ed).unwrap_err(), BundleError::Key("ECDSA or RSA is wanted"));
        assert!(TrustKey::from_pem(b"no key").is_err());
    }

    #[test]
    fn an_older_version_never_follows_nor_another_of_the_same() {
        let bundle = |version, sha256| SignedBundle {
            file: "store.toml".into(),
            about: "tpm",
            version,
            sha256: [sha256; 32],
            key_sha256: [7; 32],
        };
        assert_eq!(bundle(8, 1).may_follow(7, &[2; 32]), Ok(()));
        assert_eq!(bundle(7, 2).may_follow(7, &[2; 32]), Ok(()));
        assert_eq!(bundle(7, 1).may_follow(7, &[2; 32]), Err(BundleError::Other(7)));
        let older = BundleError::Older { found: 6, known: 7 };
        assert_eq!(bundle(6, 2).may_follow(7, &[2; 32]), Err(older));
    }
}
