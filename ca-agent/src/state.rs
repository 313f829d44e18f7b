//! The state directory: what is remembered, written whole or not at all.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wire::{Bytes, EnrollmentId, Exit};

use crate::report::Report;
use crate::tpm::{Role, StoredKey, Tss2Key};
use crate::watch::Watch;

/// The state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The system says no.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// Another agent works with this directory.
    #[error("another ca-agent is enrolling with {}", path.display())]
    Locked {
        /// Directory.
        path: PathBuf,
    },
    /// A file does not hold what it should.
    #[error("{}: {detail}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
}

impl StateError {
    /// What is said about it.
    #[must_use]
    pub fn report(&self) -> Report {
        match self {
            Self::Io { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
                Report::new("E-STATE", Exit::NotAllowed, self.to_string())
                    .fix("run this as the agent's user, or name another --state-dir")
            }
            Self::Io { .. } => Report::new("E-STATE", Exit::Failed, self.to_string())
                .fix("look at the disk; nothing was lost: run the same command again"),
            Self::Locked { .. } => Report::new("E-STATE-LOCKED", Exit::TryAgain, self.to_string())
                .because("two at once would each make keys, and one would lose those its certificate is for")
                .fix("wait until it is done"),
            Self::Damaged { .. } => Report::new("E-STATE", Exit::Failed, self.to_string())
                .because("somebody else wrote to it, or the disk is broken")
                .fix("restore it from a backup, or enroll again with a new --state-dir"),
        }
    }
}

/// An activation that may have been answered: written before it is sent, gone once the certificates are stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// Server it is for.
    pub server: String,
    /// Profile that was asked for the identity key.
    pub profile: String,
    /// Profile that was asked for the attestation key.
    pub attestation_profile: Option<String>,
    /// EK that was challenged, `TPMT_PUBLIC`; empty where the IAK vouches.
    pub ek_public: Bytes,
    /// The IAK that vouches, and its certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iak: Option<Vouching>,
    /// Enrollment.
    pub id: EnrollmentId,
    /// Body of the activation, byte for byte.
    pub body: String,
}

/// The manufacturer's key that vouches in an enrollment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vouching {
    /// Where its papers are.
    pub dir: PathBuf,
    /// Its `TPMT_PUBLIC`.
    pub public: Bytes,
    /// SHA-256 of its certificate, hex.
    pub certificate_sha256: String,
}

/// A finished enrollment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolled {
    /// Server that issued.
    pub server: String,
    /// Name of this device.
    pub device: String,
    /// Profile of the identity key's certificate.
    pub profile: String,
    /// Profile of the attestation key's certificate.
    pub attestation_profile: Option<String>,
    /// Where the papers of the manufacturer's IAK are, if it vouched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iak_dir: Option<PathBuf>,
    /// When, seconds since 1970.
    pub at: i64,
}

impl Enrolled {
    /// The flags that ask for these profiles.
    #[must_use]
    pub fn asked_for(&self) -> String {
        match (self.profile.as_str(), self.attestation_profile.as_deref()) {
            ("device-idevid", Some("device-iak")) => "--manufacturer".to_owned(),
            (profile, None) => format!("--profile {profile}"),
            (profile, Some(other)) => format!("--profile {profile} --attestation-profile {other}"),
        }
    }
}

/// An activation of a renewal that may have been answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenewalJournal {
    /// SHA-256 of the certificate that is to be replaced, hex.
    pub certificate_sha256: String,
    /// Whether it is on the new key, [`State::next_key`].
    pub rekey: bool,
    /// Whether the IAK vouches.
    #[serde(default)]
    pub iak: bool,
    /// Renewal.
    pub id: EnrollmentId,
    /// Body of the activation, byte for byte.
    pub body: String,
}

/// What a renewal gave, before it is put in its place: written whole, so that it is put there whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Renewed {
    /// Certificate of the identity key, PEM.
    pub identity: String,
    /// The CA's, PEM.
    pub chain: String,
    /// Whether [`State::next_key`] becomes the identity key.
    pub rekey: bool,
}

