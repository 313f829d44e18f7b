//! Everything a decision depends on that is not the device's: rules, advisories and profiles, as one text, so that a
//! decision can be made again years later. One content has one form: compact JSON, members in this order; a reader takes
//! nothing else.

use serde::{Deserialize, Serialize};

use crate::{Advisories, Mode, PolicySet, Profiles};

/// The first member of every text.
pub const POLICY_V1: &str = "holdfast-policy/v1";

/// Longest text that is read, bytes.
pub const MAX_POLICY_BYTES: usize = 512 * 1024;

/// Bytes that are no archived policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchivedError {
    /// Not JSON, or members are missing, unknown or of another kind.
    #[error("not an archived policy: {0}")]
    Form(String),
    /// It says it in another way than we write it.
    #[error("the archived policy is not written as one is")]
    Encoding,
    /// Rules, advisories or profiles that do not load.
    #[error("the archived policy does not load: {0}")]
    Content(String),
}

/// A file of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchivedFile {
    /// Its name.
    pub file: String,
    /// Its text.
    pub text: String,
}

/// Rules, advisories and profiles of a CA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchivedPolicy {
    /// [`POLICY_V1`].
    v: String,
    /// Whether the rules were loaded for a rehearsal.
    rehearsal: bool,
    /// The schema of the rules.
    schema: String,
    /// The rules, by file name.
    rules: Vec<ArchivedFile>,
    /// Tables of advisories, each in the place of what was said before it.
    advisories: Vec<ArchivedFile>,
    /// The profiles, by name of the profile.
    profiles: Vec<ArchivedFile>,
    /// Organization in the subjects of profiles that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    organization: Option<String>,
}

impl ArchivedPolicy {
    /// What these were loaded from.
    #[must_use]
    pub fn of(policy: &PolicySet, profiles: &Profiles) -> Self {
        let file = |(file, text): (&str, &str)| ArchivedFile {
            file: file.to_owned(),
            text: text.to_owned(),
        };
        Self {
            v: POLICY_V1.to_owned(),
            rehearsal: policy.mode() == Mode::Rehearsal,
            schema: policy.schema_text().to_owned(),
            rules: policy.texts().map(file).collect(),
            advisories: policy.advisories().texts().map(file).collect(),
            profiles: profiles.texts().map(file).collect(),
            organization: profiles.organization().map(str::to_owned),
        }
    }

    /// Its bytes.
    ///
    /// # Errors
    /// [`ArchivedError::Form`]; never for what this type can hold.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ArchivedError> {
        serde_json::to_vec(self).map_err(|e| ArchivedError::Form(e.to_string()))
    }

    /// Read one.
    ///
    /// # Errors
    /// [`ArchivedError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ArchivedError> {
        if bytes.len() > MAX_POLICY_BYTES {
            return Err(ArchivedError::Form(format!("longer than {MAX_POLICY_BYTES} bytes")));
        }
        let read: Self = serde_json::from_slice(bytes).map_err(|e| ArchivedError::Form(e.to_string()))?;
        if read.v != POLICY_V1 {
            return Err(ArchivedError::Form(format!("version `{}`", read.v.escape_default())));
        }
        if read.to_bytes()? != bytes {
            return Err(ArchivedError::Encoding);
        }
        Ok(read)
    }

    /// Load it, by the code that loaded it for the CA.
    ///
    /// # Errors
    /// [`ArchivedError::Content`].
    pub fn load(&self) -> Result<(PolicySet, Profiles), ArchivedError> {
        fn wrong(e: impl core::fmt::Display) -> ArchivedError {
            ArchivedError::Content(e.to_string())
        }
        let pairs = |files: &[ArchivedFile]| -> Vec<(String, String)> {
            files.iter().map(|one| (one.file.clone(), one.text.clone())).collect()
        };
        let mode = if self.rehearsal {
            Mode::Rehearsal
        } else {
            Mode::Production
        };
        let mut advisories = Advisories::default();
        for table in &self.advisories {
            advisories = advisories.with(&table.file, &table.text).map_err(wrong)?;
        }
        let policy = PolicySet::from_sources(mode, &self.schema, &pairs(&self.rules)).map_err(wrong)?;
        let mut profiles = Profiles::from_sources(&pairs(&self.profiles)).map_err(wrong)?;
        if let Some(organization) = &self.organization {
            profiles = profiles.with_organization(organization).map_err(wrong)?;
        }
        Ok((policy.with_advisories(advisories), profiles))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> (PolicySet, Profiles) {
        let own = "[[advisory]]\nid = \"SITE-1\"\nmanufacturer = \"id:49465800\"\nverdict = \"deny\"\nwhy = \"a test\"\nsource = \"us\"\n";
        let advisories = Advisories::builtin().unwrap().with("site.toml", own).unwrap();
        let policy = PolicySet::builtin(Mode::Rehearsal).unwrap().with_advisories(advisories);
        let profiles = Profiles::builtin().unwrap().with_organization("Example").unwrap();
        (policy, profiles)
    }

    #[test]
    fn what_is_loaded_again_is_the_same() {
        let (policy, profiles) = site();
        let archived = ArchivedPolicy::of(&policy, &profiles);
        let read = ArchivedPolicy::parse(&archived.to_bytes().unwrap()).unwrap();
        let (again, of) = read.load().unwrap();
        assert_eq!(again.sha256(), policy.sha256());
        assert_eq!(again.mode(), Mode::Rehearsal);
        assert_eq!(again.advisories().rows(), policy.advisories().rows());
        let sums = |all: &Profiles| -> Vec<_> { all.iter().map(|one| (one.name().to_owned(), one.sha256())).collect() };
        assert_eq!(sums(&of), sums(&profiles));
        assert_eq!(ArchivedPolicy::of(&again, &of), archived);
    }

    #[test]
    fn one_content_one_form() {
        let (policy, profiles) = site();
        let bytes = ArchivedPolicy::of(&policy, &profiles).to_bytes().unwrap();
        let text = String::from_utf8(bytes.clone()).unwrap();
        for other in [
            text.replacen(":true", ": true", 1),
            text.replacen("/v1", "/v2", 1),
            text.replacen("\"rehearsal\"", "\"more\":1,\"rehearsal\"", 1),
            format!("{text}\n"),
        ] {
            assert_ne!(other, text);
            assert!(ArchivedPolicy::parse(other.as_bytes()).is_err(), "{other}");
        }
        for at in (0..bytes.len()).step_by(7) {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            if let Ok(read) = ArchivedPolicy::parse(&bad) {
                assert_eq!(read.to_bytes().unwrap(), bad, "byte {at}");
            }
        }
    }
}
