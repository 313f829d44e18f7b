//! A software "TPM": it holds its keys in memory and signs any nonsense. Only for showing what must be refused.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "each test file uses its own part of the kit"
)]

pub(crate) mod activate;
pub(crate) mod device;

use attest::tpm::{HashAlgorithm, TpmAlgId, TpmEccCurve};
use attest::{Entropy, EntropyError};
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::{Padding, Rsa};
use openssl::sign::{RsaPssSaltlen, Signer};
use std::sync::OnceLock;

pub(crate) const AK_ATTRIBUTES: u32 = 0x0005_00F2;
pub(crate) const KEY_ATTRIBUTES: u32 = 0x0004_00F2;

/// Real randomness.
pub(crate) struct Os;

impl Entropy for Os {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        openssl::rand::rand_bytes(out).map_err(|_| EntropyError)
    }
}

/// A private key held in software.
#[derive(Clone)]
pub(crate) enum SoftKey {
    Rsa(Rsa<Private>),
    Ec(EcKey<Private>, TpmEccCurve),
}

/// One RSA key per size and number: making them is slow.
pub(crate) fn rsa(bits: u32, number: usize) -> SoftKey {
    static KEYS: [[OnceLock<Rsa<Private>>; 3]; 4] = [const { [const { OnceLock::new() }; 3] }; 4];
    let size = [1024, 2048, 3072, 4096]
        .iter()
        .position(|known| *known == bits)
        .unwrap();
    SoftKey::Rsa(KEYS[size][number].get_or_init(|| Rsa::generate(bits).unwrap()).clone())
}

pub(crate) fn ec(curve: TpmEccCurve) -> SoftKey {
    SoftKey::Ec(EcKey::generate(&group(curve)).unwrap(), curve)
}

pub(crate) fn group(curve: TpmEccCurve) -> EcGroup {
    EcGroup::from_curve_name(match curve {
        TpmEccCurve::NIST_P256 => Nid::X9_62_PRIME256V1,
        TpmEccCurve::NIST_P384 => Nid::SECP384R1,
        TpmEccCurve::NIST_P521 => Nid::SECP521R1,
        other => panic!("no group for {other}"),
    })
    .unwrap()
}

pub(crate) fn message_digest(hash: TpmAlgId) -> MessageDigest {
    match hash {
        TpmAlgId::SHA1 => MessageDigest::sha1(),
        TpmAlgId::SHA256 => MessageDigest::sha256(),
        TpmAlgId::SHA384 => MessageDigest::sha384(),
        TpmAlgId::SHA512 => MessageDigest::sha512(),
        other => panic!("no digest for {other}"),
    }
}

pub(crate) fn sized(bytes: &[u8]) -> Vec<u8> {
    let mut out = u16::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    out.extend(bytes);
    out
}

impl SoftKey {
    pub(crate) fn pkey(&self) -> PKey<Private> {
        match self {
            Self::Rsa(key) => PKey::from_rsa(key.clone()).unwrap(),
            Self::Ec(key, _) => PKey::from_ec_key(key.clone()).unwrap(),
        }
    }

    /// DER SubjectPublicKeyInfo by OpenSSL.
    pub(crate) fn spki(&self) -> Vec<u8> {
        self.pkey().public_key_to_der().unwrap()
    }

    /// `TPMT_SIGNATURE` over `message`.
    pub(crate) fn sign(&self, scheme: TpmAlgId, hash: TpmAlgId, message: &[u8]) -> Vec<u8> {
        let mut out = scheme.0.to_be_bytes().to_vec();
        out.extend(hash.0.to_be_bytes());
        match self {
            Self::Rsa(_) => out.extend(sized(&self.rsa_signature(
                scheme,
                hash,
                message,
                RsaPssSaltlen::DIGEST_LENGTH,
            ))),
            Self::Ec(key, _) => {
                let digest = openssl::hash::hash(message_digest(hash), message).unwrap();
                let signature = EcdsaSig::sign(&digest, key).unwrap();
                out.extend(sized(&signature.r().to_vec()));
                out.extend(sized(&signature.s().to_vec()));
            }
        }
        out
    }

    pub(crate) fn rsa_signature(
        &self,
        scheme: TpmAlgId,
        hash: TpmAlgId,
        message: &[u8],
        salt: RsaPssSaltlen,
    ) -> Vec<u8> {
        let key = self.pkey();
        let mut signer = Signer::new(message_digest(hash), &key).unwrap();
        if scheme == TpmAlgId::RSAPSS {
            signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
            signer.set_rsa_pss_saltlen(salt).unwrap();
        }
        signer.sign_oneshot_to_vec(message).unwrap()
    }
}

/// A public area to be written, right or wrong.
#[derive(Clone)]
pub(crate) struct Public {
    pub(crate) kind: TpmAlgId,
    pub(crate) name_alg: TpmAlgId,
    pub(crate) attributes: u32,
    pub(crate) policy: Vec<u8>,
    /// algorithm, key bits, mode
    pub(crate) symmetric: Option<[u16; 3]>,
    /// Scheme and what follows it.
    pub(crate) scheme: Vec<u16>,
    /// RSA: key bits.
    pub(crate) bits: u16,
    /// RSA: exponent as declared.
    pub(crate) exponent: u32,
    pub(crate) curve: TpmEccCurve,
    /// ECC: kdf and what follows it.
    pub(crate) kdf: Vec<u16>,
    /// RSA: modulus. ECC: x and y.
    pub(crate) unique: Vec<Vec<u8>>,
}

