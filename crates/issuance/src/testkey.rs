//! Software keys for the tests of this crate.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::{Padding, Rsa};
use openssl::sign::{RsaPssSaltlen, Signer};

use crate::{CaKey, KeyError, SignatureAlgorithm, ToSign};

/// How the key answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Honest,
    /// One bit of the signature is wrong.
    FlippedBit,
    /// A good signature, over other bytes.
    OtherBytes,
    /// A good signature with an octet after it.
    TrailingOctet,
    /// No octets, and success.
    Nothing,
    /// Nothing was asked of the key.
    Unavailable,
}

/// A CA key in memory that counts what it is asked.
pub(crate) struct SoftKey {
    pub(crate) algorithm: SignatureAlgorithm,
    pub(crate) key: PKey<Private>,
    pub(crate) spki: Vec<u8>,
    pub(crate) answer: Answer,
    pub(crate) asked: AtomicUsize,
}

impl SoftKey {
    /// A key of this algorithm. RSA keys take a second to make, so there are only two of each size per process.
    pub(crate) fn new(algorithm: SignatureAlgorithm) -> Self {
        Self::numbered(algorithm, 0)
    }
    /// The `n`th (0 or 1) key of this algorithm.
    pub(crate) fn numbered(algorithm: SignatureAlgorithm, n: usize) -> Self {
        static RSA3072: [OnceLock<PKey<Private>>; 2] = [OnceLock::new(), OnceLock::new()];
        static RSA4096: [OnceLock<PKey<Private>>; 2] = [OnceLock::new(), OnceLock::new()];
        let key = match algorithm {
            SignatureAlgorithm::EcdsaP256Sha256 => ec(Nid::X9_62_PRIME256V1),
            SignatureAlgorithm::EcdsaP384Sha384 => ec(Nid::SECP384R1),
            SignatureAlgorithm::Rsa3072Pkcs1Sha256 | SignatureAlgorithm::Rsa3072PssSha256 => {
                RSA3072[n].get_or_init(|| rsa(3072)).clone()
            }
            SignatureAlgorithm::Rsa4096Pkcs1Sha256 | SignatureAlgorithm::Rsa4096PssSha256 => {
                RSA4096[n].get_or_init(|| rsa(4096)).clone()
            }
        };
        Self::of(algorithm, key)
    }
    pub(crate) fn of(algorithm: SignatureAlgorithm, key: PKey<Private>) -> Self {
        let spki = key.public_key_to_der().unwrap();
        Self {
            algorithm,
            key,
            spki,
            answer: Answer::Honest,
            asked: AtomicUsize::new(0),
        }
    }
    pub(crate) fn answering(mut self, answer: Answer) -> Self {
        self.answer = answer;
        self
    }
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
    pub(crate) fn raw_sign(&self, bytes: &[u8]) -> Vec<u8> {
        let digest = match self.algorithm {
            SignatureAlgorithm::EcdsaP384Sha384 => MessageDigest::sha384(),
            _ => MessageDigest::sha256(),
        };
        let mut signer = Signer::new(digest, &self.key).unwrap();
        if matches!(
            self.algorithm,
            SignatureAlgorithm::Rsa3072PssSha256 | SignatureAlgorithm::Rsa4096PssSha256
        ) {
            signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
            signer.set_rsa_mgf1_md(digest).unwrap();
            signer.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH).unwrap();
        }
        signer.sign_oneshot_to_vec(bytes).unwrap()
    }
}

impl CaKey for SoftKey {
    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }
    fn spki(&self) -> &[u8] {
        &self.spki
    }
    fn sign(&self, what: ToSign<'_>) -> Result<Vec<u8>, KeyError> {
        if self.answer == Answer::Unavailable {
            return Err(KeyError::Unavailable("unplugged".into()));
        }
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut signature = match self.answer {
            Answer::OtherBytes => self.raw_sign(b"other bytes"),
            _ => self.raw_sign(what.bytes()),
        };
        match self.answer {
            Answer::FlippedBit => *signature.last_mut().unwrap() ^= 1,
            Answer::TrailingOctet => signature.push(0),
            Answer::Nothing => signature.clear(),
            _ => (),
        }
        Ok(signature)
    }
}

pub(crate) fn ec(nid: Nid) -> PKey<Private> {
    let group = EcGroup::from_curve_name(nid).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

pub(crate) fn rsa(bits: u32) -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap()
}
