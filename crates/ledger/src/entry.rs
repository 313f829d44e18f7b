//! What the leaves say. One content has one form: compact JSON, members in this order, numbers and hex in lower case; a
//! reader that takes nothing else. No name of a device, no EK, no person: who must know asks the record, whose digest is
//! here.

use serde::{Deserialize, Serialize};

use crate::hash::{Hash, leaf_hash};

/// The version of these entries.
const VERSION: u8 = 1;

/// Why an entry is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Not JSON, or members are missing or of another kind.
    #[error("not an entry of the ledger: {0}")]
    Form(String),
    /// It says it in another way than we write it.
    #[error("the entry is not written as one is")]
    Encoding,
    /// Of a version that is not known here.
    #[error("the entry is of version {0}, which is not known here")]
    Version(u8),
}

/// A leaf, read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    v: u8,
    /// When it was recorded, unix seconds.
    pub at: i64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A certificate was signed, and is about to be handed out.
    Issued(Issuance),
    /// A certificate was revoked, put on hold or released.
    Status {
        /// subjectKeyIdentifier of the issuer.
        #[serde(with = "octets")]
        issuer: Vec<u8>,
        /// Serial, DER content octets.
        #[serde(with = "octets")]
        serial: Vec<u8>,
        /// `revoked`, `on_hold` or `released`.
        state: String,
        /// Why, as CRLs have it.
        reason: String,
    },
    /// What the CA stands on is another thing from here on: a server that decides by it writes this first.
    Changed {
        /// `policy`, `trust` or `issuer`.
        what: String,
        /// SHA-256 of what was said last; absent at first.
        #[serde(with = "perhaps", default, skip_serializing_if = "Option::is_none")]
        before: Option<Hash>,
        /// SHA-256 of what counts now.
        #[serde(with = "digest")]
        after: Hash,
    },
    /// Audit records were written.
    Audit {
        /// How many.
        records: u32,
        /// Digest over them and a secret salt: it tells nothing of them, and holds them to what they say.
        #[serde(with = "digest")]
        digest: Hash,
    },
}

/// A certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issuance {
    /// subjectKeyIdentifier of the issuer.
    #[serde(with = "octets")]
    pub issuer: Vec<u8>,
    /// Serial, DER content octets.
    #[serde(with = "octets")]
    pub serial: Vec<u8>,
    /// SHA-256 of the certificate.
    #[serde(with = "digest")]
    pub certificate: Hash,
    /// SHA-256 of the evidence record; absent for the CA's own.
    #[serde(with = "perhaps", default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Hash>,
    /// Name of the profile.
    pub profile: String,
    /// SHA-256 of the profile.
    #[serde(with = "digest")]
    pub profile_sha256: Hash,
    /// SHA-256 of the transcript: what the CA checked, and decided. Absent for the CA's own, and before there were any.
    #[serde(with = "perhaps", default, skip_serializing_if = "Option::is_none")]
    pub transcript: Option<Hash>,
}

impl Entry {
    /// Of now.
    #[must_use]
    pub fn new(at: i64, event: Event) -> Self {
        Self { v: VERSION, at, event }
    }

    /// The leaf.
    ///
    /// # Errors
    /// [`EntryError::Form`]; never for what this type can hold.
    pub fn to_bytes(&self) -> Result<Vec<u8>, EntryError> {
        serde_json::to_vec(self).map_err(|e| EntryError::Form(e.to_string()))
    }

    /// Parse a leaf.
    ///
    /// # Errors
    /// [`EntryError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, EntryError> {
        let entry: Self = serde_json::from_slice(bytes).map_err(|e| EntryError::Form(e.to_string()))?;
        if entry.v != VERSION {
            return Err(EntryError::Version(entry.v));
        }
        if entry.to_bytes()? == bytes {
            Ok(entry)
        } else {
            Err(EntryError::Encoding)
        }
    }

    /// Hash of the leaf.
    ///
    /// # Errors
    /// [`EntryError::Form`]; never for what this type can hold.
    pub fn hash(&self) -> Result<Hash, EntryError> {
        Ok(leaf_hash(&self.to_bytes()?))
    }
}

mod octets {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&hex::encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        hex::decode(String::deserialize(from)?).map_err(|_| D::Error::custom("not hex"))
    }
}

