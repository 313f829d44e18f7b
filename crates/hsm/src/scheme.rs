//! The six signature schemes: mechanism, what the token is given, and what it gives back.

use cryptoki::context::Pkcs11;
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismInfo, MechanismType};
use cryptoki::object::KeyType;
use cryptoki::slot::Slot;
use der::asn1::UintRef;
use der::{Encode, Sequence};
use issuance::SignatureAlgorithm;
use openssl::nid::Nid;
use sha2::{Digest as _, Sha256, Sha384};

/// All schemes a CA key may use.
pub(crate) const ALL: [SignatureAlgorithm; 6] = [
    SignatureAlgorithm::EcdsaP256Sha256,
    SignatureAlgorithm::EcdsaP384Sha384,
    SignatureAlgorithm::Rsa3072Pkcs1Sha256,
    SignatureAlgorithm::Rsa4096Pkcs1Sha256,
    SignatureAlgorithm::Rsa3072PssSha256,
    SignatureAlgorithm::Rsa4096PssSha256,
];

/// DER of `DigestInfo` for SHA-256 up to the digest (RFC 8017 §9.2 note 1).
const SHA256_DIGEST_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20,
];

/// A key by what it is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Material {
    /// A named curve; bytes of one coordinate.
    Ec { curve: Nid, coordinate: usize },
    /// Modulus size in bits.
    Rsa { bits: u32 },
}

pub(crate) fn material(algorithm: SignatureAlgorithm) -> Material {
    use SignatureAlgorithm as A;
    match algorithm {
        A::EcdsaP256Sha256 => Material::Ec {
            curve: Nid::X9_62_PRIME256V1,
            coordinate: 32,
        },
        A::EcdsaP384Sha384 => Material::Ec {
            curve: Nid::SECP384R1,
            coordinate: 48,
        },
        A::Rsa3072Pkcs1Sha256 | A::Rsa3072PssSha256 => Material::Rsa { bits: 3072 },
        A::Rsa4096Pkcs1Sha256 | A::Rsa4096PssSha256 => Material::Rsa { bits: 4096 },
    }
}

impl Material {
    pub(crate) fn key_type(self) -> KeyType {
        match self {
            Self::Ec { .. } => KeyType::EC,
            Self::Rsa { .. } => KeyType::RSA,
        }
    }

    /// Key size as mechanism tables count it.
    pub(crate) fn bits(self) -> usize {
        match self {
            Self::Ec { coordinate, .. } => coordinate * 8,
            Self::Rsa { bits } => usize::try_from(bits).unwrap_or(usize::MAX),
        }
    }

    /// Mechanism that makes such a key, with its name.
    pub(crate) fn generation(self) -> (MechanismType, &'static str) {
        match self {
            Self::Ec { .. } => (MechanismType::ECC_KEY_PAIR_GEN, "CKM_EC_KEY_PAIR_GEN"),
            Self::Rsa { .. } => (MechanismType::RSA_PKCS_KEY_PAIR_GEN, "CKM_RSA_PKCS_KEY_PAIR_GEN"),
        }
    }
}

/// Whether the token in `slot` has this mechanism and `can` says yes to what it tells about it.
/// Listed *and* described: a token may go on describing what it was told not to do.
pub(crate) fn able(pkcs11: &Pkcs11, slot: Slot, kind: MechanismType, can: impl Fn(&MechanismInfo) -> bool) -> bool {
    pkcs11.get_mechanism_list(slot).is_ok_and(|list| list.contains(&kind))
        && pkcs11.get_mechanism_info(slot, kind).is_ok_and(|info| can(&info))
}

/// In words, for people.
pub(crate) fn name(algorithm: SignatureAlgorithm) -> &'static str {
    use SignatureAlgorithm as A;
    match algorithm {
        A::EcdsaP256Sha256 => "ECDSA P-256 SHA-256",
        A::EcdsaP384Sha384 => "ECDSA P-384 SHA-384",
        A::Rsa3072Pkcs1Sha256 => "RSA-3072 PKCS#1 v1.5 SHA-256",
        A::Rsa4096Pkcs1Sha256 => "RSA-4096 PKCS#1 v1.5 SHA-256",
        A::Rsa3072PssSha256 => "RSA-3072 PSS SHA-256",
        A::Rsa4096PssSha256 => "RSA-4096 PSS SHA-256",
    }
}

