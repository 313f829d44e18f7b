//! The trust store: CAs by name, each with a state, and the ways a person may change it.

use std::collections::BTreeMap;

use attest::AnchorKind;
use attest::trust::{About, CaFacts, TrustSources};

use super::entry::{Ca, Decision, Entry, State, Terms};
use super::{TrustFileError, raw};
use crate::name;

/// All CAs that were ever looked at, in the order of their names. Each change counts its version up by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustStore {
    version: u64,
    about: About,
    entries: BTreeMap<String, Entry>,
}

/// A change that is not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No entry of that name.
    #[error("no CA `{0}` in the store")]
    NoSuchCa(String),
    /// Another entry has that name.
    #[error("another CA is called `{0}`")]
    NameTaken(String),
    /// It is there already.
    #[error("it is in the store as `{0}`")]
    AlreadyThere(String),
    /// It can never issue EK certificates.
    #[error("not a CA for EK certificates: {0}")]
    NoCa(String),
    /// Only a self-signed certificate can be an anchor.
    #[error("`{0}` is not self-signed: it can be a link below an anchor, not an anchor")]
    NotSelfSigned(String),
    /// It is refused, and the caller did not say that he lifts that.
    #[error("`{0}` is refused: {1}")]
    IsRefused(String, String),
    /// Only a hash of it is there.
    #[error("of `{0}` only a hash is there")]
    OnlyHash(String),
    /// It was made for tests: only a rehearsal may know it, as software.
    #[error("`{0}` is the test CA `{1}`: {2}")]
    TestCa(String, String, String),
    /// What was given would not be read again.
    #[error("{0}")]
    Unwritable(String),
}

/// What became of a certificate that was imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Imported {
    /// It is new, and unknown.
    New,
    /// It was there under this name; what had been decided about it stands.
    There(String),
}

impl Default for TrustStore {
    fn default() -> Self {
        Self {
            version: 1,
            about: About::Tpm,
            entries: BTreeMap::new(),
        }
    }
}

impl TrustStore {
    /// An empty one.
    #[must_use]
    pub fn empty(about: About) -> Self {
        Self {
            about,
            ..Self::default()
        }
    }

    /// Whose claims it is about.
    #[must_use]
    pub fn about(&self) -> About {
        self.about
    }

    /// Read a store.
    ///
    /// # Errors
    /// [`TrustFileError`], with the place.
    pub fn parse(file: &str, toml: &str) -> Result<Self, TrustFileError> {
        let wrong = |message: String| TrustFileError {
            file: file.to_owned(),
            message,
        };
        let (version, about, list) = raw::read(toml).map_err(wrong)?;
        let mut store = Self {
            version,
            about,
            entries: BTreeMap::new(),
        };
        let mut seen: BTreeMap<[u8; 32], String> = BTreeMap::new();
        for entry in list {
            let name = entry.name.clone();
            let hash = entry.ca.certificate_sha256().or_else(|| entry.ca.key_sha256());
            if let Some(other) = hash.and_then(|sha256| seen.insert(sha256, name.clone())) {
                return Err(wrong(format!("`{name}` is about the same as `{other}`")));
            }
            if store.entries.insert(name.clone(), entry).is_some() {
                return Err(wrong(format!("two CAs are called `{name}`")));
            }
        }
        Ok(store)
    }

    /// The store as a file: the same store always gives the same bytes, and [`Self::parse`] gives it back.
    ///
    /// # Errors
    /// [`StoreError::Unwritable`].
    pub fn render(&self) -> Result<String, StoreError> {
        raw::write(self.version, self.about, self.entries.values()).map_err(StoreError::Unwritable)
    }

    /// Counts up with each change.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// All entries, by name.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// The entry of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// The entry of this certificate.
    #[must_use]
    pub fn of_certificate(&self, der: &[u8]) -> Option<&Entry> {
        self.entries.values().find(|entry| entry.ca.certificate() == Some(der))
    }

