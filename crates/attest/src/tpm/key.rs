//! What makes an attestation key and an identity key: attributes and algorithms, judged from the public area.

use super::spki::{Key, SoundKey};
use super::{HashAlgorithm, PublicParms, TpmAlgId, TpmEccCurve, TpmaObject, TpmtPublic, TpmtScheme, TpmtSignature};
use crate::{KeyAlgorithm, KeyFacts, Reason, Refusal};
use openssl::bn::BigNum;
use openssl::ec::EcKey;
use openssl::ecdsa::EcdsaSig;
use openssl::md::{Md, MdRef};
use openssl::pkey::{PKey, Public};
use openssl::pkey_ctx::PkeyCtx;
use openssl::rsa::Padding;
use openssl::sign::RsaPssSaltlen;

/// The bits every signing key of ours is judged by.
const JUDGED: u32 = TpmaObject::FIXED_TPM.0
    | TpmaObject::FIXED_PARENT.0
    | TpmaObject::SENSITIVE_DATA_ORIGIN.0
    | TpmaObject::RESTRICTED.0
    | TpmaObject::DECRYPT.0
    | TpmaObject::SIGN.0;

/// Bits that no key of ours has: they tie the key to a boot, to X.509 structures, or to a duplication.
const FORBIDDEN: TpmaObject =
    TpmaObject(TpmaObject::ST_CLEAR.0 | TpmaObject::ENCRYPTED_DUPLICATION.0 | TpmaObject::X509_SIGN.0);

/// A public area that is an attestation key's, with its scheme, ready to verify. Says nothing about where it lives.
pub struct AttestationKey {
    public: TpmtPublic,
    facts: KeyFacts,
    scheme: Scheme,
}

/// A public area that is an identity key's. Says nothing about where it lives.
#[derive(Debug)]
pub struct IdentityKey {
    facts: KeyFacts,
}

/// The one signature scheme of an attestation key.
enum Scheme {
    Rsa {
        scheme: TpmAlgId,
        hash: HashAlgorithm,
        key: PKey<Public>,
    },
    Ecdsa {
        hash: HashAlgorithm,
        key: EcKey<Public>,
        len: usize,
    },
}

impl AttestationKey {
    /// Judge the attributes (TPM 2.0 Part 1, 27): created in a TPM, cannot leave it, signs only what the
    /// TPM itself made, decrypts nothing. Then the algorithms: RSA-2048 or -3072 with RSASSA or RSAPSS and SHA-256 or
    /// SHA-384, P-256 with ECDSA and SHA-256, P-384 with ECDSA and SHA-256 or SHA-384; nameAlg of the SHA-2 family.
    ///
    /// # Errors
    /// [`Reason::AkAttr`], [`Reason::AkAlg`].
    pub fn judge(public: TpmtPublic) -> Result<Self, Refusal> {
        let restricted_signing = JUDGED & !TpmaObject::DECRYPT.0;
        attributes(&public, restricted_signing).map_err(|refusal| refusal.because(Reason::AkAttr))?;
        let algorithm = key_algorithm(&public).map_err(|refusal| refusal.because(Reason::AkAlg))?;
        let (scheme, hash) = attestation_scheme(algorithm, public.parms().scheme()).ok_or_else(|| {
            Refusal::new(
                Reason::AkAlg,
                format!("{} with {:?}", algorithm.as_str(), public.parms().scheme()),
            )
        })?;
        let sound = SoundKey::of(public.parms()).map_err(|refusal| refusal.because(Reason::AkAlg))?;
        let scheme = match sound.key {
            Key::Rsa(key) => Scheme::Rsa {
                scheme,
                hash,
                key: PKey::from_rsa(key).map_err(|error| Refusal::new(Reason::AkAlg, error.to_string()))?,
            },
            Key::Ec(key) => Scheme::Ecdsa {
                hash,
                len: if algorithm == KeyAlgorithm::P384 { 48 } else { 32 },
                key,
            },
        };
        Ok(Self {
            facts: facts(&public, algorithm, sound.spki),
            public,
            scheme,
        })
    }

    /// The public area.
    #[must_use]
    pub fn public(&self) -> &TpmtPublic {
        &self.public
    }

    /// Name, SubjectPublicKeyInfo, algorithm, attributes.
    #[must_use]
    pub fn facts(&self) -> &KeyFacts {
        &self.facts
    }

