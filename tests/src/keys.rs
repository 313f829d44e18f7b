//! Keys in software, with the TPM's view of them.
//!
//! P-384 keys are RustCrypto's: the product verifies with OpenSSL, so that curve is crossed by two implementations.

use attest::KeyAlgorithm;
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{HasPublic, PKey, Private};
use openssl::rsa::{Padding, Rsa};
use openssl::sign::{RsaPssSaltlen, Signer};
use p384::ecdsa::signature::Signer as _;

/// Hashes by TPM algorithm id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// TPM_ALG_SHA1: for what must be refused.
    Sha1,
    /// TPM_ALG_SHA256.
    Sha256,
    /// TPM_ALG_SHA384.
    Sha384,
    /// TPM_ALG_SHA512.
    Sha512,
}

impl Hash {
    /// TPM_ALG_ID.
    #[must_use]
    pub fn id(self) -> u16 {
        match self {
            Self::Sha1 => 0x0004,
            Self::Sha256 => 0x000b,
            Self::Sha384 => 0x000c,
            Self::Sha512 => 0x000d,
        }
    }
    /// OpenSSL's.
    #[must_use]
    pub fn digest(self) -> MessageDigest {
        match self {
            Self::Sha1 => MessageDigest::sha1(),
            Self::Sha256 => MessageDigest::sha256(),
            Self::Sha384 => MessageDigest::sha384(),
            Self::Sha512 => MessageDigest::sha512(),
        }
    }
    /// Digest of `data`.
    ///
    /// # Panics
    /// When OpenSSL fails.
    #[must_use]
    pub fn of(self, data: &[u8]) -> Vec<u8> {
        openssl::hash::hash(self.digest(), data).expect("a digest").to_vec()
    }
}

/// Signature schemes by TPM algorithm id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// TPM_ALG_NULL: chosen when signing.
    Null,
    /// TPM_ALG_RSASSA.
    Rsassa(Hash),
    /// TPM_ALG_RSAPSS.
    Rsapss(Hash),
    /// TPM_ALG_ECDSA.
    Ecdsa(Hash),
    /// TPM_ALG_ECDAA, count 1: anonymous, for what must be refused.
    Ecdaa(Hash),
}

impl Scheme {
    /// TPMT_SIG_SCHEME and friends: algorithm, and its hash.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        let (id, hash): (u16, Option<Hash>) = match self {
            Self::Null => (0x0010, None),
            Self::Rsassa(h) => (0x0014, Some(h)),
            Self::Rsapss(h) => (0x0016, Some(h)),
            Self::Ecdsa(h) => (0x0018, Some(h)),
            Self::Ecdaa(h) => (0x001a, Some(h)),
        };
        let mut out = id.to_be_bytes().to_vec();
        out.extend(hash.into_iter().flat_map(|h| h.id().to_be_bytes()));
        if matches!(self, Self::Ecdaa(_)) {
            out.extend([0, 1]);
        }
        out
    }
}

/// The private half.
#[derive(Clone)]
pub enum Secret {
    /// OpenSSL's.
    OpenSsl(PKey<Private>),
    /// RustCrypto's P-384.
    P384(p384::ecdsa::SigningKey),
}

/// Shape of a `TPMT_PUBLIC`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Curve or modulus.
    pub algorithm: KeyAlgorithm,
    /// nameAlg.
    pub name_alg: Hash,
    /// TPMA_OBJECT.
    pub attributes: u32,
    /// authPolicy.
    pub policy: Vec<u8>,
    /// Scheme.
    pub scheme: Scheme,
}

impl Shape {
    /// A restricted signing key fit to attest (`standards` §0.4).
    #[must_use]
    pub fn ak(algorithm: KeyAlgorithm) -> Self {
        Self {
            algorithm,
            name_alg: Hash::Sha256,
            attributes: 0x0005_0072,
            policy: Vec::new(),
            scheme: native(algorithm),
        }
    }
    /// An unrestricted signing key fit to be an identity (`standards` §0.6).
    #[must_use]
    pub fn identity(algorithm: KeyAlgorithm) -> Self {
        Self {
            algorithm,
            name_alg: Hash::Sha256,
            attributes: 0x0004_0072,
            policy: Vec::new(),
            scheme: Scheme::Null,
        }
    }
}