/// The signing mechanism. Always one that takes a digest: hashing on the token is slower, not universal
/// (CKM_ECDSA_SHA256 is missing from SoftHSM), and has returned bad signatures over long inputs.
pub(crate) fn mechanism(algorithm: SignatureAlgorithm) -> (Mechanism<'static>, &'static str) {
    use SignatureAlgorithm as A;
    match algorithm {
        A::EcdsaP256Sha256 | A::EcdsaP384Sha384 => (Mechanism::Ecdsa, "CKM_ECDSA"),
        A::Rsa3072Pkcs1Sha256 | A::Rsa4096Pkcs1Sha256 => (Mechanism::RsaPkcs, "CKM_RSA_PKCS"),
        A::Rsa3072PssSha256 | A::Rsa4096PssSha256 => {
            let parameters = PkcsPssParams {
                hash_alg: MechanismType::SHA256,
                mgf: PkcsMgfType::MGF1_SHA256,
                s_len: 32.into(),
            };
            (Mechanism::RsaPkcsPss(parameters), "CKM_RSA_PKCS_PSS")
        }
    }
}

/// What the token signs: the digest, wrapped in a `DigestInfo` for PKCS#1 v1.5.
pub(crate) fn input(algorithm: SignatureAlgorithm, message: &[u8]) -> Vec<u8> {
    use SignatureAlgorithm as A;
    match algorithm {
        A::EcdsaP384Sha384 => Sha384::digest(message).to_vec(),
        A::EcdsaP256Sha256 | A::Rsa3072PssSha256 | A::Rsa4096PssSha256 => Sha256::digest(message).to_vec(),
        A::Rsa3072Pkcs1Sha256 | A::Rsa4096Pkcs1Sha256 => [&SHA256_DIGEST_INFO[..], &Sha256::digest(message)].concat(),
    }
}

/// The one length [`input`] may have. Tokens cut a longer ECDSA input in silence, so it is asserted before the call.
pub(crate) fn input_length(algorithm: SignatureAlgorithm) -> usize {
    use SignatureAlgorithm as A;
    match algorithm {
        A::EcdsaP256Sha256 | A::Rsa3072PssSha256 | A::Rsa4096PssSha256 => 32,
        A::EcdsaP384Sha384 => 48,
        A::Rsa3072Pkcs1Sha256 | A::Rsa4096Pkcs1Sha256 => SHA256_DIGEST_INFO.len() + 32,
    }
}

/// `ECDSA-Sig-Value`, RFC 3279 §2.2.3.
#[derive(Sequence)]
struct EcdsaSigValue<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}

/// The signature as certificates carry it: raw `r || s` becomes DER `ECDSA-Sig-Value` (RFC 3279 §2.2.3); RSA as it is.
/// `None` when the token's answer has another length than such a signature has.
pub(crate) fn encode(algorithm: SignatureAlgorithm, raw: Vec<u8>) -> Option<Vec<u8>> {
    match material(algorithm) {
        Material::Ec { coordinate, .. } => {
            let (r, s) = raw
                .split_at_checked(coordinate)
                .filter(|(_, s)| s.len() == coordinate)?;
            let (r, s) = (UintRef::new(r).ok()?, UintRef::new(s).ok()?);
            EcdsaSigValue { r, s }.to_der().ok()
        }
        Material::Rsa { bits } => (raw.len() * 8 == usize::try_from(bits).ok()?).then_some(raw),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_has_its_asserted_length() {
        for algorithm in ALL {
            for message in [&b""[..], b"abc", &[7; 5000]] {
                assert_eq!(
                    input(algorithm, message).len(),
                    input_length(algorithm),
                    "{algorithm:?}"
                );
            }
        }
    }

    #[test]
    fn raw_signatures_become_minimal_der() {
        let p256 = SignatureAlgorithm::EcdsaP256Sha256;
        // r = 1, s with its top bit set.
        let mut raw = vec![0; 64];
        raw[31] = 1;
        raw[32] = 0x80;
        let der = encode(p256, raw).unwrap();
        assert_eq!(der[..8], [0x30, 0x26, 0x02, 0x01, 0x01, 0x02, 0x21, 0x00]);
        assert_eq!(der.len(), 40);
        for wrong in [0, 63, 65, 96] {
            assert!(encode(p256, vec![1; wrong]).is_none(), "{wrong}");
        }
        assert!(encode(SignatureAlgorithm::EcdsaP384Sha384, vec![1; 64]).is_none());
        assert!(encode(SignatureAlgorithm::EcdsaP384Sha384, vec![1; 96]).is_some());
        assert!(encode(SignatureAlgorithm::Rsa3072PssSha256, vec![1; 384]).is_some());
        assert!(encode(SignatureAlgorithm::Rsa3072PssSha256, vec![1; 383]).is_none());
        assert!(encode(SignatureAlgorithm::Rsa4096Pkcs1Sha256, vec![1; 384]).is_none());
    }
}
