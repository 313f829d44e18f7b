//! Known weaknesses of TPMs: maker, model and firmware, and what becomes of a device that has them.

use attest::EkFacts;
use serde::Deserialize;
use toml::Spanned;
use wire::firmware::FirmwareRule;

use crate::place;

/// What becomes of a device whose TPM an advisory speaks of. The later one is the harder one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing; the advisory is kept with the identity.
    Allow,
    /// A person decides first.
    Quarantine,
    /// No identity.
    Deny,
}

/// One row: which TPMs, and what becomes of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advisory {
    /// What it is filed under, for example `CVE-2019-16863`; several rows may share it.
    pub id: String,
    /// What people call it.
    pub name: Option<String>,
    /// Manufacturer id: `id:` and 8 upper-case hex digits.
    pub manufacturer: String,
    /// Beginning of the model, compared without spaces and case; none: every model.
    pub model: Option<String>,
    /// Conditions, of which one must hold; empty: every firmware.
    pub firmware: Vec<FirmwareRule>,
    /// What becomes of it.
    pub verdict: Verdict,
    /// What it is about.
    pub why: String,
    /// Who says so.
    pub source: String,
}

/// The table.
#[derive(Clone, Debug, Default)]
pub struct Advisories {
    rows: Vec<Advisory>,
    /// Names and texts of the files it was read from.
    texts: Vec<(String, String)>,
}

/// Rows that do not load.
#[derive(Debug, Clone, thiserror::Error)]
#[error("advisories `{file}`: {message}")]
pub struct AdvisoryError {
    /// File name.
    pub file: String,
    /// Message with line and caret.
    pub message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    advisory: Vec<RawAdvisory>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAdvisory {
    id: Spanned<String>,
    name: Option<String>,
    manufacturer: Spanned<String>,
    model: Option<Spanned<String>>,
    #[serde(default)]
    firmware: Vec<Spanned<String>>,
    verdict: Verdict,
    why: Spanned<String>,
    source: Spanned<String>,
}

/// The table that is shipped.
pub(crate) const BUILTIN: &str = include_str!("../tpm/advisories.toml");

impl Advisories {
    /// The rows shipped in `policies/tpm/advisories.toml`.
    ///
    /// # Errors
    /// [`AdvisoryError`]; a test shows there is none.
    pub fn builtin() -> Result<Self, AdvisoryError> {
        Ok(Self {
            rows: read("advisories.toml", BUILTIN)?,
            texts: vec![("advisories.toml".to_owned(), BUILTIN.to_owned())],
        })
    }

    /// These, and a site's own: its rows take the place of all rows of the same ids.
    ///
    /// # Errors
    /// [`AdvisoryError`].
    pub fn with(mut self, file: &str, toml: &str) -> Result<Self, AdvisoryError> {
        let own = read(file, toml)?;
        self.rows.retain(|row| own.iter().all(|new| new.id != row.id));
        self.rows.extend(own);
        self.texts.push((file.to_owned(), toml.to_owned()));
        Ok(self)
    }

    /// Names and texts of the files it was read from, in their order.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().map(|(file, text)| (file.as_str(), text.as_str()))
    }

    /// All rows.
    #[must_use]
    pub fn rows(&self) -> &[Advisory] {
        &self.rows
    }

    /// The rows that speak of this TPM, the hardest first. Of an EK without a certificate nothing is known.
    #[must_use]
    pub fn about(&self, ek: &EkFacts) -> Vec<&Advisory> {
        self.of(&ek.manufacturer, &ek.model, &ek.version)
    }

    /// What people would be asked about this TPM: the rows by which it is quarantined.
    ///
    /// # Errors
    /// The row that denies it: nobody is asked about that.
    pub fn quarantines(&self, ek: &EkFacts) -> Result<Vec<&Advisory>, &Advisory> {
        let known = self.about(ek);
        match known.first() {
            Some(worst) if worst.verdict == Verdict::Deny => Err(*worst),
            _ => Ok(known
                .into_iter()
                .filter(|advisory| advisory.verdict == Verdict::Quarantine)
                .collect()),
        }
    }

