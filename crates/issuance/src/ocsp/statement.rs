//! What an answer says, and the bytes that say it (`ResponseData`, RFC 6960 §4.2.1).

use attest::UnixTime;
use wire::revocation::RevocationReason;

use super::cert_id::{CertId, IssuerHashes};
use super::request::Nonce;
use crate::encode::{ENUMERATED, OCTET_STRING, SEQUENCE, context, context_constructed, generalized_time, tlv};

/// What is said about a certificate. Only of certificates on record: nobody says `good` of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertStatus {
    /// On record, and neither revoked nor on hold.
    Good,
    /// Revoked, or on hold.
    Revoked {
        /// Since when without a break; not after thisUpdate.
        since: UnixTime,
        /// Why.
        reason: RevocationReason,
    },
}

/// One `SingleResponse`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OcspAnswer {
    /// About which certificate.
    pub id: CertId,
    /// What.
    pub status: CertStatus,
}

/// What an answer says, its signer left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) answers: Vec<OcspAnswer>,
    /// producedAt.
    pub(crate) produced_at: UnixTime,
    /// thisUpdate of all answers.
    pub(crate) this_update: UnixTime,
    /// nextUpdate of all answers.
    pub(crate) next_update: UnixTime,
    pub(crate) nonce: Option<Nonce>,
}

impl Statement {
    /// `ResponseData`; `None` when a date lies outside 1970..=9999.
    pub(crate) fn encode(&self, key_hash: &[u8; 20], issuer: &IssuerHashes) -> Option<Vec<u8>> {
        let this_update = generalized_time(self.this_update)?;
        let next_update = tlv(context_constructed(0), &[&generalized_time(self.next_update)?]);
        let mut answers = Vec::with_capacity(160);
        for answer in &self.answers {
            let status = status(answer.status)?;
            let id = answer.id.encode(issuer);
            answers.extend(tlv(SEQUENCE, &[&id, &status, &this_update, &next_update]));
        }
        let extensions = self.nonce.as_ref().map_or_else(Vec::new, |nonce| {
            tlv(context_constructed(1), &[&tlv(SEQUENCE, &[&nonce.encode()])])
        });
        // Version 1 is the default and left out.
        Some(tlv(
            SEQUENCE,
            &[
                &tlv(context_constructed(2), &[&tlv(OCTET_STRING, &[key_hash])]),
                &generalized_time(self.produced_at)?,
                &tlv(SEQUENCE, &[&answers]),
                &extensions,
            ],
        ))
    }
}

/// `CertStatus`.
fn status(status: CertStatus) -> Option<Vec<u8>> {
    match status {
        CertStatus::Good => Some(tlv(context(0), &[])),
        CertStatus::Revoked { since, reason } => {
            let since = generalized_time(since)?;
            // As in CRLs, a reason is absent rather than unspecified (RFC 5280 §5.3.1).
            let reason = match reason {
                RevocationReason::Unspecified => Vec::new(),
                reason => tlv(context_constructed(0), &[&tlv(ENUMERATED, &[&[reason.code()]])]),
            };
            Some(tlv(context_constructed(1), &[&since, &reason]))
        }
    }
}