/// For which certificate the hooks ran last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hooked {
    /// SHA-256 of its DER, hex.
    pub certificate_sha256: String,
}

/// How the last try to enroll failed, for whoever looks later. Gone once one succeeds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trouble {
    /// Code of the report.
    pub code: String,
    /// What failed.
    pub message: String,
    /// Exit code of that run.
    pub exit: u8,
    /// When, seconds since 1970.
    pub at: i64,
}

/// A persistent key, as it is remembered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Persistent {
    handle: u32,
    public: String,
}

const TROUBLE: &str = "last-error.json";
const RENEWAL: &str = "renewal.json";
const RENEWED: &str = "renewed.json";
const HOOKED: &str = "hooked.json";
/// What is remembered of the CA's ledger.
const LEDGER: &str = "ledger.json";
const NEXT_KEY: &str = "next.tss2.pem";

/// The directory.
#[derive(Debug)]
pub struct State {
    dir: PathBuf,
    /// Held for as long as this lives: flock(2) on the directory itself.
    _lock: Option<File>,
}

impl State {
    /// Open the directory for writing; made with mode 0700 when it is not there, and this process's alone.
    ///
    /// # Errors
    /// [`StateError::Locked`] while another process has it open for writing; [`StateError::Io`].
    pub fn open(dir: &Path) -> Result<Self, StateError> {
        let io = |source| StateError::Io {
            path: dir.to_owned(),
            source,
        };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io)?;
        let lock = File::open(dir).map_err(io)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => StateError::Locked { path: dir.to_owned() },
            TryLockError::Error(source) => io(source),
        })?;
        Ok(Self {
            dir: dir.to_owned(),
            _lock: Some(lock),
        })
    }

    /// The directory as it is; commands that only look make nothing, and need not wait.
    #[must_use]
    pub fn look(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            _lock: None,
        }
    }

    /// Path of a file in it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Contents of a file, if it is there.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        let path = self.path(name);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(source) if source.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StateError::Io { path, source }),
        }
    }

    /// Write a file of mode 0600, whole or not at all: a new file, made durable, takes the place of the old one.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn write(&self, name: &str, contents: &[u8]) -> Result<(), StateError> {
        let path = self.path(name);
        let fresh = self.path(&format!(".{name}.new"));
        let put = || -> std::io::Result<()> {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&fresh)?;
            file.write_all(contents)?;
            file.sync_all()?;
            std::fs::rename(&fresh, &path)?;
            File::open(&self.dir)?.sync_all()
        };
        put().map_err(|source| StateError::Io {
            path: path.clone(),
            source,
        })
    }

    /// Remove a file; one that is not there is removed already.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn remove(&self, name: &str) -> Result<(), StateError> {
        let path = self.path(name);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => Err(StateError::Io { path, source }),
            _ => Ok(()),
        }
    }

    fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StateError> {
        let Some(bytes) = self.read(name)? else { return Ok(None) };
        let parsed = serde_json::from_slice(&bytes);
        parsed.map(Some).map_err(|e| StateError::Damaged {
            path: self.path(name),
            detail: e.to_string(),
        })
    }

    fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), StateError> {
        let damaged = |e: serde_json::Error| StateError::Damaged {
            path: self.path(name),
            detail: e.to_string(),
        };
        let mut text = serde_json::to_vec_pretty(value).map_err(damaged)?;
        text.push(b'\n');
        self.write(name, &text)
    }

    /// The activation under way.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn journal(&self) -> Result<Option<Journal>, StateError> {
        self.read_json("activation.json")
    }

    /// Remember an activation before it is sent.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn begin(&self, journal: &Journal) -> Result<(), StateError> {
        self.write_json("activation.json", journal)
    }

    /// Forget the activation.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn end(&self) -> Result<(), StateError> {
        self.remove("activation.json")
    }

    /// The finished enrollment.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn enrolled(&self) -> Result<Option<Enrolled>, StateError> {
        self.read_json("enrolled.json")
    }

    /// Remember a finished enrollment; the last thing written.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn set_enrolled(&self, enrolled: &Enrolled) -> Result<(), StateError> {
        self.write_json("enrolled.json", enrolled)
    }

    /// How the last try failed, if it did.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn trouble(&self) -> Result<Option<Trouble>, StateError> {
        self.read_json(TROUBLE)
    }

    /// Remember how a try failed, or that it did not.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn set_trouble(&self, trouble: Option<&Trouble>) -> Result<(), StateError> {
        match trouble {
            Some(trouble) => self.write_json(TROUBLE, trouble),
            None => self.remove(TROUBLE),
        }
    }

    /// The renewal under way.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn renewal(&self) -> Result<Option<RenewalJournal>, StateError> {
        self.read_json(RENEWAL)
    }

    /// Remember the activation of a renewal before it is sent, or forget it.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn set_renewal(&self, journal: Option<&RenewalJournal>) -> Result<(), StateError> {
        match journal {
            Some(journal) => self.write_json(RENEWAL, journal),
            None => self.remove(RENEWAL),
        }
    }

    /// What a renewal gave and is not in its place yet.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn renewed(&self) -> Result<Option<Renewed>, StateError> {
        self.read_json(RENEWED)
    }

    /// Remember it, before anything is put in its place, or forget it, after all is.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn set_renewed(&self, renewed: Option<&Renewed>) -> Result<(), StateError> {
        match renewed {
            Some(renewed) => self.write_json(RENEWED, renewed),
            None => self.remove(RENEWED),
        }
    }

    /// What is remembered of the CA's ledger.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn ledger(&self) -> Result<Option<Watch>, StateError> {
        self.read_json(LEDGER)
    }

    /// Remember it.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn set_ledger(&self, watch: &Watch) -> Result<(), StateError> {
        self.write_json(LEDGER, watch)
    }

    /// For which certificate the hooks ran last.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn hooked(&self) -> Result<Option<Hooked>, StateError> {
        self.read_json(HOOKED)
    }

    /// Remember for which certificate the hooks ran.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn set_hooked(&self, hooked: &Hooked) -> Result<(), StateError> {
        self.write_json(HOOKED, hooked)
    }

    /// The key that a renewal is to put in the place of the identity key.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn next_key(&self) -> Result<Option<Tss2Key>, StateError> {
        self.loadable(NEXT_KEY)
    }

    /// Remember it before it is used for anything, or forget it.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn set_next_key(&self, key: Option<&Tss2Key>) -> Result<(), StateError> {
        match key {
            Some(key) => self.set_loadable(NEXT_KEY, key),
            None => self.remove(NEXT_KEY),
        }
    }

    fn loadable(&self, file: &str) -> Result<Option<Tss2Key>, StateError> {
        let Some(bytes) = self.read(file)? else { return Ok(None) };
        let damaged = |detail: String| StateError::Damaged {
            path: self.path(file),
            detail,
        };
        let text = String::from_utf8(bytes).map_err(|e| damaged(e.to_string()))?;
        Tss2Key::from_pem(&text).map(Some).map_err(|e| damaged(e.to_string()))
    }

    fn set_loadable(&self, file: &str, key: &Tss2Key) -> Result<(), StateError> {
        let text = key.to_pem().map_err(|e| StateError::Damaged {
            path: self.path(file),
            detail: e.to_string(),
        })?;
        self.write(file, text.as_bytes())
    }

    /// A key made before.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn key(&self, role: Role) -> Result<Option<StoredKey>, StateError> {
        let (pem, json) = key_files(role);
        if let Some(key) = self.loadable(pem)? {
            return Ok(Some(StoredKey::Loadable(key)));
        }
        let Some(found) = self.read_json::<Persistent>(json)? else {
            return Ok(None);
        };
        let public = hex::decode(&found.public).map_err(|e| StateError::Damaged {
            path: self.path(json),
            detail: e.to_string(),
        })?;
        Ok(Some(StoredKey::Persistent {
            handle: found.handle,
            public,
        }))
    }

    /// Remember a key, before it is used for anything.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn set_key(&self, role: Role, key: &StoredKey) -> Result<(), StateError> {
        let (pem, json) = key_files(role);
        match key {
            StoredKey::Loadable(key) => self.set_loadable(pem, key),
            StoredKey::Persistent { handle, public } => self.write_json(
                json,
                &Persistent {
                    handle: *handle,
                    public: hex::encode(public),
                },
            ),
        }
    }

    /// How OpenSSL's tpm2 provider names the identity key: a file, or a handle.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn openssl_key(&self) -> Result<Option<String>, StateError> {
        Ok(self.key(Role::Identity)?.map(|key| match key {
            StoredKey::Loadable(_) => self.path(key_files(Role::Identity).0).display().to_string(),
            StoredKey::Persistent { handle, .. } => format!("handle:{handle:#010x}"),
        }))
    }
}