    pub(crate) fn into_facts(self) -> KeyFacts {
        self.facts
    }

    /// Verify `signature` over `message` under this key's own scheme and hash, and no other.
    ///
    /// # Errors
    /// [`Reason::AkAlg`] for another scheme or hash than this key's, [`Reason::CertSig`].
    pub fn verify(&self, message: &[u8], signature: &TpmtSignature<'_>) -> Result<(), Refusal> {
        match (&self.scheme, *signature) {
            (
                Scheme::Rsa { scheme, hash, key },
                TpmtSignature::Rsa {
                    scheme: used,
                    hash: with,
                    sig,
                },
            ) if used == *scheme && with == hash.id() => {
                // OpenSSL refuses every length but the modulus's.
                accepted(verify_rsa(key, *scheme, *hash, message, sig))
            }
            (Scheme::Ecdsa { hash, key, len }, TpmtSignature::Ecdsa { hash: with, r, s }) if with == hash.id() => {
                if r.len() > *len || s.len() > *len {
                    return Err(bad_signature(format_args!(
                        "r of {} and s of {} bytes",
                        r.len(),
                        s.len()
                    )));
                }
                accepted(verify_ecdsa(key, &hash.digest(message), r, s))
            }
            (own, _) => Err(Refusal::new(
                Reason::AkAlg,
                format!(
                    "signed with {} and {}, the attestation key is for {} and {}",
                    signature.scheme(),
                    signature.hash(),
                    own.id(),
                    own.hash().id()
                ),
            )),
        }
    }
}

impl core::fmt::Debug for AttestationKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("AttestationKey")
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}

impl IdentityKey {
    /// Judge the attributes: created in a TPM, cannot leave it, signs what its holder wants, decrypts nothing. Then
    /// the algorithms: RSA-2048 or -3072, P-256 or P-384; scheme NULL or a signature scheme with SHA-2.
    ///
    /// # Errors
    /// [`Reason::KeyAttr`], [`Reason::KeyAlg`].
    pub fn judge(public: &TpmtPublic) -> Result<Self, Refusal> {
        let signing = JUDGED & !TpmaObject::DECRYPT.0 & !TpmaObject::RESTRICTED.0;
        attributes(public, signing).map_err(|refusal| refusal.because(Reason::KeyAttr))?;
        let algorithm = key_algorithm(public).map_err(|refusal| refusal.because(Reason::KeyAlg))?;
        match (public.algorithm(), public.parms().scheme()) {
            (_, TpmtScheme::Null) => {}
            (
                TpmAlgId::RSA,
                TpmtScheme::Hashed {
                    scheme: TpmAlgId::RSASSA | TpmAlgId::RSAPSS,
                    hash,
                },
            )
            | (
                TpmAlgId::ECC,
                TpmtScheme::Hashed {
                    scheme: TpmAlgId::ECDSA,
                    hash,
                },
            ) if HashAlgorithm::from_id(hash).is_some() => {}
            (_, other) => {
                return Err(Refusal::new(
                    Reason::KeyAlg,
                    format!("{} with {other:?}", algorithm.as_str()),
                ));
            }
        }
        Ok(Self {
            facts: facts(public, algorithm, public.spki()?),
        })
    }

    /// Name, SubjectPublicKeyInfo, algorithm, attributes.
    #[must_use]
    pub fn facts(&self) -> &KeyFacts {
        &self.facts
    }

    pub(crate) fn into_facts(self) -> KeyFacts {
        self.facts
    }
}

impl Scheme {
    fn id(&self) -> TpmAlgId {
        match self {
            Self::Rsa { scheme, .. } => *scheme,
            Self::Ecdsa { .. } => TpmAlgId::ECDSA,
        }
    }

    fn hash(&self) -> HashAlgorithm {
        match self {
            Self::Rsa { hash, .. } | Self::Ecdsa { hash, .. } => *hash,
        }
    }
}

/// The reason is the caller's.
fn attributes(public: &TpmtPublic, wanted: u32) -> Result<(), Refusal> {
    let found = public.attributes();
    if found.0 & JUDGED != wanted || found.intersects(FORBIDDEN) {
        return Err(Refusal::new(
            Reason::KeyAttr,
            format!(
                "attributes are {found:?}, of which {:#010x} must be {wanted:#010x}",
                JUDGED | FORBIDDEN.0
            ),
        ));
    }
    Ok(())
}