/// The scheme a key of this algorithm has here unless a test says otherwise.
#[must_use]
pub fn native(algorithm: KeyAlgorithm) -> Scheme {
    match algorithm {
        KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 => Scheme::Rsassa(Hash::Sha256),
        KeyAlgorithm::P256 => Scheme::Ecdsa(Hash::Sha256),
        KeyAlgorithm::P384 => Scheme::Ecdsa(Hash::Sha384),
    }
}

/// A key whose private half is in memory.
#[derive(Clone)]
pub struct SoftKey {
    /// Shape of the public area.
    pub shape: Shape,
    /// `TPMT_PUBLIC`.
    pub public: Vec<u8>,
    /// SubjectPublicKeyInfo, DER.
    pub spki: Vec<u8>,
    secret: Secret,
}

/// `2B` counted bytes.
#[must_use]
pub fn tpm2b(content: &[u8]) -> Vec<u8> {
    let mut out = u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes().to_vec();
    out.extend(content);
    out
}

impl SoftKey {
    /// Generate a key of this shape.
    ///
    /// # Panics
    /// When OpenSSL fails.
    #[must_use]
    pub fn generate(shape: Shape) -> Self {
        let secret = match shape.algorithm {
            KeyAlgorithm::Rsa2048 => Secret::OpenSsl(rsa(2048)),
            KeyAlgorithm::Rsa3072 => Secret::OpenSsl(rsa(3072)),
            KeyAlgorithm::P256 => Secret::OpenSsl(ec(Nid::X9_62_PRIME256V1)),
            KeyAlgorithm::P384 => {
                let mut scalar = [0; 48];
                openssl::rand::rand_bytes(&mut scalar).expect("randomness");
                // A scalar above the order is one in 2^190.
                Secret::P384(p384::ecdsa::SigningKey::from_slice(&scalar).expect("a scalar"))
            }
        };
        Self::from_secret(shape, secret)
    }

    /// The same private key under another shape: what an attacker sends.
    ///
    /// # Panics
    /// When OpenSSL fails.
    #[must_use]
    pub fn from_secret(shape: Shape, secret: Secret) -> Self {
        let unique = unique(&secret);
        let public = tpmt(&shape, &unique);
        let spki = spki(&secret);
        Self {
            shape,
            public,
            spki,
            secret,
        }
    }

    /// Show the same key with other attributes, scheme or nameAlg.
    #[must_use]
    pub fn reshaped(&self, change: impl FnOnce(&mut Shape)) -> Self {
        let mut shape = self.shape.clone();
        change(&mut shape);
        Self::from_secret(shape, self.secret.clone())
    }

    /// TPM Name: nameAlg || digest of the public area.
    #[must_use]
    pub fn name(&self) -> Vec<u8> {
        let mut name = self.shape.name_alg.id().to_be_bytes().to_vec();
        name.extend(self.shape.name_alg.of(&self.public));
        name
    }

    /// `TPMT_SIGNATURE` over `data` with the key's scheme, or its native one.
    #[must_use]
    pub fn sign(&self, data: &[u8]) -> Vec<u8> {
        let scheme = if self.shape.scheme == Scheme::Null {
            native(self.shape.algorithm)
        } else {
            self.shape.scheme
        };
        self.sign_with(scheme, data)
    }

    /// `TPMT_SIGNATURE` over `data` with another scheme.
    ///
    /// # Panics
    /// When the key cannot do it.
    #[must_use]
    pub fn sign_with(&self, scheme: Scheme, data: &[u8]) -> Vec<u8> {
        let mut out = scheme.bytes();
        match scheme {
            Scheme::Rsassa(hash) => out.extend(tpm2b(&self.sign_rsa(hash, Padding::PKCS1, data))),
            Scheme::Rsapss(hash) => out.extend(tpm2b(&self.sign_rsa(hash, Padding::PKCS1_PSS, data))),
            Scheme::Ecdsa(hash) | Scheme::Ecdaa(hash) => {
                out.truncate(4);
                let (r, s) = self.sign_ecdsa(hash, data);
                out.extend(tpm2b(&r));
                out.extend(tpm2b(&s));
            }
            Scheme::Null => panic!("a signature has a scheme"),
        }
        out
    }

