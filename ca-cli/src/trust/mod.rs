//! The trust store as a file on disk, and what people call the CAs in it.

#[cfg(feature = "online")]
mod archive;
#[cfg(not(feature = "online"))]
#[path = "no_archive.rs"]
mod archive;
pub(crate) mod gather;
pub(crate) mod party;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use attest::trust::About;
use attest::trust::CaFacts;
use policies::trust::{Decision, Entry, Imported, StoreError, TrustStore};

use crate::certificate;
use crate::cli::trust::Who;
use crate::exit::{Exit, Failure};
use crate::output::clean;
use crate::words;

/// Longest part of a generated name that comes from the certificate.
const STEM: usize = 48;

/// A store that was read, and held against other writers until this goes away.
pub(crate) struct Held {
    path: PathBuf,
    pub(crate) store: TrustStore,
    /// The folder's lock.
    _lock: std::fs::File,
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let (exit, fix) = match &error {
            StoreError::NoSuchCa(_) => (Exit::NotFound, "ca-cli trust tpm list, or trust iak list"),
            StoreError::NameTaken(_) | StoreError::AlreadyThere(_) => (Exit::Conflict, ""),
            StoreError::IsRefused(..) => (Exit::Conflict, "if that is over, say so: --lift-refusal"),
            StoreError::NotSelfSigned(_) => (
                Exit::Usage,
                "trust the root above it; a link needs no decision, it is believed for its anchor",
            ),
            StoreError::TestCa(..) => (Exit::Usage, "for a rehearsal: --kind software"),
            StoreError::NoCa(_) | StoreError::OnlyHash(_) | StoreError::Unwritable(_) => (Exit::Usage, ""),
        };
        let failure = Self::new(exit, error.to_string());
        if fix.is_empty() { failure } else { failure.fix(fix) }
    }
}

/// Read a store.
pub(crate) fn open(path: &Path, about: About) -> Result<TrustStore, Failure> {
    let bytes = crate::exit::read(path).map_err(|failure| {
        failure.fix(format!(
            "make one: ca-cli trust {} import FOLDER; or name another: --store FILE",
            about.as_str()
        ))
    })?;
    parse(path, bytes, about)
}

fn parse(path: &Path, bytes: Vec<u8>, about: About) -> Result<TrustStore, Failure> {
    let text =
        String::from_utf8(bytes).map_err(|_| Failure::new(Exit::Usage, format!("{}: not UTF-8", path.display())))?;
    let store =
        TrustStore::parse(&path.display().to_string(), &text).map_err(|e| Failure::new(Exit::Usage, e.to_string()))?;
    if store.about() != about {
        let other = store.about().as_str();
        return Err(Failure::new(
            Exit::Usage,
            format!("{}: a store of `ca-cli trust {other}`", path.display()),
        )
        .fix("name another: --store FILE"));
    }
    Ok(store)
}

impl Held {
    /// Read a store to change it; one that is not there is begun.
    pub(crate) fn open(path: &Path, about: About) -> Result<Self, Failure> {
        let failed = |e: &dyn core::fmt::Display| Failure::new(Exit::Failed, format!("{}: {e}", path.display()));
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let lock = std::fs::File::open(folder).map_err(|e| failed(&e))?;
        lock.try_lock().map_err(|_| {
            Failure::new(
                Exit::TryAgain,
                format!("{}: another command is changing it", path.display()),
            )
        })?;
        let store = match std::fs::read(path) {
            Ok(bytes) => parse(path, bytes, about)?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => TrustStore::empty(about),
            Err(e) => return Err(failed(&e)),
        };
        Ok(Self {
            path: path.to_owned(),
            store,
            _lock: lock,
        })
    }

    /// Put the changed store in the old one's place, whole or not at all.
    pub(crate) fn save(self) -> Result<TrustStore, Failure> {
        let text = self.store.render()?;
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let new = self.path.with_file_name(name);
        let write = || {
            let mut file = std::fs::File::create(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&new, &self.path)
        };
        write().map_err(|e: std::io::Error| Failure::new(Exit::Failed, format!("{}: {e}", self.path.display())))?;
        Ok(self.store)
    }

