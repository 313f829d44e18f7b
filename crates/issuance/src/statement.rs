//! Statements: what a key of this house signs beside certificates, CRLs and OCSP answers. Never bytes of somebody's choice:
//! a fixed first line that says what it is, then a hash.

use crate::SignFailure;
use crate::key::{CaKey, SignatureAlgorithm, ToSign};
use crate::verify::Verifier;

/// What is said. Each kind has a first line of its own, so a signature over one is none over another; and no first line
/// begins with the tag of a SEQUENCE, so none of them is a certificate, CRL or OCSP answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statement {
    /// The manifest of a lot; the hash is that of its closing line.
    Manifest,
}

impl Statement {
    /// The exact bytes that are signed: first line, hash in lower-case hex, line end.
    #[must_use]
    pub fn bytes(self, digest: &[u8; 32]) -> Vec<u8> {
        let first = match self {
            Self::Manifest => "holdfast manifest v1",
        };
        format!("{first}\n{}\n", hex::encode(digest)).into_bytes()
    }

    /// Sign, and check what came back by the key's own SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// [`SignFailure`].
    pub fn sign(self, digest: &[u8; 32], key: &dyn CaKey) -> Result<Vec<u8>, SignFailure> {
        let bytes = self.bytes(digest);
        let verifier = Verifier::new(key.algorithm(), key.spki()).map_err(|e| SignFailure::WrongKey(e.to_string()))?;
        let signature = key.sign(ToSign(&bytes))?;
        verifier.verify(&bytes, &signature).map_err(|_| SignFailure::Corrupt)?;
        Ok(signature)
    }

    /// Whether `signature` is one of this key (SubjectPublicKeyInfo, DER) over this statement.
    #[must_use]
    pub fn is_signed(self, digest: &[u8; 32], algorithm: SignatureAlgorithm, spki: &[u8], signature: &[u8]) -> bool {
        let verifier = Verifier::new(algorithm, spki);
        verifier.is_ok_and(|key| key.verify(&self.bytes(digest), signature).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkey::SoftKey;

    #[test]
    fn a_statement_is_never_a_certificate() {
        let first = Statement::Manifest.bytes(&[0x30; 32]).first().copied();
        assert_eq!(first, Some(b'h'), "no SEQUENCE");
    }

    #[test]
    fn a_signature_is_good_for_this_hash_this_key_and_this_algorithm() {
        let key = SoftKey::numbered(SignatureAlgorithm::EcdsaP256Sha256, 0);
        let other = SoftKey::numbered(SignatureAlgorithm::EcdsaP256Sha256, 1);
        let signature = Statement::Manifest.sign(&[7; 32], &key).unwrap();
        let good = |digest: &[u8; 32], algorithm, spki: &[u8], signature: &[u8]| {
            Statement::Manifest.is_signed(digest, algorithm, spki, signature)
        };
        let p256 = SignatureAlgorithm::EcdsaP256Sha256;
        assert!(good(&[7; 32], p256, key.spki(), &signature));
        assert!(!good(&[8; 32], p256, key.spki(), &signature));
        assert!(!good(&[7; 32], p256, other.spki(), &signature));
        assert!(!good(
            &[7; 32],
            SignatureAlgorithm::EcdsaP384Sha384,
            key.spki(),
            &signature
        ));
        for octet in 0..signature.len() {
            let mut flipped = signature.clone();
            flipped[octet] ^= 1;
            assert!(!good(&[7; 32], p256, key.spki(), &flipped), "{octet}");
        }
    }
}