    fn sign_rsa(&self, hash: Hash, padding: Padding, data: &[u8]) -> Vec<u8> {
        let Secret::OpenSsl(key) = &self.secret else {
            panic!("an RSA scheme needs an RSA key")
        };
        let mut signer = Signer::new(hash.digest(), key).expect("a signer");
        signer.set_rsa_padding(padding).expect("RSA");
        if padding == Padding::PKCS1_PSS {
            signer.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH).expect("PSS");
        }
        signer.sign_oneshot_to_vec(data).expect("a signature")
    }

    fn sign_ecdsa(&self, hash: Hash, data: &[u8]) -> (Vec<u8>, Vec<u8>) {
        match &self.secret {
            Secret::OpenSsl(key) => {
                let key = key.ec_key().expect("an EC key");
                let signature = openssl::ecdsa::EcdsaSig::sign(&hash.of(data), &key).expect("a signature");
                let size = i32::try_from(key.group().degree()).map_or(32, |bits| (bits + 7) / 8);
                let pad = |n: &openssl::bn::BigNumRef| n.to_vec_padded(size).expect("fits");
                (pad(signature.r()), pad(signature.s()))
            }
            Secret::P384(key) => {
                use p384::ecdsa::signature::hazmat::PrehashSigner as _;
                let signature: p384::ecdsa::Signature = key.sign_prehash(&hash.of(data)).expect("a signature");
                let (r, s) = signature.split_bytes();
                (r.to_vec(), s.to_vec())
            }
        }
    }

    /// X.509 signature over `data` in its native scheme: (AlgorithmIdentifier DER, signature).
    ///
    /// # Panics
    /// When OpenSSL fails.
    #[must_use]
    pub fn sign_x509(&self, data: &[u8]) -> (Vec<u8>, Vec<u8>) {
        use crate::der::{context, integer, oid, sequence};
        match &self.secret {
            Secret::P384(key) => {
                let signature: p384::ecdsa::DerSignature = key.sign(data);
                (sequence(&[&oid("1.2.840.10045.4.3.3")]), signature.as_bytes().to_vec())
            }
            Secret::OpenSsl(key) => {
                let pss = matches!(self.shape.scheme, Scheme::Rsapss(_));
                let signature = if let Ok(ec) = key.ec_key() {
                    let signature = EcdsaSig::sign(&openssl::sha::sha256(data), &ec);
                    signature.and_then(|s| s.to_der()).expect("a signature")
                } else {
                    let mut signer = Signer::new(MessageDigest::sha256(), key).expect("a signer");
                    if pss {
                        signer.set_rsa_padding(Padding::PKCS1_PSS).expect("RSA");
                        signer.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH).expect("PSS");
                    }
                    signer.sign_oneshot_to_vec(data).expect("a signature")
                };
                let algorithm = if key.ec_key().is_ok() {
                    sequence(&[&oid("1.2.840.10045.4.3.2")])
                } else if pss {
                    // RSASSA-PSS-params (RFC 4055 §3.1) with SHA-256 and 32 octets of salt.
                    let sha256 = sequence(&[&oid("2.16.840.1.101.3.4.2.1"), &[5, 0]]);
                    let mgf1 = sequence(&[&oid("1.2.840.113549.1.1.8"), &sha256]);
                    let parameters =
                        sequence(&[&context(0, &sha256), &context(1, &mgf1), &context(2, &integer(&[32]))]);
                    sequence(&[&oid("1.2.840.113549.1.1.10"), &parameters])
                } else {
                    sequence(&[&oid("1.2.840.113549.1.1.11"), &[5, 0]])
                };
                (algorithm, signature)
            }
        }
    }

    /// The private half, when it is OpenSSL's.
    #[must_use]
    pub fn openssl(&self) -> Option<&PKey<Private>> {
        match &self.secret {
            Secret::OpenSsl(key) => Some(key),
            Secret::P384(_) => None,
        }
    }
}