    /// The name of the entry that a person means by a name, the first digits of a hash, or a file; a certificate from a
    /// file that is not there yet is taken in.
    pub(crate) fn meant(&mut self, ca: &str, who: &Who) -> Result<String, Failure> {
        if let Some(entry) = self.store.get(ca) {
            return Ok(entry.name.clone());
        }
        let digits: String = ca.chars().filter(|c| !c.is_whitespace() && *c != ':').collect();
        let digits = digits.to_ascii_lowercase();
        if digits.len() >= 8 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            let found: Vec<&Entry> = self.store.by_hash(&digits).collect();
            match found.as_slice() {
                [one] => return Ok(one.name.clone()),
                [] => {}
                several => {
                    let names: Vec<&str> = several.iter().map(|entry| entry.name.as_str()).collect();
                    return Err(Failure::new(
                        Exit::Usage,
                        format!("{ca} is each of {}", names.join(", ")),
                    ));
                }
            }
        }
        if !Path::new(ca).is_file() {
            return Err(Failure::new(
                Exit::NotFound,
                format!(
                    "{ca}: no CA of that name or hash in {}, and no file",
                    self.path.display()
                ),
            )
            .fix("ca-cli trust tpm list; or ca-cli trust tpm import FILE"));
        }
        let der = single(Path::new(ca))?;
        self.take_in(&der, ca, who).map(|(name, _)| name)
    }

    /// Take in one certificate under a name made from its subject.
    pub(crate) fn take_in(&mut self, der: &[u8], source: &str, who: &Who) -> Result<(String, Imported), Failure> {
        let facts = CaFacts::read(der).map_err(StoreError::NoCa)?;
        let name = name_for(&facts);
        let source = match clean(source).trim() {
            "" => "-".to_owned(),
            source => source.to_owned(),
        };
        let imported = self.store.import(&name, der, &source, decision(who, ""))?;
        Ok(match imported {
            Imported::There(name) => (name.clone(), Imported::There(name)),
            Imported::New => (name, Imported::New),
        })
    }
}

/// Today, by whoever runs this unless he says who he is.
pub(crate) fn decision(who: &Who, why: &str) -> Decision {
    let today = words::rfc3339(words::now());
    let by = who.by.as_deref().map(|by| clean(by).trim().to_owned());
    Decision {
        date: today.get(..10).unwrap_or_default().to_owned(),
        by: by
            .filter(|by| !by.is_empty())
            .unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw())),
        why: clean(why).trim().to_owned(),
    }
}

/// The one certificate in a file.
pub(crate) fn single(path: &Path) -> Result<Vec<u8>, Failure> {
    let bad = |detail: &str| Failure::new(Exit::Usage, format!("{}: {detail}", path.display()));
    let mut found = certificate::split(&crate::exit::read(path)?).map_err(|e| bad(&e))?;
    match (found.pop(), found.is_empty()) {
        (Some(der), true) => Ok(der),
        _ => Err(bad("one certificate is wanted, there are several")),
    }
}

/// `infineon-optiga-tm-rsa-root-ca-2-b413c715`: the common name, and as much of the hash as tells two of one name apart.
fn name_for(facts: &CaFacts) -> String {
    let subject = certificate::name_text(&facts.subject);
    let part = |key: &str| {
        let values = subject.split(", ").flat_map(|rdn| rdn.split(" + "));
        values
            .filter_map(|value| value.strip_prefix(key))
            .last()
            .map(str::to_owned)
    };
    let words = part("CN=")
        .or_else(|| part("OU="))
        .or_else(|| part("O="))
        .unwrap_or_default();
    let mut stem = String::new();
    for c in words.chars() {
        let c = c.to_ascii_lowercase();
        if c.is_ascii_alphanumeric() {
            stem.push(c);
        } else if !stem.is_empty() && !stem.ends_with('-') {
            stem.push('-');
        }
    }
    stem.truncate(STEM);
    let stem = stem.trim_matches('-');
    let hash = hex::encode(facts.sha256.get(..4).unwrap_or_default());
    if stem.is_empty() {
        format!("ca-{hash}")
    } else {
        format!("{stem}-{hash}")
    }
}

/// 64 hex digits in any grouping.
pub(crate) fn hash(text: &str) -> Result<[u8; 32], Failure> {
    let digits: String = text.chars().filter(|c| !c.is_whitespace() && *c != ':').collect();
    let mut bytes = [0; 32];
    hex::decode_to_slice(&digits, &mut bytes)
        .map_err(|_| Failure::new(Exit::Usage, format!("{text}: not a SHA-256 (64 hex digits)")))?;
    Ok(bytes)
}
