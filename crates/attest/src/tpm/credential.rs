//! `TPM2_MakeCredential` in software (TPM 2.0 Part 1, 24): a secret that only the TPM with the EK gives back, and only
//! while an object with the given Name is loaded in it.

use super::kdf::{hmac, kdfa, kdfe};
use super::spki::{ec_key, rsa_key};
use super::{EccParms, HashAlgorithm, PublicParms, RsaParms, TpmAlgId, TpmtPublic};
use crate::{ChallengeError, Entropy};
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::EcPoint;
use openssl::error::ErrorStack;
use openssl::md::Md;
use openssl::pkey::PKey;
use openssl::pkey_ctx::PkeyCtx;
use openssl::rsa::Padding;
use openssl::symm::{Cipher, encrypt};
use zeroize::Zeroizing;

/// Label of the seed, RSA: with the NUL that TPMs expect and other OAEP libraries forget.
const OAEP_LABEL: &[u8] = b"IDENTITY\0";

/// What `TPM2_ActivateCredential` takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// `TPM2B_ID_OBJECT`, size included.
    pub credential_blob: Vec<u8>,
    /// `TPM2B_ENCRYPTED_SECRET`, size included.
    pub encrypted_secret: Vec<u8>,
}

/// Encrypt `secret` so that the TPM with the key `ek` gives it back for a loaded object named `name`. Hash and
/// symmetric size are those of `ek`.
///
/// The ECC ephemeral key and the RSA seed come from `entropy`; the padding of OAEP is drawn by OpenSSL itself.
///
/// # Errors
/// [`ChallengeError::Entropy`]; [`ChallengeError::Crypto`] when `ek` is not a sound storage key with AES-CFB and SHA-2,
/// or `secret` is longer than the digest of its nameAlg.
pub fn make_credential(
    ek: &TpmtPublic,
    name: &[u8],
    secret: &[u8],
    entropy: &mut dyn Entropy,
) -> Result<Credential, ChallengeError> {
    let hash = HashAlgorithm::from_id(ek.name_alg())
        .ok_or_else(|| ChallengeError::Crypto(format!("EK nameAlg is {}", ek.name_alg())))?;
    if secret.len() > hash.digest_len() {
        return Err(ChallengeError::Crypto(format!(
            "the secret has {} bytes, the EK takes {}",
            secret.len(),
            hash.digest_len()
        )));
    }
    let cipher = SymmetricKey::of(ek)?;
    let (seed, encrypted_secret) = match ek.parms() {
        PublicParms::Rsa(rsa) => rsa_seed(rsa, hash, entropy)?,
        PublicParms::Ecc(ecc) => {
            let ephemeral = ephemeral_scalar(ecc, entropy)?;
            ecc_seed(ecc, hash, &ephemeral)?
        }
    };
    Ok(Credential {
        credential_blob: id_object(hash, cipher, &seed, name, secret)?,
        encrypted_secret,
    })
}

impl From<ErrorStack> for ChallengeError {
    fn from(error: ErrorStack) -> Self {
        Self::Crypto(error.to_string())
    }
}

/// AES-CFB with the EK's key size.
#[derive(Clone, Copy)]
struct SymmetricKey {
    bits: u16,
    cipher: Cipher,
}

impl SymmetricKey {
    fn of(ek: &TpmtPublic) -> Result<Self, ChallengeError> {
        match ek.parms().symmetric() {
            Some(def) if def.algorithm == TpmAlgId::AES && def.mode == TpmAlgId::CFB => Self::aes(def.key_bits),
            other => Err(ChallengeError::Crypto(format!("EK symmetric is {other:?}"))),
        }
    }

    fn aes(bits: u16) -> Result<Self, ChallengeError> {
        let cipher = match bits {
            128 => Cipher::aes_128_cfb128(),
            256 => Cipher::aes_256_cfb128(),
            other => return Err(ChallengeError::Crypto(format!("EK symmetric is AES-{other}"))),
        };
        Ok(Self { bits, cipher })
    }
}

/// `TPM2B_ID_OBJECT` from the seed: encrypted credential, and its HMAC with the Name.
fn id_object(
    hash: HashAlgorithm,
    symmetric: SymmetricKey,
    seed: &[u8],
    name: &[u8],
    secret: &[u8],
) -> Result<Vec<u8>, ChallengeError> {
    let key = kdfa(hash, seed, "STORAGE", name, &[], symmetric.bits)?;
    let credential = Zeroizing::new(tpm2b(secret)?);
    let enc_identity = encrypt(symmetric.cipher, &key, Some(&[0; 16]), &credential)?;

    let hmac_key = kdfa(hash, seed, "INTEGRITY", &[], &[], hash.digest_bits())?;
    let outer = hmac(hash.message_digest(), &hmac_key, &[&enc_identity, name])?;

    let mut object = tpm2b(&outer)?;
    // encIdentity has no size of its own (Part 2, 12.4.2).
    object.extend(enc_identity);
    tpm2b(&object)
}