/// Size or curve, nameAlg, and what a signing key has no use for. The reason is the caller's.
fn key_algorithm(public: &TpmtPublic) -> Result<KeyAlgorithm, Refusal> {
    let refuse = |detail: String| Err(Refusal::new(Reason::KeyAlg, detail));
    if HashAlgorithm::from_id(public.name_alg()).is_none() {
        return refuse(format!("nameAlg is {}", public.name_alg()));
    }
    if let Some(symmetric) = public.parms().symmetric() {
        return refuse(format!("a signing key with symmetric {symmetric:?}"));
    }
    match public.parms() {
        PublicParms::Rsa(rsa) => match rsa.key_bits {
            2048 => Ok(KeyAlgorithm::Rsa2048),
            3072 => Ok(KeyAlgorithm::Rsa3072),
            other => refuse(format!("RSA of {other} bits")),
        },
        PublicParms::Ecc(ecc) if ecc.kdf.is_some() => refuse("a signing key with a kdf".to_owned()),
        PublicParms::Ecc(ecc) => match ecc.curve {
            TpmEccCurve::NIST_P256 => Ok(KeyAlgorithm::P256),
            TpmEccCurve::NIST_P384 => Ok(KeyAlgorithm::P384),
            other => refuse(other.to_string()),
        },
    }
}

/// The allow-list of attestation schemes.
fn attestation_scheme(algorithm: KeyAlgorithm, scheme: TpmtScheme) -> Option<(TpmAlgId, HashAlgorithm)> {
    use HashAlgorithm::{Sha256, Sha384};
    let TpmtScheme::Hashed { scheme, hash } = scheme else {
        return None;
    };
    let hash = HashAlgorithm::from_id(hash)?;
    matches!(
        (algorithm, scheme, hash),
        (
            KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072,
            TpmAlgId::RSASSA | TpmAlgId::RSAPSS,
            Sha256 | Sha384
        ) | (KeyAlgorithm::P256, TpmAlgId::ECDSA, Sha256)
            | (KeyAlgorithm::P384, TpmAlgId::ECDSA, Sha256 | Sha384)
    )
    .then_some((scheme, hash))
}

fn facts(public: &TpmtPublic, algorithm: KeyAlgorithm, spki: Vec<u8>) -> KeyFacts {
    KeyFacts {
        name: public.name(),
        public: public.raw().to_vec(),
        spki,
        algorithm,
        attributes: public.attributes().0,
    }
}

fn bad_signature(detail: impl core::fmt::Display) -> Refusal {
    Refusal::new(Reason::CertSig, detail.to_string())
}

/// OpenSSL answers some bad signatures with an error and others with `false`: both are no.
fn accepted(outcome: Result<bool, openssl::error::ErrorStack>) -> Result<(), Refusal> {
    match outcome {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(bad_signature("the signature does not verify")),
    }
}

fn verify_ecdsa(key: &EcKey<Public>, digest: &[u8], r: &[u8], s: &[u8]) -> Result<bool, openssl::error::ErrorStack> {
    EcdsaSig::from_private_components(BigNum::from_slice(r)?, BigNum::from_slice(s)?)?.verify(digest, key)
}

fn verify_rsa(
    key: &PKey<Public>,
    scheme: TpmAlgId,
    hash: HashAlgorithm,
    message: &[u8],
    sig: &[u8],
) -> Result<bool, openssl::error::ErrorStack> {
    let md: &MdRef = match hash {
        HashAlgorithm::Sha256 => Md::sha256(),
        HashAlgorithm::Sha384 => Md::sha384(),
        HashAlgorithm::Sha512 => Md::sha512(),
    };
    let mut context = PkeyCtx::new(key)?;
    context.verify_init()?;
    if scheme == TpmAlgId::RSAPSS {
        context.set_rsa_padding(Padding::PKCS1_PSS)?;
        context.set_signature_md(md)?;
        context.set_rsa_mgf1_md(md)?;
        // TPMs salt with as many bytes as the digest has, when the key has room: it always has, from 2048 bits on.
        context.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)?;
    } else {
        context.set_rsa_padding(Padding::PKCS1)?;
        context.set_signature_md(md)?;
    }
    context.verify(&hash.digest(message), sig)
}