    /// The rows that speak of a TPM of this manufacturer id, model and version, as EK certificates write them.
    #[must_use]
    pub fn of(&self, manufacturer: &str, model: &str, version: &str) -> Vec<&Advisory> {
        let model = plain(model);
        let mut rows: Vec<&Advisory> = self
            .rows
            .iter()
            .filter(|row| {
                row.manufacturer == manufacturer
                    && row.model.as_ref().is_none_or(|start| model.starts_with(&plain(start)))
                    && (row.firmware.is_empty() || row.firmware.iter().any(|rule| rule.holds(version)))
            })
            .collect();
        rows.sort_by_key(|row| core::cmp::Reverse(row.verdict));
        rows
    }
}

impl Advisory {
    /// `CVE-2019-16863 (TPM-FAIL)`.
    #[must_use]
    pub fn title(&self) -> String {
        match &self.name {
            Some(name) => format!("{} ({name})", self.id),
            None => self.id.clone(),
        }
    }
}

fn plain(model: &str) -> String {
    model
        .chars()
        .filter(|c| *c != ' ')
        .collect::<String>()
        .to_ascii_lowercase()
}

fn read(file: &str, text: &str) -> Result<Vec<Advisory>, AdvisoryError> {
    let fail = |message: String| AdvisoryError {
        file: file.to_owned(),
        message,
    };
    let raw: RawFile = toml::from_str(text).map_err(|error| fail(place::toml(text, &error)))?;
    raw.advisory
        .into_iter()
        .map(|row| advisory(text, row).map_err(fail))
        .collect()
}

