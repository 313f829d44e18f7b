//! Keys, and signature algorithms good and bad.

use super::{oid, seq, tlv};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use openssl::rsa::{Padding, Rsa};
use openssl::sign::{RsaPssSaltlen, Signer};

/// What kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// RSA with a modulus of so many bits.
    Rsa(u32),
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// NIST P-521.
    P521,
    /// secp256k1: a curve that nobody wants.
    K256,
}

/// A private key.
#[derive(Clone, Debug)]
pub struct Key(pub PKey<Private>);

impl Key {
    /// A new key.
    pub fn new(kind: Kind) -> Self {
        let nid = match kind {
            Kind::Rsa(size) => return Self(PKey::from_rsa(Rsa::generate(size).unwrap()).unwrap()),
            Kind::P256 => Nid::X9_62_PRIME256V1,
            Kind::P384 => Nid::SECP384R1,
            Kind::P521 => Nid::SECP521R1,
            Kind::K256 => Nid::SECP256K1,
        };
        let group = EcGroup::from_curve_name(nid).unwrap();
        Self(PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap())
    }

    /// SubjectPublicKeyInfo as OpenSSL writes it.
    pub fn spki(&self) -> Vec<u8> {
        self.0.public_key_to_der().unwrap()
    }

    /// The algorithm that suits the key, with SHA-256.
    pub fn algorithm(&self) -> Algorithm {
        match self.0.id() {
            Id::RSA => Algorithm::Sha256Rsa,
            _ => Algorithm::EcdsaSha256,
        }
    }

    /// Sign, whatever `algorithm` says about the hash and padding.
    pub fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
        let mut signer = Signer::new(algorithm.digest(), &self.0).unwrap();
        if let Algorithm::Pss { salt, .. } = algorithm {
            signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
            signer.set_rsa_mgf1_md(algorithm.digest()).unwrap();
            signer.set_rsa_pss_saltlen(RsaPssSaltlen::custom(salt)).unwrap();
        }
        signer.sign_oneshot_to_vec(message).unwrap()
    }
}

/// A signature algorithm, sound or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// md5WithRSAEncryption.
    Md5Rsa,
    /// sha1WithRSAEncryption.
    Sha1Rsa,
    /// sha256WithRSAEncryption.
    Sha256Rsa,
    /// sha384WithRSAEncryption.
    Sha384Rsa,
    /// sha512WithRSAEncryption.
    Sha512Rsa,
    /// RSASSA-PSS with a hash of so many bits and a salt of so many bytes.
    Pss {
        /// 256, 384 or 512.
        hash: u16,
        /// Bytes of salt.
        salt: i32,
    },
    /// ecdsa-with-SHA1.
    EcdsaSha1,
    /// ecdsa-with-SHA256.
    EcdsaSha256,
    /// ecdsa-with-SHA384.
    EcdsaSha384,
    /// ecdsa-with-SHA512.
    EcdsaSha512,
}

impl Algorithm {
    fn digest(self) -> MessageDigest {
        match self {
            Self::Md5Rsa => MessageDigest::md5(),
            Self::Sha1Rsa | Self::EcdsaSha1 => MessageDigest::sha1(),
            Self::Sha256Rsa | Self::EcdsaSha256 | Self::Pss { hash: 256, .. } => MessageDigest::sha256(),
            Self::Sha384Rsa | Self::EcdsaSha384 | Self::Pss { hash: 384, .. } => MessageDigest::sha384(),
            Self::Sha512Rsa | Self::EcdsaSha512 | Self::Pss { .. } => MessageDigest::sha512(),
        }
    }

    /// AlgorithmIdentifier.
    pub fn identifier(self) -> Vec<u8> {
        let null = tlv(0x05, &[]);
        let rsa = |last: u8| seq(&[&oid(&format!("1.2.840.113549.1.1.{last}")), &null]);
        match self {
            Self::Md5Rsa => rsa(4),
            Self::Sha1Rsa => rsa(5),
            Self::Sha256Rsa => rsa(11),
            Self::Sha384Rsa => rsa(12),
            Self::Sha512Rsa => rsa(13),
            Self::EcdsaSha1 => seq(&[&oid("1.2.840.10045.4.1")]),
            Self::EcdsaSha256 => seq(&[&oid("1.2.840.10045.4.3.2")]),
            Self::EcdsaSha384 => seq(&[&oid("1.2.840.10045.4.3.3")]),
            Self::EcdsaSha512 => seq(&[&oid("1.2.840.10045.4.3.4")]),
            Self::Pss { hash, salt } => {
                let last = match hash {
                    256 => 1,
                    384 => 2,
                    _ => 3,
                };
                let hash = seq(&[&oid(&format!("2.16.840.1.101.3.4.2.{last}")), &null]);
                let mgf = seq(&[&oid("1.2.840.113549.1.1.8"), &hash]);
                let parameters = seq(&[
                    &tlv(0xA0, &hash),
                    &tlv(0xA1, &mgf),
                    &tlv(0xA2, &tlv(0x02, &[u8::try_from(salt).unwrap()])),
                ]);
                seq(&[&oid("1.2.840.113549.1.1.10"), &parameters])
            }
        }
    }
}