impl Public {
    /// Public area of `key` with nothing but the key decided.
    pub(crate) fn of(key: &SoftKey) -> Self {
        let null = vec![TpmAlgId::NULL.0];
        let base = Self {
            kind: TpmAlgId::RSA,
            name_alg: TpmAlgId::SHA256,
            attributes: 0,
            policy: Vec::new(),
            symmetric: None,
            scheme: null.clone(),
            bits: 0,
            exponent: 0,
            curve: TpmEccCurve(0),
            kdf: null,
            unique: Vec::new(),
        };
        match key {
            SoftKey::Rsa(rsa) => Self {
                bits: u16::try_from(rsa.size() * 8).unwrap(),
                unique: vec![rsa.n().to_vec()],
                ..base
            },
            SoftKey::Ec(ec, curve) => {
                let mut context = BigNumContext::new().unwrap();
                let (mut x, mut y) = (BigNum::new().unwrap(), BigNum::new().unwrap());
                ec.public_key()
                    .affine_coordinates(ec.group(), &mut x, &mut y, &mut context)
                    .unwrap();
                Self {
                    kind: TpmAlgId::ECC,
                    curve: *curve,
                    unique: vec![x.to_vec(), y.to_vec()],
                    ..base
                }
            }
        }
    }

    /// A good attestation key.
    pub(crate) fn ak(key: &SoftKey, scheme: TpmAlgId, hash: TpmAlgId) -> Self {
        Self {
            attributes: AK_ATTRIBUTES,
            scheme: vec![scheme.0, hash.0],
            ..Self::of(key)
        }
    }

    /// A good identity key.
    pub(crate) fn identity(key: &SoftKey) -> Self {
        Self {
            attributes: KEY_ATTRIBUTES,
            ..Self::of(key)
        }
    }

    /// A storage key like an EK, with the nameAlg and AES size given.
    pub(crate) fn ek(key: &SoftKey, name_alg: TpmAlgId, aes: u16, attributes: u32, policy: &[u8]) -> Self {
        Self {
            name_alg,
            attributes,
            policy: policy.to_vec(),
            symmetric: Some([TpmAlgId::AES.0, aes, TpmAlgId::CFB.0]),
            ..Self::of(key)
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let put = |out: &mut Vec<u8>, words: &[u16]| words.iter().for_each(|word| out.extend(word.to_be_bytes()));
        put(&mut out, &[self.kind.0, self.name_alg.0]);
        out.extend(self.attributes.to_be_bytes());
        out.extend(sized(&self.policy));
        match self.symmetric {
            Some(words) => put(&mut out, &words),
            None => put(&mut out, &[TpmAlgId::NULL.0]),
        }
        put(&mut out, &self.scheme);
        if self.kind == TpmAlgId::RSA {
            put(&mut out, &[self.bits]);
            out.extend(self.exponent.to_be_bytes());
        } else {
            put(&mut out, &[self.curve.0]);
            put(&mut out, &self.kdf);
        }
        for part in &self.unique {
            out.extend(sized(part));
        }
        out
    }

    /// The Name, computed apart from the code under test.
    pub(crate) fn name(&self) -> Vec<u8> {
        name(self.name_alg, &self.bytes())
    }
}

pub(crate) fn name(alg: TpmAlgId, public: &[u8]) -> Vec<u8> {
    if alg == TpmAlgId::NULL {
        return Vec::new();
    }
    let mut name = alg.0.to_be_bytes().to_vec();
    name.extend_from_slice(&openssl::hash::hash(message_digest(alg), public).unwrap());
    name
}

/// A `TPMS_ATTEST` to be written, right or wrong.
#[derive(Clone)]
pub(crate) struct Attest {
    pub(crate) magic: u32,
    pub(crate) kind: u16,
    pub(crate) signer: Vec<u8>,
    pub(crate) extra: Vec<u8>,
    pub(crate) safe: u8,
    pub(crate) name: Vec<u8>,
    pub(crate) qualified_name: Vec<u8>,
}

impl Attest {
    /// What an honest TPM says of the object `name`.
    pub(crate) fn certify(name: &[u8], extra: &[u8]) -> Self {
        Self {
            magic: 0xFF54_4347,
            kind: 0x8017,
            signer: [&[0, 0x0B][..], &[1; 32]].concat(),
            extra: extra.to_vec(),
            safe: 1,
            name: name.to_vec(),
            qualified_name: [&[0, 0x0B][..], &[2; 32]].concat(),
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = self.magic.to_be_bytes().to_vec();
        out.extend(self.kind.to_be_bytes());
        out.extend(sized(&self.signer));
        out.extend(sized(&self.extra));
        out.extend(12_345_u64.to_be_bytes());
        out.extend(1_u32.to_be_bytes());
        out.extend(0_u32.to_be_bytes());
        out.push(self.safe);
        out.extend(0x2019_1023_0016_3636_u64.to_be_bytes());
        out.extend(sized(&self.name));
        out.extend(sized(&self.qualified_name));
        out
    }
}

/// The hash of a nameAlg that has one here.
pub(crate) fn hash(alg: TpmAlgId) -> HashAlgorithm {
    HashAlgorithm::from_id(alg).unwrap()
}
