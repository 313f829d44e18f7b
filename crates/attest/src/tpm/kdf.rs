//! KDFa and KDFe (TPM 2.0 Part 1, 11.4.10).

use super::HashAlgorithm;
use hmac::digest::InvalidLength;
use hmac::{EagerHash, Hmac, KeyInit as _, Mac as _};
use sha2::{Digest, Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

/// KDFa: SP 800-108 in counter mode with HMAC. `label` without its NUL; `bits` a multiple of 8.
///
/// # Errors
/// None that is known: HMAC takes keys of any length.
pub fn kdfa(
    hash: HashAlgorithm,
    key: &[u8],
    label: &str,
    context_u: &[u8],
    context_v: &[u8],
    bits: u16,
) -> Result<Zeroizing<Vec<u8>>, InvalidLength> {
    kdfa_with(|parts| hmac(hash, key, parts), label, [context_u, context_v], bits)
}

/// KDFe: the hash of a counter, the ECDH x-coordinate `z` and both parties' x-coordinates, all three padded to the
/// size of the field. `label` without its NUL; `bits` a multiple of 8.
///
/// # Errors
/// None that is known.
pub fn kdfe(
    hash: HashAlgorithm,
    z: &[u8],
    label: &str,
    party_u: &[u8],
    party_v: &[u8],
    bits: u16,
) -> Result<Zeroizing<Vec<u8>>, InvalidLength> {
    blocks(bits, |counter, out| {
        let parts = [&counter, z, label.as_bytes(), &[0], party_u, party_v];
        out.extend_from_slice(&match hash {
            HashAlgorithm::Sha256 => digest_of::<Sha256>(&parts),
            HashAlgorithm::Sha384 => digest_of::<Sha384>(&parts),
            HashAlgorithm::Sha512 => digest_of::<Sha512>(&parts),
        });
        Ok(())
    })
}

fn kdfa_with(
    mac: impl Fn(&[&[u8]]) -> Result<Zeroizing<Vec<u8>>, InvalidLength>,
    label: &str,
    [u, v]: [&[u8]; 2],
    bits: u16,
) -> Result<Zeroizing<Vec<u8>>, InvalidLength> {
    let size = u32::from(bits).to_be_bytes();
    blocks(bits, |counter, out| {
        out.extend_from_slice(&mac(&[&counter, label.as_bytes(), &[0], u, v, &size])?);
        Ok(())
    })
}

/// HMAC over the concatenation of `parts`.
pub(super) fn hmac(hash: HashAlgorithm, key: &[u8], parts: &[&[u8]]) -> Result<Zeroizing<Vec<u8>>, InvalidLength> {
    match hash {
        HashAlgorithm::Sha256 => hmac_of::<Sha256>(key, parts),
        HashAlgorithm::Sha384 => hmac_of::<Sha384>(key, parts),
        HashAlgorithm::Sha512 => hmac_of::<Sha512>(key, parts),
    }
}

fn hmac_of<D: EagerHash>(key: &[u8], parts: &[&[u8]]) -> Result<Zeroizing<Vec<u8>>, InvalidLength> {
    let mut mac = Hmac::<D>::new_from_slice(key)?;
    for part in parts {
        mac.update(part);
    }
    Ok(Zeroizing::new(mac.finalize().into_bytes().to_vec()))
}

fn digest_of<D: Digest>(parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let mut digest = D::new();
    for part in parts {
        digest.update(part);
    }
    Zeroizing::new(digest.finalize().to_vec())
}

/// Concatenate blocks for the counters 1, 2, ... and cut off at `bits`.
fn blocks(
    bits: u16,
    mut block: impl FnMut([u8; 4], &mut Vec<u8>) -> Result<(), InvalidLength>,
) -> Result<Zeroizing<Vec<u8>>, InvalidLength> {
    let len = usize::from(bits / 8);
    // Room for one block beyond the end: a reallocation would leave secrets behind.
    let mut out = Zeroizing::new(Vec::with_capacity(len + 64));
    let mut counter = 1_u32;
    while out.len() < len {
        block(counter.to_be_bytes(), &mut out)?;
        counter += 1;
    }
    out.truncate(len);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kdfa_agrees_with_go_tpm() {
        let sha256 = kdfa(HashAlgorithm::Sha256, b"yolo\0", "IDENTITY", b"kek\0", b"yoyo\0", 128).unwrap();
        assert_eq!(hex::encode(&*sha256), "d2d72cc7a8a5eb09e8c79012e2da9f22");
    }

    #[test]
    fn kdfa_over_the_hmac_of_another_hash() {
        use openssl::{hash::MessageDigest, pkey::PKey, sign::Signer};
        let sha1 = |parts: &[&[u8]]| {
            let key = PKey::hmac(b"ca\0").unwrap();
            let mut signer = Signer::new(MessageDigest::sha1(), &key).unwrap();
            Ok(Zeroizing::new(signer.sign_oneshot_to_vec(&parts.concat()).unwrap()))
        };
        let derived = kdfa_with(sha1, "IDENTITY", [b"abc\0", b""], 256).unwrap();
        assert_eq!(
            hex::encode(&*derived),
            "83f354afcf923de2112e0891434cd0bdc8acbf01b811c0e8cd062ded39e31f7f"
        );
    }

    #[test]
    fn hmac_is_that_of_openssl() {
        use openssl::{hash::MessageDigest, pkey::PKey, sign::Signer};
        for (ours, theirs) in [
            (HashAlgorithm::Sha256, MessageDigest::sha256()),
            (HashAlgorithm::Sha384, MessageDigest::sha384()),
            (HashAlgorithm::Sha512, MessageDigest::sha512()),
        ] {
            for length in [1, 32, 64, 65, 128, 129, 300] {
                let key = vec![7; length];
                let reference = PKey::hmac(&key).unwrap();
                let mut signer = Signer::new(theirs, &reference).unwrap();
                let expected = signer.sign_oneshot_to_vec(b"one, two").unwrap();
                assert_eq!(*hmac(ours, &key, &[b"one", b", two"]).unwrap(), expected, "{length}");
            }
        }
    }

    #[test]
    fn longer_output_extends_shorter_output_only_when_the_size_is_not_hashed() {
        // KDFe does not hash the number of bits, KDFa does.
        let e = |bits| kdfe(HashAlgorithm::Sha256, &[1; 32], "IDENTITY", &[2; 32], &[3; 32], bits).unwrap();
        assert_eq!(e(512)[..32], e(256)[..]);
        let a = |bits| kdfa(HashAlgorithm::Sha256, &[1; 32], "STORAGE", b"", b"", bits).unwrap();
        assert_ne!(a(512)[..32], a(256)[..]);
    }
}