fn advisory(text: &str, raw: RawAdvisory) -> Result<Advisory, String> {
    let wrong = |value: &Spanned<String>, message: &str| place::point(text, value.span(), message);
    let word = |id: &str| {
        !id.is_empty() && id.len() <= 50 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
    };
    if !word(raw.id.get_ref()) {
        return Err(wrong(&raw.id, "1 to 50 characters of A-Z a-z 0-9 - ."));
    }
    for value in [&raw.why, &raw.source] {
        if value.get_ref().trim().is_empty() || value.get_ref().contains(char::is_control) {
            return Err(wrong(value, "one line that says something"));
        }
    }
    let digits = raw.manufacturer.get_ref().strip_prefix("id:").unwrap_or_default();
    if digits.len() != 8 || !digits.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b)) {
        return Err(wrong(
            &raw.manufacturer,
            "`id:` and 8 upper-case hex digits, for example \"id:49465800\"",
        ));
    }
    if let Some(model) = raw.model.as_ref().filter(|model| plain(model.get_ref()).is_empty()) {
        return Err(wrong(model, "leave it out to speak of every model"));
    }
    let firmware = raw
        .firmware
        .iter()
        .map(|rule| FirmwareRule::from_text(rule.get_ref()).map_err(|e| wrong(rule, &e.to_string())))
        .collect::<Result<_, _>>()?;
    Ok(Advisory {
        id: raw.id.into_inner(),
        name: raw.name,
        manufacturer: raw.manufacturer.into_inner(),
        model: raw.model.map(Spanned::into_inner),
        firmware,
        verdict: raw.verdict,
        why: raw.why.into_inner(),
        source: raw.source.into_inner(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(table: &Advisories, tpm: [&str; 3]) -> Vec<(String, Verdict)> {
        let [manufacturer, model, version] = tpm;
        let rows = table.of(manufacturer, model, version);
        rows.iter().map(|row| (row.id.clone(), row.verdict)).collect()
    }

    #[test]
    fn a36_each_advisory_meets_the_firmware_it_names_and_no_other() {
        let table = Advisories::builtin().unwrap();
        let about = |tpm, id: &str| {
            let found = ids(&table, tpm);
            found.iter().find(|(found, _)| found == id).map(|(_, verdict)| *verdict)
        };
        let stm = |version| ["id:53544D20", "ST33HTPHAHB4", version];
        // 73.4 in both spellings; 73.20 is the one that is recommended.
        assert_eq!(about(stm("id:00490004"), "CVE-2019-16863"), Some(Verdict::Deny));
        assert_eq!(about(stm("id:4904"), "CVE-2019-16863"), Some(Verdict::Deny));
        assert_eq!(about(stm("id:00490014"), "CVE-2019-16863"), None);
        assert_eq!(about(stm("id:00010101"), "CVE-2019-16863"), None);
        let ifx = |version| ["id:49465800", "SLB9672", version];
        assert_eq!(about(ifx("id:000F0015"), "CVE-2025-2884"), Some(Verdict::Quarantine));
        assert_eq!(about(ifx("id:000F0017"), "CVE-2025-2884"), None);
        let older = ["id:49465800", "SLB 9670 TPM2.0", "id:073f"];
        assert_eq!(ids(&table, older), [("CVE-2024-45678".to_owned(), Verdict::Allow)]);
        assert_eq!(
            about(["id:414D4400", "AMD", "id:00030057"], "faulTPM"),
            Some(Verdict::Quarantine)
        );
        assert_eq!(
            about(["id:4E544300", "NPCT65x", "id:00010003"], "CVE-2023-1017"),
            Some(Verdict::Allow)
        );
        assert_eq!(about(["id:4E544300", "NPCT75x", "id:00010003"], "CVE-2023-1017"), None);
        assert_eq!(about(["id:494E5443", "", ""], "CVE-2019-11090"), Some(Verdict::Allow));
        assert_eq!(
            about(["id:00001014", "swtpm", "id:20191023"], "CVE-2023-1018"),
            Some(Verdict::Allow)
        );
    }

    #[test]
    fn a36_versions_that_cannot_be_compared_meet_no_condition() {
        let table = Advisories::builtin().unwrap();
        for version in ["id:", "", "73.4", "id:004900041", "id:zz", "id:0007000A"] {
            assert_eq!(ids(&table, ["id:53544D20", "ST33", version]), [], "{version}");
        }
    }

    #[test]
    fn the_hardest_verdict_comes_first() {
        let table = Advisories::builtin().unwrap();
        let found = ids(&table, ["id:414D4400", "AMD", "id:00030057"]);
        assert_eq!(found.first().map(|(id, _)| id.as_str()), Some("faulTPM"));
        assert!(found.len() > 1);
    }

    #[test]
    fn a_sites_rows_take_the_place_of_those_of_the_same_id() {
        let own = "[[advisory]]\nid = \"faulTPM\"\nmanufacturer = \"id:414D4400\"\nverdict = \"deny\"\nwhy = \"ours\"\nsource = \"us\"\n";
        let table = Advisories::builtin().unwrap().with("own.toml", own).unwrap();
        let found = ids(&table, ["id:414D4400", "AMD", "id:00030057"]);
        assert_eq!(found.first(), Some(&("faulTPM".to_owned(), Verdict::Deny)));
        assert_eq!(found.iter().filter(|(id, _)| id == "faulTPM").count(), 1);
        for (from, to) in [
            ("id:414D4400", "AMD"),
            ("\"deny\"", "\"maybe\""),
            ("why = \"ours\"", "why = \" \""),
            ("\"faulTPM\"", "\"faul TPM\""),
            ("source", "firmware = [\"16\"]\nsource"),
            ("source", "model = \" \"\nsource"),
            ("source", "spurce"),
        ] {
            let error = Advisories::builtin().unwrap().with("own.toml", &own.replace(from, to));
            assert!(error.unwrap_err().message.contains("line "), "{to}");
        }
    }
}