/// A random seed, and its OAEP encryption.
fn rsa_seed(
    rsa: &RsaParms,
    hash: HashAlgorithm,
    entropy: &mut dyn Entropy,
) -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), ChallengeError> {
    let mut seed = Zeroizing::new(vec![0; hash.digest_len()]);
    entropy.fill(&mut seed)?;
    let key = PKey::from_rsa(rsa_key(rsa).map_err(|refusal| ChallengeError::Crypto(refusal.detail))?)?;
    let md = match hash {
        HashAlgorithm::Sha256 => Md::sha256(),
        HashAlgorithm::Sha384 => Md::sha384(),
        HashAlgorithm::Sha512 => Md::sha512(),
    };
    let mut context = PkeyCtx::new(&key)?;
    context.encrypt_init()?;
    context.set_rsa_padding(Padding::PKCS1_OAEP)?;
    context.set_rsa_oaep_md(md)?;
    context.set_rsa_mgf1_md(md)?;
    context.set_rsa_oaep_label(OAEP_LABEL)?;
    let mut encrypted = Vec::new();
    context.encrypt_to_vec(&seed, &mut encrypted)?;
    Ok((seed, tpm2b(&encrypted)?))
}

/// A scalar in 1..order, by rejection.
fn ephemeral_scalar(ecc: &EccParms, entropy: &mut dyn Entropy) -> Result<Zeroizing<Vec<u8>>, ChallengeError> {
    let (_, len) = curve(ecc)?;
    let group = group(ecc)?;
    let mut order = BigNum::new()?;
    let mut context = BigNumContext::new()?;
    group.order(&mut order, &mut context)?;
    let order = order.to_vec();
    let mut scalar = Zeroizing::new(vec![0; len]);
    // Each draw fails once in 2^32 (P-256), or twice in four (P-521): a source that fails so often is broken.
    for _ in 0..128 {
        entropy.fill(&mut scalar)?;
        if len == 66
            && let Some(top) = scalar.first_mut()
        {
            *top &= 1;
        }
        if scalar.iter().any(|byte| *byte != 0) && **scalar < *order {
            return Ok(scalar);
        }
    }
    Err(ChallengeError::Entropy(crate::EntropyError))
}

fn curve(ecc: &EccParms) -> Result<(openssl::nid::Nid, usize), ChallengeError> {
    ecc.curve
        .group()
        .ok_or_else(|| ChallengeError::Crypto(format!("EK curve is {}", ecc.curve)))
}

fn group(ecc: &EccParms) -> Result<openssl::ec::EcGroup, ChallengeError> {
    Ok(openssl::ec::EcGroup::from_curve_name(curve(ecc)?.0)?)
}

/// The seed both sides derive by ECDH with the ephemeral key `scalar`, and that key's point.
fn ecc_seed(
    ecc: &EccParms,
    hash: HashAlgorithm,
    scalar: &[u8],
) -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), ChallengeError> {
    let (_, len) = curve(ecc)?;
    let width = i32::try_from(len).map_err(|_| ChallengeError::Crypto("coordinate length".to_owned()))?;
    let key = ec_key(ecc).map_err(|refusal| ChallengeError::Crypto(refusal.detail))?;
    let group = key.group();
    let mut context = BigNumContext::new()?;
    let mut secret = BigNum::from_slice(scalar)?;
    secret.set_const_time();

    let mut point = EcPoint::new(group)?;
    point.mul_generator2(group, &secret, &mut context)?;
    let mut shared = EcPoint::new(group)?;
    shared.mul2(group, key.public_key(), &secret, &mut context)?;
    secret.clear();

    // All coordinates padded to the field: a stripped zero would break one activation in 256.
    let mut coordinates = |point: &EcPoint| -> Result<[Vec<u8>; 2], ErrorStack> {
        let (mut x, mut y) = (BigNum::new()?, BigNum::new()?);
        point.affine_coordinates(group, &mut x, &mut y, &mut context)?;
        let padded = [x.to_vec_padded(width)?, y.to_vec_padded(width)?];
        x.clear();
        Ok(padded)
    };
    let [z, _] = coordinates(&shared)?.map(Zeroizing::new);
    let [ephemeral_x, ephemeral_y] = coordinates(&point)?;
    let [static_x, _] = coordinates(&key.public_key().to_owned(group)?)?;

    let seed = kdfe(hash, &z, "IDENTITY", &ephemeral_x, &static_x, hash.digest_bits())?;
    let mut secret_point = tpm2b(&ephemeral_x)?;
    secret_point.extend(tpm2b(&ephemeral_y)?);
    Ok((seed, tpm2b(&secret_point)?))
}

/// A `TPM2B`: `u16` size, then the bytes.
fn tpm2b(bytes: &[u8]) -> Result<Vec<u8>, ChallengeError> {
    let size = u16::try_from(bytes.len()).map_err(|_| ChallengeError::Crypto("TPM2B beyond 65535 bytes".to_owned()))?;
    let mut out = Vec::with_capacity(2 + bytes.len());
    out.extend(size.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(out)
}
