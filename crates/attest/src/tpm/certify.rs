//! `TPM2_Certify` (TPM 2.0 Part 3, 18.2): an attestation key vouches that an object is loaded beside it.

use super::{AttestationKey, TpmsAttest, TpmsClockInfo, TpmtSignature};
use crate::{Reason, Refusal};

/// Qualifying data (extraData) of the `TPM2_Certify` that vouches for an identity key:
/// SHA-256("holdfast-certify-v1" || 00 || enrollment id || nonce || SHA-256(CSR DER)).
///
/// So a certification belongs to one challenge and one request, and cannot be moved to another.
#[must_use]
pub fn qualifying_data(enrollment_id: &[u8; 16], nonce: &[u8; 32], csr: &[u8]) -> [u8; 32] {
    let mut hash = openssl::sha::Sha256::new();
    hash.update(b"holdfast-certify-v1\0");
    hash.update(enrollment_id);
    hash.update(nonce);
    hash.update(&crate::digest::sha256(csr));
    hash.finish()
}

/// Qualifying data of the `TPM2_Certify` in a renewal, over the certificate it replaces as well:
/// SHA-256("holdfast-renew-v1" || 00 || renewal id || nonce || SHA-256(CSR DER) || SHA-256(certificate DER)).
///
/// Of another kind than [`qualifying_data`]: what was certified for an enrollment renews nothing, and the other way
/// round. The device itself says which certificate it wants replaced.
#[must_use]
pub fn renewal_qualifying_data(id: &[u8; 16], nonce: &[u8; 32], csr: &[u8], certificate_sha256: &[u8; 32]) -> [u8; 32] {
    let mut hash = openssl::sha::Sha256::new();
    hash.update(b"holdfast-renew-v1\0");
    hash.update(id);
    hash.update(nonce);
    hash.update(&openssl::sha::sha256(csr));
    hash.update(certificate_sha256);
    hash.finish()
}

/// What an IAK certifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certifies {
    /// The identity key of the CSR.
    Identity,
    /// A new attestation key, in the same conversation.
    Attestation,
}

/// Qualifying data of the `TPM2_Certify` by which a manufacturer's IAK vouches for a new key:
/// SHA-256("holdfast-iak-certify-v1" || 00 || id || nonce || SHA-256(CSR DER) || role), role 00 for the identity key and
/// 01 for the attestation key; in a renewal "holdfast-iak-renew-v1" and, behind it all, SHA-256(certificate DER).
///
/// Of other kinds than [`qualifying_data`]: what was said in one conversation, about one key, is worth nothing elsewhere.
#[must_use]
pub fn iak_qualifying_data(
    id: &[u8; 16],
    nonce: &[u8; 32],
    csr: &[u8],
    what: Certifies,
    renewed: Option<&[u8; 32]>,
) -> [u8; 32] {
    let mut hash = openssl::sha::Sha256::new();
    let kind: &[u8] = match renewed {
        None => b"holdfast-iak-certify-v1\0",
        Some(_) => b"holdfast-iak-renew-v1\0",
    };
    hash.update(kind);
    hash.update(id);
    hash.update(nonce);
    hash.update(&crate::digest::sha256(csr));
    hash.update(match what {
        Certifies::Identity => &[0],
        Certifies::Attestation => &[1],
    });
    if let Some(certificate) = renewed {
        hash.update(certificate);
    }
    hash.finish()
}

/// Check that `ak` certified the object named `name`, and said `extra_data` with it.
///
/// `attest` is a `TPMS_ATTEST` without the TPM2B size, `signature` a `TPMT_SIGNATURE`. Parsed first, believed last:
/// magic, type, extraData, Name, and then the signature over the received bytes. What the Name stands for is for the
/// caller to judge: a genuine AK certifies imported keys too. What the TPM said about its clock is given back.
///
/// # Errors
/// [`Reason::CertMagic`], [`Reason::CertType`], [`Reason::CertNonce`], [`Reason::CertName`], [`Reason::AkAlg`] for a
/// signature of another scheme than the key's, [`Reason::CertSig`], [`Reason::Malformed`].
pub fn verify_certify(
    ak: &AttestationKey,
    attest: &[u8],
    signature: &[u8],
    extra_data: &[u8; 32],
    name: &[u8],
) -> Result<TpmsClockInfo, Refusal> {
    let attest = TpmsAttest::parse(attest)?;
    let signature = TpmtSignature::parse(signature)?;
    if attest.extra_data.len() != extra_data.len() || !openssl::memcmp::eq(attest.extra_data, extra_data) {
        return Err(Refusal::new(
            Reason::CertNonce,
            format!(
                "extraData of {} bytes is not that of this challenge and request",
                attest.extra_data.len()
            ),
        ));
    }
    // An object with nameAlg NULL has an empty Name: two of them would be equal.
    if name.is_empty() || attest.attested.name != name {
        return Err(Refusal::new(
            Reason::CertName,
            format!(
                "certified {}, submitted {}",
                hex::encode(attest.attested.name),
                hex::encode(name)
            ),
        ));
    }
    ak.verify(attest.raw, &signature)?;
    Ok(attest.clock_info)
}
