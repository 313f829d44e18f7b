//! The CA certificate that signs, parsed once.

use attest::UnixTime;

use crate::SignatureAlgorithm;

/// A CA certificate and its chain, parsed once and kept.
#[derive(Debug, Clone)]
pub struct Issuer {
    _todo: (),
}

/// Where relying parties find things; empty means the extension is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IssuerUrls {
    /// caIssuers URL (plain http, one DER certificate).
    pub ca_issuers: Option<String>,
    /// CRL distribution point (plain http).
    pub crl: Option<String>,
}

/// A CA certificate that cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
#[error("issuer: {0}")]
pub struct IssuerError(pub String);

impl Issuer {
    /// `chain` is DER: issuing CA first, root last. Each is verified under the next; the first must be a CA with
    /// keyCertSign and an SKI, the last self-signed.
    ///
    /// # Errors
    /// [`IssuerError`].
    pub fn from_chain(
        _chain: &[Vec<u8>],
        _algorithm: SignatureAlgorithm,
        _urls: IssuerUrls,
    ) -> Result<Self, IssuerError> {
        todo!()
    }
    /// Subject `Name`, the DER bytes as in the certificate.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        todo!()
    }
    /// subjectKeyIdentifier.
    #[must_use]
    pub fn key_id(&self) -> &[u8] {
        todo!()
    }
    /// SubjectPublicKeyInfo, DER.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        todo!()
    }
    /// Algorithm it signs with.
    #[must_use]
    pub fn algorithm(&self) -> SignatureAlgorithm {
        todo!()
    }
    /// First second of validity.
    #[must_use]
    pub fn not_before(&self) -> UnixTime {
        todo!()
    }
    /// Last second of validity.
    #[must_use]
    pub fn not_after(&self) -> UnixTime {
        todo!()
    }
    /// Chain, DER: this certificate first, root last.
    #[must_use]
    pub fn chain(&self) -> &[Vec<u8>] {
        todo!()
    }
    /// URLs.
    #[must_use]
    pub fn urls(&self) -> &IssuerUrls {
        todo!()
    }
}
