//! The one way a body is read.

use serde::de::DeserializeOwned;

/// Text that is not strict JSON of the shape wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// What and where, safe to show: printable ASCII, at most 200 characters.
    pub detail: String,
}

impl core::fmt::Display for Malformed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl core::error::Error for Malformed {}

/// Read a body: one JSON value of exactly the type's shape and nothing behind it. Unknown and duplicate members,
/// numbers as strings, nesting deeper than 128 and text that is not UTF-8 are refused.
///
/// # Errors
/// [`Malformed`].
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Malformed> {
    serde_json::from_slice(body).map_err(|error| {
        // A message quotes names of the input: keep it short, and free of what a terminal would obey.
        let detail = error
            .to_string()
            .chars()
            .map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' })
            .take(200)
            .collect();
        Malformed { detail }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrollment::{ActivationRequest, EnrollmentRequest};
    use proptest::prelude::*;

    const BEGIN: &str = r#"{"profile":"device-idevid","rot":{"type":"tpm20","ek_certificate":"AAEC","ek_public":"AA==","ak_public":"AAA="}}"#;

    fn begin(text: &str) -> Result<EnrollmentRequest, Malformed> {
        parse(text.as_bytes())
    }

    #[test]
    fn the_shortest_request_is_taken() {
        let request = begin(BEGIN).unwrap();
        assert_eq!(request.profile, "device-idevid");
        let crate::enrollment::RotEvidence::Tpm20 {
            ek_certificate,
            ek_chain,
            ..
        } = request.rot;
        assert_eq!(ek_certificate.0, [0, 1, 2]);
        assert!(ek_chain.is_empty());
    }

    /// Each text differs from an accepted one in exactly one thing.
    #[test]
    fn what_is_refused() {
        let replaced = |from: &str, to: &str| {
            assert!(BEGIN.contains(from), "the change must change something");
            BEGIN.replacen(from, to, 1)
        };
        let deep = "[".repeat(200) + &"]".repeat(200);
        let cases = [
            (
                "duplicate at the top",
                replaced(r#"{"profile""#, r#"{"profile":"a","profile""#),
            ),
            (
                "duplicate in the evidence",
                replaced(r#""ek_public""#, r#""ek_public":"AA==","ek_public""#),
            ),
            (
                "duplicate tag",
                replaced(r#""type":"tpm20""#, r#""type":"tpm20","type":"tpm20""#),
            ),
            ("unknown at the top", replaced("{\"profile\"", "{\"x\":1,\"profile\"")),
            (
                "unknown in the evidence",
                replaced(r#""ek_public""#, r#""x":1,"ek_public""#),
            ),
            ("missing", replaced(r#""profile":"device-idevid","#, "")),
            ("missing tag", replaced(r#""type":"tpm20","#, "")),
            ("other tag", replaced("tpm20", "tpm12")),
            ("number for text", replaced(r#""device-idevid""#, "1")),
            ("null for text", replaced(r#""device-idevid""#, "null")),
            ("array for text", replaced(r#""AAEC""#, "[0,1,2]")),
            ("deep nesting", replaced(r#""AAEC""#, &deep)),
            ("huge number", replaced(r#""AAEC""#, "1e400")),
            ("trailing text", format!("{BEGIN}x")),
            ("second value", format!("{BEGIN}{BEGIN}")),
            ("cut short", BEGIN[..BEGIN.len() - 1].to_owned()),
            ("byte order mark", format!("\u{feff}{BEGIN}")),
            ("lone surrogate", replaced("device-idevid", "\\ud800")),
            ("raw control character", replaced("device-idevid", "a\u{1}b")),
            ("comment", format!("/* */{BEGIN}")),
            ("single quotes", BEGIN.replace('"', "'")),
            ("array body", format!("[{BEGIN}]")),
            ("empty body", String::new()),
            ("base64url", replaced("AAEC", "AA-_")),
            ("base64 without padding", replaced("AA==", "AA")),
            ("base64 with loose bits", replaced("AA==", "AB==")),
            ("base64 with a line break", replaced("AAEC", "AA\\nEC")),
            ("base64 with a space", replaced("AAEC", "AA EC")),
        ];
        assert!(begin(BEGIN).is_ok());
        for (name, text) in cases {
            assert!(begin(&text).is_err(), "{name} was taken: {text}");
        }
        assert!(parse::<EnrollmentRequest>(b"\xff\xfe{}").is_err(), "not UTF-8");
    }

    #[test]
    fn a_million_members_end_at_the_first_unknown_one() {
        let mut text = String::from("{");
        for i in 0..1_000_000 {
            text.push_str(&format!("\"k{i}\":1,"));
        }
        text.push_str("\"profile\":\"x\"}");
        assert!(begin(&text).is_err());
    }

    #[test]
    fn detail_is_printable_and_short() {
        let name = "\u{1b}[31m\u{202e}".repeat(200);
        let error = begin(&serde_json::json!({ name: 1 }).to_string()).unwrap_err();
        assert!(error.detail.len() <= 200);
        assert!(error.detail.bytes().all(|b| (0x20..0x7f).contains(&b)));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse::<EnrollmentRequest>(&bytes);
            let _ = parse::<ActivationRequest>(&bytes);
        }

        #[test]
        fn any_activation_survives_the_wire(ticket: Vec<u8>, secret: Vec<u8>, a: Vec<u8>, b: Vec<u8>, csr: Vec<u8>) {
            let request = ActivationRequest {
                ticket: ticket.into(),
                secret: secret.into(),
                key_public: a.clone().into(),
                key_certify: crate::enrollment::KeyCertify { attest: a.into(), signature: b.into() },
                csr: csr.into(),
            };
            let text = serde_json::to_vec(&request).unwrap();
            let back: ActivationRequest = parse(&text).unwrap();
            prop_assert_eq!(serde_json::to_vec(&back).unwrap(), text);
            prop_assert_eq!(back.csr, request.csr);
        }
    }
}
