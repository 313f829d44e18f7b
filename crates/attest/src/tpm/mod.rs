//! TPM 2.0 structures under their TCG names, parsed with exact length, and the arithmetic around credentials.

mod algorithm;
mod public;
mod read;
mod spki;
mod weak;

pub use algorithm::{HashAlgorithm, TpmAlgId, TpmEccCurve};
pub use public::{EccParms, PublicParms, RsaParms, TpmaObject, TpmtPublic, TpmtScheme, TpmtSymDefObject};

/// Qualifying data (extraData) of the `TPM2_Certify` that vouches for an identity key:
/// SHA-256("holdfast-certify-v1" || 00 || enrollment id || nonce || SHA-256(CSR DER)).
#[must_use]
pub fn qualifying_data(enrollment_id: &[u8; 16], nonce: &[u8; 32], csr: &[u8]) -> [u8; 32] {
    let mut hash = openssl::sha::Sha256::new();
    hash.update(b"holdfast-certify-v1\0");
    hash.update(enrollment_id);
    hash.update(nonce);
    hash.update(&openssl::sha::sha256(csr));
    hash.finish()
}
