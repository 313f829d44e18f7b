//! `POST /v1/renewals` and `POST /v1/renewals/{id}/activation`, both with the current certificate in TLS.
//!
//! A renewal is an enrollment that replaces a certificate: it is answered by [`crate::enrollment::EnrollmentChallenge`]
//! and [`crate::enrollment::EnrollmentResult`], its activation is a [`crate::enrollment::ActivationRequest`], and its id
//! names it in `GET /v1/enrollments/{id}`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
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

/// Answer to `GET /v1/renewal-info/{certificate}`: RFC 9773 §4.2, in its spelling. `Retry-After` says when to ask again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RenewalInfo {
    /// When to renew.
    pub suggested_window: SuggestedWindow,
    /// A page about why, for people.
    #[serde(default, rename = "explanationURL", skip_serializing_if = "Option::is_none")]
    pub explanation_url: Option<String>,
}

/// A window in time: a device takes a moment in it, and renews at once when it is past.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuggestedWindow {
    /// RFC 3339.
    pub start: String,
    /// RFC 3339; after `start`.
    pub end: String,
}

/// Text that names no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotACertificateId;

impl core::fmt::Display for NotACertificateId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("a certificate is named by its issuer's key identifier and its serial number, in base64url, with a dot between")
    }
}

impl core::error::Error for NotACertificateId {}

/// How a certificate is named in renewal information (RFC 9773 §4.1): keyIdentifier of its authorityKeyIdentifier and
/// its serial number (DER content octets), each in base64url without padding, with a dot between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateId {
    /// keyIdentifier of the issuer.
    pub issuer_key_id: Vec<u8>,
    /// DER content octets.
    pub serial: Vec<u8>,
}

impl core::fmt::Display for CertificateId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let text = |bytes| URL_SAFE_NO_PAD.encode(bytes);
        write!(f, "{}.{}", text(&self.issuer_key_id), text(&self.serial))
    }
}

impl core::str::FromStr for CertificateId {
    type Err = NotACertificateId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (issuer, serial) = text.split_once('.').ok_or(NotACertificateId)?;
        let bytes = |text: &str| {
            let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| NotACertificateId)?;
            if bytes.is_empty() {
                Err(NotACertificateId)
            } else {
                Ok(bytes)
            }
        };
        Ok(Self {
            issuer_key_id: bytes(issuer)?,
            serial: bytes(serial)?,
        })
    }
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

    /// The example of RFC 9773 §4.1.
    #[test]
    fn certificates_have_one_name() {
        let text = "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE";
        let id: CertificateId = text.parse().unwrap();
        assert_eq!(
            hex::encode(&id.issuer_key_id),
            "69885b6b87464041e1b37b847ba0ae2cde01c8d4"
        );
        assert_eq!(hex::encode(&id.serial), "0087654321");
        assert_eq!(id.to_string(), text);
        for wrong in [
            "",
            ".",
            "aYhba4dGQEHhs3uEe6CuLN4ByNQ",
            "aYhba4dGQEHhs3uEe6CuLN4ByNQ.",
            ".AIdlQyE",
            "aYhba4dGQEHhs3uEe6CuLN4ByNQ=.AIdlQyE=",
            "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyF",
            "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdl/yE",
            "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE.AA",
            "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdl QyE",
        ] {
            assert_eq!(wrong.parse::<CertificateId>(), Err(NotACertificateId), "{wrong:?}");
        }
    }

    #[test]
    fn information_is_spelled_as_the_standard_has_it() {
        let info = RenewalInfo {
            suggested_window: SuggestedWindow {
                start: "2026-01-01T00:00:00Z".to_owned(),
                end: "2026-01-02T00:00:00Z".to_owned(),
            },
            explanation_url: None,
        };
        let text = serde_json::to_string(&info).unwrap();
        assert_eq!(
            text,
            r#"{"suggestedWindow":{"start":"2026-01-01T00:00:00Z","end":"2026-01-02T00:00:00Z"}}"#
        );
    }
}
