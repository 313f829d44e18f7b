//! PKCS#10 requests (RFC 2986): proof of possession, and what they ask for.

use crate::Refusal;

/// What a CSR asks for beyond a certificate on its key. Asked, not granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CsrRequest {
    /// Subject `Name`, DER; an empty RDNSequence is `30 00`.
    pub subject: Vec<u8>,
    /// SAN `GeneralNames`, DER, if an extensionRequest carries one.
    pub subject_alt_name: Option<Vec<u8>>,
    /// OIDs of all other requested extensions, dotted, in order.
    pub other_extensions: Vec<String>,
    /// OIDs of attributes other than one PKCS#9 extensionRequest, dotted; a second extensionRequest is listed here.
    pub other_attributes: Vec<String>,
}

/// A CSR whose signature was verified over the bytes received.
#[derive(Clone, Debug)]
pub struct ProvenCsr {
    /// SubjectPublicKeyInfo, DER, as in [`crate::KeyFacts::spki`].
    pub spki: Vec<u8>,
    /// What it asks for.
    pub request: CsrRequest,
}

/// Parse strictly and verify the proof of possession with an allow-listed algorithm.
///
/// # Errors
/// [`crate::Reason::Malformed`] or [`crate::Reason::CsrSig`].
pub fn prove(_der: &[u8]) -> Result<ProvenCsr, Refusal> {
    todo!()
}
