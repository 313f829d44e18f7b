//! `TPM2_MakeCredential` in software (TPM 2.0 Part 1, 24): a secret that only the TPM with the EK gives back, and only
//! while an object with the given Name is loaded in it.

use super::kdf::{hmac, kdfa, kdfe};
use super::spki::{Key, SoundKey};
use super::{HashAlgorithm, TpmAlgId, TpmtPublic};
use crate::{ChallengeError, Entropy};
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroupRef, EcKeyRef, EcPoint, EcPointRef};
use openssl::error::ErrorStack;
use openssl::md::Md;
use openssl::pkey::{PKey, Public};
use openssl::pkey_ctx::PkeyCtx;
use openssl::rsa::{Padding, Rsa};
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
    let sound = SoundKey::of(ek.parms()).map_err(|refusal| ChallengeError::Crypto(refusal.detail))?;
    let (seed, encrypted_secret) = match sound.key {
        Key::Rsa(key) => rsa_seed(key, hash, entropy)?,
        Key::Ec(key) => {
            let ephemeral = ephemeral_scalar(key.group(), entropy)?;
            ecc_seed(&key, hash, &ephemeral)?
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
    key: Rsa<Public>,
    hash: HashAlgorithm,
    entropy: &mut dyn Entropy,
) -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), ChallengeError> {
    let mut seed = Zeroizing::new(vec![0; hash.digest_len()]);
    entropy.fill(&mut seed)?;
    let key = PKey::from_rsa(key)?;
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
fn ephemeral_scalar(group: &EcGroupRef, entropy: &mut dyn Entropy) -> Result<Zeroizing<Vec<u8>>, ChallengeError> {
    let mut order = BigNum::new()?;
    let mut context = BigNumContext::new()?;
    group.order(&mut order, &mut context)?;
    let order = order.to_vec();
    let mut scalar = Zeroizing::new(vec![0; order.len()]);
    // A draw is refused once in 2^32 at most (P-256): a source that is refused so often is broken.
    for _ in 0..128 {
        entropy.fill(&mut scalar)?;
        // P-521: 7 bits too many.
        if let (Some(1), Some(top)) = (order.first(), scalar.first_mut()) {
            *top &= 1;
        }
        if scalar.iter().any(|byte| *byte != 0) && **scalar < *order {
            return Ok(scalar);
        }
    }
    Err(ChallengeError::Entropy(crate::EntropyError))
}

/// The seed both sides derive by ECDH with the ephemeral key `scalar`, and that key's point.
fn ecc_seed(
    key: &EcKeyRef<Public>,
    hash: HashAlgorithm,
    scalar: &[u8],
) -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), ChallengeError> {
    let group = key.group();
    let width = i32::try_from(group.degree().div_ceil(8))
        .map_err(|_| ChallengeError::Crypto("coordinate length".to_owned()))?;
    let mut context = BigNumContext::new()?;
    let mut secret = BigNum::from_slice(scalar)?;
    secret.set_const_time();

    let mut point = EcPoint::new(group)?;
    point.mul_generator2(group, &secret, &mut context)?;
    let mut shared = EcPoint::new(group)?;
    shared.mul2(group, key.public_key(), &secret, &mut context)?;
    secret.clear();

    // All coordinates padded to the field: a stripped zero would break one activation in 256.
    let mut coordinates = |point: &EcPointRef| -> Result<[Vec<u8>; 2], ErrorStack> {
        let (mut x, mut y) = (BigNum::new()?, BigNum::new()?);
        point.affine_coordinates(group, &mut x, &mut y, &mut context)?;
        let padded = [x.to_vec_padded(width)?, y.to_vec_padded(width)?];
        x.clear();
        Ok(padded)
    };
    let [z, _] = coordinates(&shared)?.map(Zeroizing::new);
    let [ephemeral_x, ephemeral_y] = coordinates(&point)?;
    let [static_x, _] = coordinates(key.public_key())?;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EntropyError;
    use crate::tpm::{EccParms, PublicParms, TpmEccCurve, TpmtScheme, TpmtSymDefObject};
    use openssl::ec::EcKey;

    fn unhex(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    /// `TPM2B_ID_OBJECT` with the given parts.
    fn object(outer: &str, enc_identity: &str) -> String {
        let body = format!("{:04x}{outer}{enc_identity}", outer.len() / 2);
        format!("{:04x}{body}", body.len() / 2)
    }

    #[test]
    fn the_oaep_label_ends_in_nul() {
        assert_eq!(
            hex::encode(openssl::sha::sha256(OAEP_LABEL)),
            "d3120540c033c72e8725f574f7607cb749f13f8c97cbcb469e3cdf07a0808899"
        );
    }

    /// Vector A: after the seed.
    #[test]
    fn vector_a_sha256_aes128() {
        let seed: Vec<u8> = (0..32).collect();
        let name = unhex("000be6c9e97fda917ca0f64dbef678b019a82fdafccc94860f88bddc036644c92bdc");
        let secret = unhex("0102030405060708").repeat(4);
        let sha256 = HashAlgorithm::Sha256;
        assert_eq!(
            hex::encode(&*kdfa(sha256, &seed, "STORAGE", &name, &[], 128).unwrap()),
            "fc1982a625eb66bc15a6432603dec1ac"
        );
        assert_eq!(
            hex::encode(&*kdfa(sha256, &seed, "INTEGRITY", &[], &[], 256).unwrap()),
            "bacf689f634ece301e1f1b15b072d9c87db6a69585db42b1a0cb8f73ebe2692e"
        );
        let made = id_object(sha256, SymmetricKey::aes(128).unwrap(), &seed, &name, &secret).unwrap();
        assert_eq!(
            hex::encode(made),
            object(
                "e1b7fa703faa61cf1c7d65dc374c40e19100e90ac3aeedf69e154b7447237d5f",
                "76a46236f1144ad6c712593ef4284fdb5f45a771b4db4d45d1c4da2fd548f2c75c3e"
            )
        );
    }

    struct EccVector {
        curve: TpmEccCurve,
        hash: HashAlgorithm,
        symmetric: u16,
        seed: &'static str,
        ephemeral: Option<[&'static str; 2]>,
        name: &'static str,
        outer: &'static str,
        enc_identity: &'static str,
    }

    fn key(parms: EccParms) -> EcKey<Public> {
        match SoundKey::of(&PublicParms::Ecc(parms)).unwrap().key {
            Key::Ec(key) => key,
            Key::Rsa(_) => panic!("ECC"),
        }
    }

    /// The EK whose private key is 11 repeated.
    fn ek(curve: TpmEccCurve) -> EccParms {
        let (nid, len) = curve.group().unwrap();
        let group = openssl::ec::EcGroup::from_curve_name(nid).unwrap();
        let mut context = BigNumContext::new().unwrap();
        let mut point = EcPoint::new(&group).unwrap();
        point
            .mul_generator2(&group, &BigNum::from_slice(&vec![0x11; len]).unwrap(), &mut context)
            .unwrap();
        let (mut x, mut y) = (BigNum::new().unwrap(), BigNum::new().unwrap());
        point.affine_coordinates(&group, &mut x, &mut y, &mut context).unwrap();
        EccParms {
            symmetric: None,
            scheme: TpmtScheme::Null,
            curve,
            kdf: None,
            x: x.to_vec(),
            y: y.to_vec(),
        }
    }

    fn check(vector: &EccVector) {
        let (_, len) = vector.curve.group().unwrap();
        let (seed, secret) = ecc_seed(&key(ek(vector.curve)), vector.hash, &vec![0x22; len]).unwrap();
        assert_eq!(hex::encode(&*seed), vector.seed);
        if let Some([x, y]) = vector.ephemeral {
            assert_eq!(hex::encode(secret), format!("00440020{x}0020{y}"));
        }
        let credential: Vec<u8> = (1..=0x20).collect();
        let symmetric = SymmetricKey::aes(vector.symmetric).unwrap();
        let made = id_object(vector.hash, symmetric, &seed, &unhex(vector.name), &credential).unwrap();
        assert_eq!(hex::encode(made), object(vector.outer, vector.enc_identity));
    }

    #[test]
    fn vector_b_p256() {
        let ek = ek(TpmEccCurve::NIST_P256);
        assert_eq!(
            hex::encode(&ek.x),
            "0217e617f0b6443928278f96999e69a23a4f2c152bdf6d6cdf66e5b80282d4ed"
        );
        check(&EccVector {
            curve: TpmEccCurve::NIST_P256,
            hash: HashAlgorithm::Sha256,
            symmetric: 128,
            seed: "f47e071fc50d347f2a933112b73fe892e8b8c51215f3c42d671e1238aa0b5c9c",
            ephemeral: Some([
                "d65a93977caa3d1b081852ff57a79e465f1660577304baead505dd3a48589cf3",
                "50185e895372df6221ea3a137557e473fddb6755f05bd507c3c533fce9c91285",
            ]),
            name: "000b004b0975a8b88861aeed12718f8844d01567d156c707d516502178d0bdf5e3cf",
            outer: "cd950715ed313cd39a9f1b9d28fee5d9d8658ad6d0f0b86d864d7ffabf9624fc",
            enc_identity: "239f17a60908e2763843db2c52712f99c1ed88006085c52c598873141e5f79c45973",
        });
    }

    #[test]
    fn vector_c_p384() {
        check(&EccVector {
            curve: TpmEccCurve::NIST_P384,
            hash: HashAlgorithm::Sha384,
            symmetric: 256,
            seed: "99ff539466ee853b4190d9a5a942a07f851b6e7689752b07e9fe80aad4d78cba376207c24575b28a4ae35cdfb4e5d844",
            ephemeral: None,
            name: "000c09a4d9537f89d29ac51d9b8109bbbd17556354ad5eaf95f26fc246a5cc482eb4b2a385fefc7339907f9984d9f27323ab",
            outer: "4c49ac39519a39c0c4dd3041f858406b0cdbf1ce7a40b920d43b81acbd88b010951ba6fe816c5ae33f9c3bbba38727bf",
            enc_identity: "ef1694b636c7863acfd48bcd2a96d8e9a7f7cc8a009bbd5e51bbd9f5f500c325cf99",
        });
    }

    /// Gives the same byte for ever.
    struct Constant(u8);

    impl Entropy for Constant {
        fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
            out.fill(self.0);
            Ok(())
        }
    }

    #[test]
    fn ephemeral_scalars_outside_the_group_are_drawn_again_and_not_for_ever() {
        for (curve, byte) in [
            (TpmEccCurve::NIST_P256, 0xFF),
            (TpmEccCurve::NIST_P256, 0),
            (TpmEccCurve::NIST_P521, 0),
        ] {
            assert!(matches!(
                ephemeral_scalar(key(ek(curve)).group(), &mut Constant(byte)),
                Err(ChallengeError::Entropy(EntropyError))
            ));
        }
        let fits = ephemeral_scalar(key(ek(TpmEccCurve::NIST_P521)).group(), &mut Constant(0x55)).unwrap();
        assert_eq!((fits.len(), fits[0]), (66, 1), "cut to 521 bits");
    }

    #[test]
    fn a_secret_longer_than_the_digest_is_not_for_this_ek() {
        let parms = ek(TpmEccCurve::NIST_P256);
        let mut public = unhex("0023000b000300b20000000600800043001000030010");
        for coordinate in [&parms.x, &parms.y] {
            public.extend([0, u8::try_from(coordinate.len()).unwrap()]);
            public.extend(coordinate);
        }
        let public = TpmtPublic::parse(&public).unwrap();
        assert_eq!(
            public.parms().symmetric(),
            Some(TpmtSymDefObject {
                algorithm: TpmAlgId::AES,
                key_bits: 128,
                mode: TpmAlgId::CFB
            })
        );
        assert!(make_credential(&public, b"name", &[1; 32], &mut Constant(0x55)).is_ok());
        assert!(matches!(
            make_credential(&public, b"name", &[1; 33], &mut Constant(0x55)),
            Err(ChallengeError::Crypto(_))
        ));
    }
}
