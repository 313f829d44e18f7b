//! KDFa and KDFe (TPM 2.0 Part 1, 11.4.10), over OpenSSL's hashes.

use super::HashAlgorithm;
use openssl::error::ErrorStack;
use openssl::hash::{Hasher, MessageDigest};
use openssl::pkey::PKey;
use openssl::sign::Signer;
use zeroize::Zeroizing;

/// KDFa: SP 800-108 in counter mode with HMAC. `label` without its NUL; `bits` a multiple of 8.
///
/// # Errors
/// OpenSSL's.
pub fn kdfa(
    hash: HashAlgorithm,
    key: &[u8],
    label: &str,
    context_u: &[u8],
    context_v: &[u8],
    bits: u16,
) -> Result<Zeroizing<Vec<u8>>, ErrorStack> {
    kdfa_with(hash.message_digest(), key, label, [context_u, context_v], bits)
}

/// KDFe: the hash of a counter, the ECDH x-coordinate `z` and both parties' x-coordinates, all three padded to the
/// size of the field. `label` without its NUL; `bits` a multiple of 8.
///
/// # Errors
/// OpenSSL's.
pub fn kdfe(
    hash: HashAlgorithm,
    z: &[u8],
    label: &str,
    party_u: &[u8],
    party_v: &[u8],
    bits: u16,
) -> Result<Zeroizing<Vec<u8>>, ErrorStack> {
    blocks(bits, |counter, out| {
        let mut hasher = Hasher::new(hash.message_digest())?;
        for part in [&counter, z, label.as_bytes(), &[0], party_u, party_v] {
            hasher.update(part)?;
        }
        out.extend_from_slice(&hasher.finish()?);
        Ok(())
    })
}

/// HMAC over the concatenation of `parts`.
pub(super) fn hmac(md: MessageDigest, key: &[u8], parts: &[&[u8]]) -> Result<Zeroizing<Vec<u8>>, ErrorStack> {
    let key = PKey::hmac(key)?;
    let mut signer = Signer::new(md, &key)?;
    for part in parts {
        signer.update(part)?;
    }
    signer.sign_to_vec().map(Zeroizing::new)
}

fn kdfa_with(
    md: MessageDigest,
    key: &[u8],
    label: &str,
    [u, v]: [&[u8]; 2],
    bits: u16,
) -> Result<Zeroizing<Vec<u8>>, ErrorStack> {
    let size = u32::from(bits).to_be_bytes();
    blocks(bits, |counter, out| {
        out.extend_from_slice(&hmac(md, key, &[&counter, label.as_bytes(), &[0], u, v, &size])?);
        Ok(())
    })
}

/// Concatenate blocks for the counters 1, 2, ... and cut off at `bits`.
fn blocks(
    bits: u16,
    mut block: impl FnMut([u8; 4], &mut Vec<u8>) -> Result<(), ErrorStack>,
) -> Result<Zeroizing<Vec<u8>>, ErrorStack> {
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
        let sha1 = kdfa_with(MessageDigest::sha1(), b"ca\0", "IDENTITY", [b"abc\0", b""], 256).unwrap();
        assert_eq!(
            hex::encode(&*sha1),
            "83f354afcf923de2112e0891434cd0bdc8acbf01b811c0e8cd062ded39e31f7f"
        );
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