/// Where a key is kept: as blobs, or as a handle.
fn key_files(role: Role) -> (&'static str, &'static str) {
    match role {
        Role::Attestation => ("ak.tss2.pem", "ak.json"),
        Role::Identity => ("key.tss2.pem", "key.json"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn files_are_private_and_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(&dir.path().join("state")).unwrap();
        for text in ["one", "two, which is longer", "3"] {
            state.write("file", text.as_bytes()).unwrap();
            assert_eq!(state.read("file").unwrap().unwrap(), text.as_bytes());
        }
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&state.path("file")), 0o600);
        assert_eq!(mode(&dir.path().join("state")), 0o700);
        assert!(!state.path(".file.new").exists());
    }

    #[test]
    fn a_journal_comes_back_byte_for_byte_and_ends_once() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        assert_eq!(state.journal().unwrap(), None);
        let journal = Journal {
            server: "https://ca".into(),
            profile: "device-ldevid".into(),
            attestation_profile: None,
            ek_public: vec![1, 2, 3].into(),
            iak: None,
            id: EnrollmentId([7; 16]),
            body: "{\"secret\":\"AQ==\"}".into(),
        };
        state.begin(&journal).unwrap();
        assert_eq!(State::look(dir.path()).journal().unwrap(), Some(journal));
        state.end().unwrap();
        state.end().unwrap();
        assert_eq!(state.journal().unwrap(), None);
    }

    #[test]
    fn one_agent_writes_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = State::open(dir.path()).unwrap();
        let second = State::open(dir.path()).unwrap_err();
        assert!(matches!(&second, StateError::Locked { .. }));
        assert_eq!(second.report().exit, Exit::TryAgain);
        // Whoever only looks is not kept out, and keeps nobody out.
        assert_eq!(State::look(dir.path()).journal().unwrap(), None);
        drop(first);
        let _look = State::look(dir.path());
        State::open(dir.path()).unwrap();
    }

    #[test]
    fn damage_is_said_and_not_overlooked() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        for name in ["activation.json", "enrolled.json", "key.tss2.pem", "ak.json"] {
            state.write(name, b"{\"no\":").unwrap();
        }
        assert!(matches!(state.journal(), Err(StateError::Damaged { .. })));
        assert!(matches!(state.enrolled(), Err(StateError::Damaged { .. })));
        assert!(matches!(state.key(Role::Identity), Err(StateError::Damaged { .. })));
        assert!(matches!(state.key(Role::Attestation), Err(StateError::Damaged { .. })));
    }

    #[test]
    fn persistent_keys_come_back_with_their_public_area() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let key = StoredKey::Persistent {
            handle: 0x8102_0000,
            public: vec![1, 2, 3],
        };
        state.set_key(Role::Identity, &key).unwrap();
        assert_eq!(state.key(Role::Identity).unwrap(), Some(key));
        assert_eq!(state.key(Role::Attestation).unwrap(), None);
        assert_eq!(state.openssl_key().unwrap().as_deref(), Some("handle:0x81020000"));
    }
}
