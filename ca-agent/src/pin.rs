//! Which CA is believed: its root certificate, pinned once.

use openssl::x509::X509;

use crate::config::NamedPin;
use crate::error::AgentError;
use crate::state::State;

/// What is known of the root before anybody is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// The root, DER, that this state directory met before.
    Known(Vec<u8>),
    /// A root, DER, from a file that was named.
    Named(Vec<u8>),
    /// Nothing but its SHA-256.
    Fingerprint([u8; 32]),
}

impl Pin {
    /// From the state directory, which wins, and a person's word, which must not contradict it.
    ///
    /// # Errors
    /// [`AgentError::Usage`] when nothing is pinned or a file is no certificate; [`AgentError::Pinned`] when the state
    /// directory knows another root.
    pub fn of(word: Option<&NamedPin>, state: &State) -> Result<Self, AgentError> {
        let (named, fingerprint) = match word {
            None => (None, None),
            Some(NamedPin::Sha256(text)) => (None, Some(fingerprint(text)?)),
            Some(NamedPin::File(path)) => {
                let bytes = std::fs::read(path).map_err(|e| e.to_string());
                let named = bytes.and_then(|pem| root(&pem)).map_err(|e| AgentError::Usage {
                    message: format!("{}: {e}", path.display()),
                    fix: "--root FILE, one certificate in PEM".into(),
                })?;
                (Some(named), None)
            }
        };
        if let Some(pem) = state.read("root.pem")? {
            let known = root(&pem).map_err(|e| AgentError::Usage {
                message: format!("{}: {e}", state.path("root.pem").display()),
                fix: "restore it, or use another --state-dir".into(),
            })?;
            let found = openssl::sha::sha256(&known);
            if named.is_some_and(|named| named != known) || fingerprint.is_some_and(|pin| pin != found) {
                return Err(AgentError::Pinned {
                    found: hex::encode(found),
                });
            }
            return Ok(Self::Known(known));
        }
        match (named, fingerprint) {
            (Some(named), _) => Ok(Self::Named(named)),
            (None, Some(pin)) => Ok(Self::Fingerprint(pin)),
            (None, None) => Err(AgentError::Usage {
                message: "which CA to believe is not known yet".into(),
                fix: "--root-sha256 FINGERPRINT or --root FILE, from the operator of the CA".into(),
            }),
        }
    }
}

/// PEM to DER.
fn root(pem: &[u8]) -> Result<Vec<u8>, String> {
    X509::from_pem(pem).and_then(|c| c.to_der()).map_err(|e| e.to_string())
}

/// 64 hex digits, in any grouping.
fn fingerprint(text: &str) -> Result<[u8; 32], AgentError> {
    let digits: String = text.chars().filter(|c| !c.is_whitespace() && *c != ':').collect();
    let mut bytes = [0; 32];
    hex::decode_to_slice(&digits, &mut bytes).map_err(|_| AgentError::Usage {
        message: "the fingerprint is not 64 hex digits".into(),
        fix: "--root-sha256 with the SHA-256 of the root certificate, as `ca-cli init` prints it".into(),
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use device_kit::vendor::VendorCa;

    fn pem(ca: &VendorCa) -> Vec<u8> {
        X509::from_der(&ca.certificate).unwrap().to_pem().unwrap()
    }

    #[test]
    fn a_fingerprint_is_64_hex_digits_in_any_grouping() {
        let plain = "00ff".repeat(16);
        let expected = fingerprint(&plain).unwrap();
        assert_eq!(expected[..4], [0, 0xff, 0, 0xff]);
        let colons: Vec<&str> = (0..32).map(|i| &plain[2 * i..2 * i + 2]).collect();
        for text in [
            colons.join(":"),
            colons.join(" "),
            plain.to_uppercase(),
            format!(" {plain}\n"),
        ] {
            assert_eq!(fingerprint(&text).unwrap(), expected, "{text}");
        }
        for bad in ["", &plain[1..], &format!("{plain}0"), &plain.replacen('f', "g", 1)] {
            assert!(matches!(fingerprint(bad), Err(AgentError::Usage { .. })), "{bad}");
        }
    }

    #[test]
    fn a_root_that_was_met_stays_the_only_one() {
        let (ours, other) = (VendorCa::root("ours"), VendorCa::root("other"));
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let hash = |ca: &VendorCa| hex::encode(openssl::sha::sha256(&ca.certificate));
        let file = |name: &str, ca: &VendorCa| {
            let path = dir.path().join(name);
            std::fs::write(&path, pem(ca)).unwrap();
            NamedPin::File(path)
        };
        let fingerprint = |ca: &VendorCa| NamedPin::Sha256(hash(ca));
        let (ours_file, other_file) = (file("ours", &ours), file("other", &other));
        let of = |word: Option<&NamedPin>| Pin::of(word, &state);

        assert!(matches!(of(None), Err(AgentError::Usage { .. })));
        assert_eq!(of(Some(&other_file)).unwrap(), Pin::Named(other.certificate.clone()));
        assert_eq!(
            of(Some(&fingerprint(&ours))).unwrap(),
            Pin::Fingerprint(openssl::sha::sha256(&ours.certificate))
        );

        state.write("root.pem", &pem(&ours)).unwrap();
        let known = Pin::Known(ours.certificate.clone());
        assert_eq!(of(None).unwrap(), known);
        assert_eq!(of(Some(&ours_file)).unwrap(), known);
        assert_eq!(of(Some(&fingerprint(&ours))).unwrap(), known);
        for contradiction in [other_file, fingerprint(&other)] {
            let error = of(Some(&contradiction)).unwrap_err();
            assert!(
                matches!(&error, AgentError::Pinned { found } if *found == hash(&ours)),
                "{error}"
            );
            assert_eq!(error.report().exit as u8, 6);
        }
        state.write("root.pem", b"damaged").unwrap();
        assert!(matches!(of(None), Err(AgentError::Usage { .. })));
    }
}