/// `unique` and, for RSA, the key bits.
enum Unique {
    Rsa(Vec<u8>),
    Ecc(u16, Vec<u8>, Vec<u8>),
}

fn unique(secret: &Secret) -> Unique {
    match secret {
        Secret::P384(key) => {
            let point = key.verifying_key().to_sec1_point(false);
            let (x, y) = (point.x().expect("x").to_vec(), point.y().expect("y").to_vec());
            Unique::Ecc(0x0004, x, y)
        }
        Secret::OpenSsl(key) => match key.rsa() {
            Ok(rsa) => Unique::Rsa(rsa.n().to_vec()),
            Err(_) => {
                let (curve, x, y) = coordinates(key);
                Unique::Ecc(curve, x, y)
            }
        },
    }
}

/// TPM curve id and affine coordinates, padded to the field.
///
/// # Panics
/// When `key` is no EC key.
#[must_use]
pub fn coordinates<T: HasPublic>(key: &PKey<T>) -> (u16, Vec<u8>, Vec<u8>) {
    let key = key.ec_key().expect("an EC key");
    let (curve, size) = match key.group().curve_name() {
        Some(Nid::X9_62_PRIME256V1) => (0x0003, 32),
        Some(Nid::SECP384R1) => (0x0004, 48),
        Some(Nid::SECP521R1) => (0x0005, 66),
        other => panic!("no such curve: {other:?}"),
    };
    let (mut x, mut y) = (BigNum::new().expect("memory"), BigNum::new().expect("memory"));
    let mut context = BigNumContext::new().expect("memory");
    key.public_key()
        .affine_coordinates(key.group(), &mut x, &mut y, &mut context)
        .expect("a point");
    (
        curve,
        x.to_vec_padded(size).expect("fits"),
        y.to_vec_padded(size).expect("fits"),
    )
}

fn tpmt(shape: &Shape, unique: &Unique) -> Vec<u8> {
    let mut out = Vec::new();
    let (kind, tail): (u16, Vec<u8>) = match unique {
        Unique::Rsa(n) => {
            let bits = u16::try_from(n.len() * 8).expect("bits");
            let mut tail = [&[0x00, 0x10][..], &shape.scheme.bytes(), &bits.to_be_bytes(), &[0; 4]].concat();
            tail.extend(tpm2b(n));
            (0x0001, tail)
        }
        Unique::Ecc(curve, x, y) => {
            let mut tail = [
                &[0x00, 0x10][..],
                &shape.scheme.bytes(),
                &curve.to_be_bytes(),
                &[0x00, 0x10],
            ]
            .concat();
            tail.extend(tpm2b(x));
            tail.extend(tpm2b(y));
            (0x0023, tail)
        }
    };
    out.extend(kind.to_be_bytes());
    out.extend(shape.name_alg.id().to_be_bytes());
    out.extend(shape.attributes.to_be_bytes());
    out.extend(tpm2b(&shape.policy));
    out.extend(tail);
    out
}

fn spki(secret: &Secret) -> Vec<u8> {
    match secret {
        Secret::OpenSsl(key) => key.public_key_to_der().expect("SPKI"),
        Secret::P384(key) => {
            use p384::pkcs8::EncodePublicKey as _;
            key.verifying_key()
                .to_public_key_der()
                .expect("SPKI")
                .as_bytes()
                .to_vec()
        }
    }
}

/// A new RSA key.
///
/// # Panics
/// When OpenSSL fails.
#[must_use]
pub fn rsa(bits: u32) -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(bits).expect("an RSA key")).expect("a key")
}

/// A new EC key.
///
/// # Panics
/// When OpenSSL fails.
#[must_use]
pub fn ec(curve: Nid) -> PKey<Private> {
    let group = EcGroup::from_curve_name(curve).expect("a curve");
    PKey::from_ec_key(EcKey::generate(&group).expect("an EC key")).expect("a key")
}