mod digest {
    use serde::{Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(hash: &[u8; 32], out: S) -> Result<S::Ok, S::Error> {
        super::octets::serialize(hash, out)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
        let bytes = super::octets::deserialize(from)?;
        <[u8; 32]>::try_from(bytes).map_err(|_| D::Error::custom("not 32 octets"))
    }
}

pub(crate) mod perhaps {
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(hash: &Option<[u8; 32]>, out: S) -> Result<S::Ok, S::Error> {
        match hash {
            Some(hash) => super::digest::serialize(hash, out),
            None => out.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<[u8; 32]>, D::Error> {
        super::digest::deserialize(from).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issued() -> Entry {
        let issuance = Issuance {
            issuer: vec![0xab; 20],
            serial: vec![1; 16],
            certificate: [2; 32],
            evidence: Some([3; 32]),
            profile: "device-ldevid".to_owned(),
            profile_sha256: [4; 32],
            transcript: Some([5; 32]),
        };
        Entry::new(1_800_000_000, Event::Issued(issuance))
    }

    fn all() -> Vec<Entry> {
        let mut own = issued();
        if let Event::Issued(issuance) = &mut own.event {
            issuance.evidence = None;
            issuance.transcript = None;
        }
        vec![
            issued(),
            own,
            Entry::new(
                7,
                Event::Status {
                    issuer: vec![1],
                    serial: vec![2],
                    state: "revoked".to_owned(),
                    reason: "keyCompromise".to_owned(),
                },
            ),
            Entry::new(
                8,
                Event::Changed {
                    what: "policy".to_owned(),
                    before: Some([7; 32]),
                    after: [8; 32],
                },
            ),
            Entry::new(
                9,
                Event::Changed {
                    what: "trust".to_owned(),
                    before: None,
                    after: [8; 32],
                },
            ),
            Entry::new(
                -1,
                Event::Audit {
                    records: 2,
                    digest: [9; 32],
                },
            ),
        ]
    }

    #[test]
    fn the_form_of_each() {
        let hex = |byte: &str, times| byte.repeat(times);
        let text = format!(
            "{{\"v\":1,\"at\":1800000000,\"event\":\"issued\",\"issuer\":\"{}\",\"serial\":\"{}\",\"certificate\":\"{}\",\
             \"evidence\":\"{}\",\"profile\":\"device-ldevid\",\"profile_sha256\":\"{}\",\
             \"transcript\":\"{}\"}}",
            hex("ab", 20),
            hex("01", 16),
            hex("02", 32),
            hex("03", 32),
            hex("04", 32),
            hex("05", 32)
        );
        assert_eq!(String::from_utf8(issued().to_bytes().unwrap()).unwrap(), text);
        for entry in all() {
            assert_eq!(Entry::parse(&entry.to_bytes().unwrap()), Ok(entry));
        }
        // As leaves were before there were transcripts: they stay what they are.
        let (before, _) = text.split_once(",\"transcript\"").unwrap();
        let before = format!("{before}}}");
        let read = Entry::parse(before.as_bytes()).unwrap();
        assert_eq!(read.to_bytes().unwrap(), before.as_bytes());
    }

    #[test]
    fn one_content_one_form() {
        let text = String::from_utf8(issued().to_bytes().unwrap()).unwrap();
        for other in [
            text.replace(":1,", ": 1,"),
            text.replace("abab", "ABAB"),
            text.replace("{\"v\":1,\"at\":1800000000,", "{\"at\":1800000000,\"v\":1,"),
            text.replace("}", ",\"more\":1}"),
            text.replace("device-ldevid", "device\\u002dldevid"),
            text.replace("{\"v\":1,", "{\"v\":1,\"v\":1,"),
            format!("{text}\n"),
            text.replace("1800000000", "1.8e9"),
        ] {
            assert_ne!(other, text);
            assert!(Entry::parse(other.as_bytes()).is_err(), "{other}");
        }
        let later = text.replace("\"v\":1", "\"v\":2");
        assert_eq!(Entry::parse(later.as_bytes()), Err(EntryError::Version(2)));
        let nothing = text.replace(&format!("\"{}\"", "03".repeat(32)), "null");
        assert!(Entry::parse(nothing.as_bytes()).is_err());
    }

    #[test]
    fn a_changed_byte_is_another_leaf_or_none() {
        for entry in all() {
            let bytes = entry.to_bytes().unwrap();
            for at in 0..bytes.len() {
                for bit in 0..8 {
                    let mut bad = bytes.clone();
                    bad[at] ^= 1 << bit;
                    if let Ok(read) = Entry::parse(&bad) {
                        assert_ne!(read, entry);
                        assert_ne!(read.hash().unwrap(), entry.hash().unwrap());
                    }
                }
            }
        }
    }
}