    /// Entries whose certificate hash begins with these lower-case hex digits.
    pub fn by_hash<'a>(&'a self, digits: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.values().filter(move |entry| {
            let hash = entry.ca.certificate_sha256();
            hash.is_some_and(|sha256| hex::encode(sha256).starts_with(digits))
        })
    }

    /// What follows from it for [`attest::trust::Anchors::of`].
    #[must_use]
    pub fn sources(&self) -> TrustSources {
        let mut sources = TrustSources {
            about: self.about,
            ..TrustSources::default()
        };
        for entry in self.entries.values() {
            entry.add_to(&mut sources);
        }
        sources
    }

    /// Without the entries nobody decided about: what a server may be given when it should not know of them.
    #[must_use]
    pub fn decided(&self) -> Self {
        let decided = self.entries.iter().filter(|(_, entry)| entry.state != State::Unknown);
        Self {
            version: self.version,
            about: self.about,
            entries: decided.map(|(name, entry)| (name.clone(), entry.clone())).collect(),
        }
    }

    /// Take in a CA certificate as unknown. One that is there keeps its state.
    ///
    /// # Errors
    /// [`StoreError::NoCa`], [`StoreError::NameTaken`], [`StoreError::Unwritable`].
    pub fn import(
        &mut self,
        name: &str,
        certificate: &[u8],
        source: &str,
        decision: Decision,
    ) -> Result<Imported, StoreError> {
        CaFacts::read(certificate).map_err(StoreError::NoCa)?;
        if let Some(entry) = self.of_certificate(certificate) {
            return Ok(Imported::There(entry.name.clone()));
        }
        self.insert(Entry {
            name: name.to_owned(),
            state: State::Unknown,
            source: source.to_owned(),
            decision,
            ca: Ca::Certificate(certificate.to_vec()),
        })?;
        Ok(Imported::New)
    }

    /// Refuse by a hash, a certificate not being at hand.
    ///
    /// # Errors
    /// [`StoreError::AlreadyThere`], [`StoreError::NameTaken`], [`StoreError::Unwritable`].
    pub fn refuse_hash(&mut self, name: &str, ca: Ca, source: &str, decision: Decision) -> Result<(), StoreError> {
        let same = |entry: &&Entry| match &ca {
            Ca::KeyHash(key) => {
                entry.ca == ca || (entry.state == State::Refused && entry.ca.key_sha256() == Some(*key))
            }
            other => entry.ca.certificate_sha256() == other.certificate_sha256(),
        };
        if let Some(entry) = self.entries.values().find(same) {
            return Err(StoreError::AlreadyThere(entry.name.clone()));
        }
        self.insert(Entry {
            name: name.to_owned(),
            state: State::Refused,
            source: source.to_owned(),
            decision,
            ca,
        })
    }

    /// Make it an anchor.
    ///
    /// # Errors
    /// [`StoreError::NoSuchCa`], [`StoreError::NotSelfSigned`], [`StoreError::OnlyHash`], [`StoreError::IsRefused`] unless
    /// `lift`, [`StoreError::TestCa`] unless it is trusted as software, [`StoreError::Unwritable`].
    pub fn trust(&mut self, name: &str, terms: Terms, decision: Decision, lift: bool) -> Result<(), StoreError> {
        let entry = self.decidable(name, lift)?;
        let self_signed = entry
            .ca
            .certificate()
            .is_some_and(|der| CaFacts::read(der).is_ok_and(|facts| facts.self_signed));
        if !self_signed {
            return Err(StoreError::NotSelfSigned(name.to_owned()));
        }
        if terms.kind != AnchorKind::Software
            && let Some(der) = entry.ca.certificate()
            && let Some(test) = super::test_ca(der).map_err(|e| StoreError::Unwritable(e.to_string()))?
        {
            return Err(StoreError::TestCa(name.to_owned(), test.name, test.why));
        }
        self.decide(name, State::Trusted(terms), decision)
    }

    /// Say that its vendor is known, and that it is not trusted.
    ///
    /// # Errors
    /// [`StoreError::NoSuchCa`], [`StoreError::OnlyHash`], [`StoreError::IsRefused`] unless `lift`,
    /// [`StoreError::Unwritable`].
    pub fn know(&mut self, name: &str, decision: Decision, lift: bool) -> Result<(), StoreError> {
        self.decidable(name, lift)?;
        self.decide(name, State::Known, decision)
    }

    /// Refuse it, its certificate and its key, whatever had been decided.
    ///
    /// # Errors
    /// [`StoreError::NoSuchCa`], [`StoreError::Unwritable`].
    pub fn refuse(&mut self, name: &str, decision: Decision) -> Result<(), StoreError> {
        self.decide(name, State::Refused, decision)
    }

    fn decidable(&self, name: &str, lift: bool) -> Result<&Entry, StoreError> {
        let entry = self.get(name).ok_or_else(|| StoreError::NoSuchCa(name.to_owned()))?;
        if entry.ca.certificate().is_none() {
            return Err(StoreError::OnlyHash(name.to_owned()));
        }
        if entry.state == State::Refused && !lift {
            return Err(StoreError::IsRefused(
                name.to_owned(),
                format!(
                    "{} ({}, {})",
                    entry.decision.why, entry.decision.by, entry.decision.date
                ),
            ));
        }
        Ok(entry)
    }

    fn decide(&mut self, name: &str, state: State, decision: Decision) -> Result<(), StoreError> {
        let entry = self.get(name).ok_or_else(|| StoreError::NoSuchCa(name.to_owned()))?;
        let entry = Entry {
            state,
            decision,
            ..entry.clone()
        };
        self.replace(entry)
    }

    fn insert(&mut self, entry: Entry) -> Result<(), StoreError> {
        name::profile(&entry.name).map_err(|e| StoreError::Unwritable(e.to_string()))?;
        if self.entries.contains_key(&entry.name) {
            return Err(StoreError::NameTaken(entry.name));
        }
        self.replace(entry)
    }

    /// The one place where an entry changes: what is written here is read again.
    fn replace(&mut self, entry: Entry) -> Result<(), StoreError> {
        let text = raw::write(1, self.about, core::iter::once(&entry)).map_err(StoreError::Unwritable)?;
        let (_, _, read) = raw::read(&text).map_err(StoreError::Unwritable)?;
        if read != [entry.clone()] {
            return Err(StoreError::Unwritable(
                "an entry that does not read as it was written".into(),
            ));
        }
        self.version = self.version.saturating_add(1);
        self.entries.insert(entry.name.clone(), entry);
        Ok(())
    }
}
