//! `POST /v1/renewals` and `POST /v1/renewals/{id}/activation`, both with the current certificate in TLS.
//!
//! A renewal is an enrollment that replaces a certificate: it is answered by [`crate::enrollment::EnrollmentChallenge`]
//! and [`crate::enrollment::EnrollmentResult`], its activation is a [`crate::enrollment::ActivationRequest`], and its id
//! names it in `GET /v1/enrollments/{id}`.

use serde::{Deserialize, Serialize};

use crate::Bytes;
use crate::enrollment::AgentInfo;

/// Body of `POST /v1/renewals`. Which certificate, which device and which keys, the server knows from the certificate in
/// the TLS handshake and from its record; nothing of it can be claimed here.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenewalRequest {
    /// Issuing CA certificates of the EK's vendor that the device can offer, DER, any order. Path-building material,
    /// never anchors: the endorsement is judged anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ek_chain: Vec<Bytes>,
    /// What software speaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentInfo>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_can_be_claimed() {
        assert!(crate::parse::<RenewalRequest>(b"{}").is_ok());
        for body in [
            r#"{"device":"other"}"#,
            r#"{"profile":"device-idevid"}"#,
            r#"{"serial":"00"}"#,
            r#"{"subject":"CN=x"}"#,
        ] {
            assert!(crate::parse::<RenewalRequest>(body.as_bytes()).is_err(), "{body}");
        }
    }
}
