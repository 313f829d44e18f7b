//! `TPM2_ActivateCredential` in software (TPM 2.0 Part 1, 24.5), for an EK whose private key the test holds.

use super::{SoftKey, group, hash, message_digest};
use attest::tpm::{TpmAlgId, kdfa, kdfe};
use openssl::bn::{BigNum, BigNumContext};
use openssl::derive::Deriver;
use openssl::ec::EcKey;
use openssl::encrypt::Decrypter;
use openssl::pkey::PKey;
use openssl::rsa::Padding;
use openssl::sign::Signer;
use openssl::symm::{Cipher, decrypt};

/// Why a TPM would not give the secret.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The seed does not decrypt.
    Seed,
    /// The HMAC is not over this Name.
    Integrity,
    /// Sizes do not fit.
    Size,
}

fn unsized_exactly(bytes: &[u8]) -> Result<&[u8], Refused> {
    let (size, rest) = bytes.split_first_chunk().ok_or(Refused::Size)?;
    (usize::from(u16::from_be_bytes(*size)) == rest.len())
        .then_some(rest)
        .ok_or(Refused::Size)
}

fn split_sized(bytes: &[u8]) -> Result<(&[u8], &[u8]), Refused> {
    let (size, rest) = bytes.split_first_chunk().ok_or(Refused::Size)?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*size)))
        .ok_or(Refused::Size)
}

/// The credential, if the object `name` were loaded beside the EK.
pub(crate) fn activate(
    ek: &SoftKey,
    name_alg: TpmAlgId,
    aes: u16,
    name: &[u8],
    credential_blob: &[u8],
    encrypted_secret: &[u8],
) -> Result<Vec<u8>, Refused> {
    let alg = hash(name_alg);
    let secret = unsized_exactly(encrypted_secret)?;
    let seed = match ek {
        SoftKey::Rsa(_) => rsa_seed(ek, name_alg, secret)?,
        SoftKey::Ec(key, _) => {
            let z_and_x = ecc_z(ek, secret)?;
            let mut context = BigNumContext::new().unwrap();
            let (mut x, mut y) = (BigNum::new().unwrap(), BigNum::new().unwrap());
            key.public_key()
                .affine_coordinates(key.group(), &mut x, &mut y, &mut context)
                .unwrap();
            let own_x = x.to_vec_padded(i32::try_from(z_and_x.0.len()).unwrap()).unwrap();
            kdfe(alg, &z_and_x.0, "IDENTITY", &z_and_x.1, &own_x, alg.digest_bits())
                .unwrap()
                .to_vec()
        }
    };

    let (outer, enc_identity) = split_sized(unsized_exactly(credential_blob)?)?;
    let hmac_key = kdfa(alg, &seed, "INTEGRITY", &[], &[], alg.digest_bits()).unwrap();
    let hmac_key = PKey::hmac(&hmac_key).unwrap();
    let mut signer = Signer::new(message_digest(name_alg), &hmac_key).unwrap();
    signer.update(enc_identity).unwrap();
    signer.update(name).unwrap();
    if signer.sign_to_vec().unwrap() != outer {
        return Err(Refused::Integrity);
    }
    let cipher = if aes == 128 {
        Cipher::aes_128_cfb128()
    } else {
        Cipher::aes_256_cfb128()
    };
    let key = kdfa(alg, &seed, "STORAGE", name, &[], aes).unwrap();
    let credential = decrypt(cipher, &key, Some(&[0; 16]), enc_identity).unwrap();
    unsized_exactly(&credential).map(<[u8]>::to_vec)
}

fn rsa_seed(ek: &SoftKey, name_alg: TpmAlgId, secret: &[u8]) -> Result<Vec<u8>, Refused> {
    let key = ek.pkey();
    let mut decrypter = Decrypter::new(&key).unwrap();
    decrypter.set_rsa_padding(Padding::PKCS1_OAEP).unwrap();
    decrypter.set_rsa_oaep_md(message_digest(name_alg)).unwrap();
    decrypter.set_rsa_mgf1_md(message_digest(name_alg)).unwrap();
    decrypter.set_rsa_oaep_label(b"IDENTITY\0").unwrap();
    let mut seed = vec![0; decrypter.decrypt_len(secret).map_err(|_| Refused::Seed)?];
    let len = decrypter.decrypt(secret, &mut seed).map_err(|_| Refused::Seed)?;
    seed.truncate(len);
    Ok(seed)
}

/// Z and the ephemeral x.
fn ecc_z(ek: &SoftKey, secret: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Refused> {
    let SoftKey::Ec(_, curve) = ek else {
        return Err(Refused::Seed);
    };
    let (x, rest) = split_sized(secret)?;
    let y = unsized_exactly(rest)?;
    let (x_number, y_number) = (BigNum::from_slice(x).unwrap(), BigNum::from_slice(y).unwrap());
    let peer = EcKey::from_public_key_affine_coordinates(&group(*curve), &x_number, &y_number)
        .and_then(PKey::from_ec_key)
        .map_err(|_| Refused::Seed)?;
    let own = ek.pkey();
    let mut deriver = Deriver::new(&own).unwrap();
    deriver.set_peer(&peer).unwrap();
    let z = deriver.derive_to_vec().unwrap();
    Ok((z, x.to_vec()))
}
