//! TPM 2.0 structures under their TCG names, parsed with exact length, and the arithmetic around credentials.

/// `TPMT_PUBLIC` (TPM 2.0 Part 2, 12.2.4), with the bytes it was parsed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TpmtPublic {
    _todo: (),
}

/// Qualifying data (extraData) of the `TPM2_Certify` that vouches for an identity key:
/// SHA-256("holdfast-certify-v1" || 00 || enrollment id || nonce || SHA-256(CSR DER)).
#[must_use]
pub fn qualifying_data(_enrollment_id: &[u8; 16], _nonce: &[u8; 32], _csr: &[u8]) -> [u8; 32] {
    todo!()
}
