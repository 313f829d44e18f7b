//! OCSP (RFC 6960, the profile of RFC 9919, nonces of RFC 9654).
//!
//! A request is bytes of a stranger: [`OcspRequest::decode`] is strict and bounded. An answer has a corridor of its own,
//! [`OcspDraft`] -> [`LintedOcsp`] -> [`OcspResponse`]; each arrow consumes its left side. It is signed by a [`Responder`],
//! a delegate whose certificate the CA asked about issued itself. An [`OcspResponse`] is born of signing a linted draft, or
//! of bytes from anywhere that decode strictly ([`RawOcspResponse`]) and verify under the issuer.
//!
//! An answer says `good` or `revoked`. There is no word here for `unknown`, and none for a certificate of another CA: who
//! cannot answer refuses, unsigned ([`OcspRefusal`]).
//!
//! Pure: times, statuses and keys are arguments.

mod cert_id;
mod draft;
pub mod lint;
mod read;
mod refusal;
mod request;
mod responder;
mod statement;
#[cfg(test)]
mod tests;
mod view;

pub use cert_id::{CertId, CertIdForm, IssuerHashes, RawCertId};
pub use draft::{LintedOcsp, OcspDraft, OcspDraftError, OcspSpec};
pub use read::{MAX_RESPONSE_BYTES, OcspError, OcspResponse, RawOcspResponse};
pub use refusal::OcspRefusal;
pub use request::{MAX_CERT_IDS, MAX_NONCE, MAX_REQUEST_BYTES, Nonce, OcspRequest, OcspRequestError};
pub use responder::{Responder, ResponderError};
pub use statement::{CertStatus, OcspAnswer};
