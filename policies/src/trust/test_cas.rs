//! CAs that were made for tests: `policies/tpm/test-cas.toml`.

use attest::trust::{HashOf, RefusedHash};
use serde::Deserialize;

use super::TrustFileError;
use crate::place;

/// A CA that was made for tests, and whose key anybody may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestCa {
    /// Name for records and screens.
    pub name: String,
    /// SHA-256 of its certificate.
    pub sha256: [u8; 32],
    /// SHA-256 of its canonical SubjectPublicKeyInfo.
    pub spki_sha256: [u8; 32],
    /// Where it was found.
    pub source: String,
    /// What it was made for.
    pub why: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    ca: Vec<RawTestCa>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTestCa {
    name: String,
    sha256: String,
    spki_sha256: String,
    source: String,
    why: String,
}

const FILE: &str = "test-cas.toml";
const TEXT: &str = include_str!("../../tpm/test-cas.toml");

/// The list this program knows.
///
/// # Errors
/// [`TrustFileError`]; never for the list as it was built in, which a test reads.
pub fn test_cas() -> Result<Vec<TestCa>, TrustFileError> {
    let wrong = |message: String| TrustFileError {
        file: FILE.to_owned(),
        message,
    };
    let raw: RawFile = toml::from_str(TEXT).map_err(|error| wrong(place::toml(TEXT, &error)))?;
    let hash = |text: &str| {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| wrong(format!("{text}: 64 hex digits")))?;
        Ok(bytes)
    };
    raw.ca
        .into_iter()
        .map(|ca| {
            Ok(TestCa {
                sha256: hash(&ca.sha256)?,
                spki_sha256: hash(&ca.spki_sha256)?,
                name: ca.name,
                source: ca.source,
                why: ca.why,
            })
        })
        .collect()
}

/// The test CA that this certificate (DER) is, by itself or by its key.
///
/// # Errors
/// As [`test_cas`].
pub fn test_ca(certificate: &[u8]) -> Result<Option<TestCa>, TrustFileError> {
    let sha256 = attest::sha256(certificate);
    let key = attest::ek::certificate_spki(certificate).map(|spki| attest::sha256(&spki));
    let is = |ca: &TestCa| ca.sha256 == sha256 || key.as_ref().is_ok_and(|key| *key == ca.spki_sha256);
    Ok(test_cas()?.into_iter().find(is))
}

/// Refusals that keep every test CA out of every path: what a production server adds to its trust.
///
/// # Errors
/// As [`test_cas`].
pub fn without_test_cas() -> Result<Vec<RefusedHash>, TrustFileError> {
    let hashes = |ca: TestCa| {
        [HashOf::Certificate(ca.sha256), HashOf::Key(ca.spki_sha256)].map(|of| RefusedHash {
            name: ca.name.clone(),
            of,
        })
    };
    Ok(test_cas()?.into_iter().flat_map(hashes).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_loads_and_each_entry_says_why() {
        let all = test_cas().unwrap();
        assert!(all.len() >= 9);
        for ca in &all {
            assert!(!ca.source.is_empty() && !ca.why.is_empty(), "{}", ca.name);
            assert_eq!(
                all.iter().filter(|other| other.name == ca.name).count(),
                1,
                "{}",
                ca.name
            );
        }
        assert_eq!(without_test_cas().unwrap().len(), 2 * all.len());
    }
}
