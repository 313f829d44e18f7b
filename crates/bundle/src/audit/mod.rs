//! An audit as one archive: what the auditor pinned, what he drew from the ledger, and what he was shown of it. Nothing in
//! it is believed but what leads to keys and roots that are the verifier's own.

mod check;

use std::collections::BTreeMap;

use ledger::{Hash, SignedCheckpoint, VerifierKey};
use serde::{Deserialize, Serialize};
use wire::audit::Behind;
use wire::tar::{self, Files, TarError};

pub use check::{Chain, Fault, Finding, Findings, verify};

/// The first member of every pin.
pub const AUDIT_V1: &str = "holdfast-audit/v1";
const PIN: &str = "audit.json";
const CHECKPOINT: &str = "checkpoint";
const VERDICT: &str = "verdict.json";
/// Most entries that are drawn.
pub const MOST_DRAWN: u64 = 10_000;
/// Longest seed, bytes.
pub const LONGEST_SEED: usize = 1000;

/// Bytes that are no audit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// Not an archive of the one kind there is.
    #[error(transparent)]
    Archive(#[from] TarError),
    /// A file is missing, foreign, or not written as one is.
    #[error("`{0}` is missing, does not belong into an audit, or is not written as it is")]
    File(String),
    /// The seed, or how many are drawn.
    #[error("{0}")]
    Draw(String),
}

/// What an auditor holds fast before he chooses what he looks at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// [`AUDIT_V1`].
    pub v: String,
    /// Name of the ledger.
    pub origin: String,
    /// First place he looks at: where an audit of before ended.
    pub first: u64,
    /// The pinned tree's size.
    pub size: u64,
    /// Its root, lower-case hex.
    pub root: String,
    /// When it was pinned, unix seconds.
    pub opened_at: i64,
    /// The seed: chosen by the auditor, after the pin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<String>,
    /// How many were to be drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

/// An entry, and that the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The entry ([`ledger::Entry`]).
    pub entry: Vec<u8>,
    /// C2SP tlog-proof.
    pub proof: Vec<u8>,
}

/// One that was drawn.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// It.
    pub proven: Proven,
    /// What the CA showed of it; none: nothing.
    pub behind: Option<Behind>,
    /// Where its evidence was erased: the entry of the record, and what the CA showed of that.
    pub erasure: Option<(Proven, Behind)>,
}

/// An audit.
#[derive(Clone, Debug)]
pub struct Audit {
    /// What was held fast.
    pub pin: Pin,
    /// The checkpoint, as it was published.
    pub checkpoint: Vec<u8>,
    /// What was drawn, by place.
    pub drawn: BTreeMap<u64, Drawn>,
    /// What the auditor found.
    pub verdict: Option<Findings>,
}

impl Pin {
    /// Of a checkpoint, from `first` on.
    #[must_use]
    pub fn new(signed: &SignedCheckpoint, first: u64, opened_at: i64) -> Self {
        Self {
            v: AUDIT_V1.to_owned(),
            origin: signed.checkpoint().origin.to_string(),
            first,
            size: signed.head().size,
            root: hex::encode(signed.head().root),
            opened_at,
            seed: None,
            count: None,
        }
    }

    /// Places that seed and count draw: out of nothing but the pinned tree, so that nobody who does not know the seed when
    /// the tree is signed knows them, and everybody who does draws the same.
    ///
    /// # Errors
    /// [`AuditError::Draw`].
    pub fn draw(&self) -> Result<Vec<u64>, AuditError> {
        let wrong = |what: &str| AuditError::Draw(what.to_owned());
        let seed = self.seed.as_deref().ok_or_else(|| wrong("nothing was drawn yet"))?;
        let count = self.count.ok_or_else(|| wrong("nothing was drawn yet"))?;
        if seed.is_empty() || seed.len() > LONGEST_SEED {
            return Err(AuditError::Draw(format!("a seed has 1 to {LONGEST_SEED} bytes")));
        }
        if count == 0 || count > MOST_DRAWN {
            return Err(AuditError::Draw(format!("1 to {MOST_DRAWN} are drawn")));
        }
        let mut root: Hash = [0; 32];
        hex::decode_to_slice(&self.root, &mut root).map_err(|_| wrong("root"))?;
        let room = self
            .size
            .checked_sub(self.first)
            .filter(|room| *room > 0)
            .ok_or_else(|| wrong("there is no entry to draw from"))?;
        if room <= count {
            return Ok((self.first..self.size).collect());
        }
        let mut drawn = std::collections::BTreeSet::new();
        let mut turn = 0_u64;
        while (drawn.len() as u64) < count {
            let mut hash = openssl::sha::Sha256::new();
            hash.update(b"holdfast-audit-sample/v1\n");
            hash.update(&root);
            hash.update(&self.first.to_be_bytes());
            hash.update(&self.size.to_be_bytes());
            hash.update(seed.as_bytes());
            hash.update(&turn.to_be_bytes());
            let digest = hash.finish();
            let number = digest.first_chunk().map_or(0, |bytes| u128::from_be_bytes(*bytes));
            let place = u64::try_from(number % u128::from(room)).unwrap_or_default();
            drawn.insert(self.first.saturating_add(place));
            turn = turn.saturating_add(1);
        }
        Ok(drawn.into_iter().collect())
    }

    /// The checkpoint is the one that was pinned.
    fn is_of(&self, checkpoint: &[u8], key: &VerifierKey) -> Result<SignedCheckpoint, String> {
        let signed = SignedCheckpoint::parse(checkpoint, key).map_err(|e| e.to_string())?;
        let head = signed.head();
        let same = self.origin == signed.checkpoint().origin.as_str()
            && (self.size, &self.root) == (head.size, &hex::encode(head.root))
            && self.first <= self.size;
        if same {
            Ok(signed)
        } else {
            Err("the checkpoint is another than the one that was pinned".to_owned())
        }
    }
}

fn json<T: Serialize>(name: &str, value: &T) -> Result<Vec<u8>, AuditError> {
    serde_json::to_vec(value).map_err(|_| AuditError::File(name.to_owned()))
}

/// One spelling: what would be written otherwise is not read.
fn read_json<T: Serialize + serde::de::DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, AuditError> {
    let wrong = || AuditError::File(name.to_owned());
    let value: T = serde_json::from_slice(bytes).map_err(|_| wrong())?;
    if json(name, &value)? == bytes {
        Ok(value)
    } else {
        Err(wrong())
    }
}

impl Audit {
    /// The archive.
    ///
    /// # Errors
    /// [`AuditError`].
    pub fn write(&self) -> Result<Vec<u8>, AuditError> {
        let mut files = Files::from([
            (PIN.to_owned(), json(PIN, &self.pin)?),
            (CHECKPOINT.to_owned(), self.checkpoint.clone()),
        ]);
        let mut prove = |folder: &str, place: u64, proven: &Proven| {
            files.insert(format!("{folder}entry/{place}"), proven.entry.clone());
            files.insert(format!("{folder}proof/{place}"), proven.proof.clone());
        };
        for (place, drawn) in &self.drawn {
            prove("", *place, &drawn.proven);
            if let Some((proven, _)) = &drawn.erasure {
                prove("erasure-", *place, proven);
            }
        }
        for (place, drawn) in &self.drawn {
            let shown = [
                ("behind", drawn.behind.as_ref()),
                ("erasure-behind", drawn.erasure.as_ref().map(|(_, behind)| behind)),
            ];
            for (folder, behind) in shown {
                if let Some(behind) = behind {
                    let name = format!("{folder}/{place}");
                    let bytes = json(&name, behind)?;
                    files.insert(name, bytes);
                }
            }
        }
        if let Some(verdict) = &self.verdict {
            files.insert(VERDICT.to_owned(), json(VERDICT, verdict)?);
        }
        Ok(tar::write(&files)?)
    }

    /// Read an archive that [`Self::write`] wrote; anything else is refused.
    ///
    /// # Errors
    /// [`AuditError`].
    pub fn read(bytes: &[u8]) -> Result<Self, AuditError> {
        let mut files = tar::read(bytes)?;
        let mut take = |name: &str| files.remove(name).ok_or_else(|| AuditError::File(name.to_owned()));
        let pin: Pin = read_json(PIN, &take(PIN)?)?;
        let checkpoint = take(CHECKPOINT)?;
        if pin.v != AUDIT_V1 {
            return Err(AuditError::File(PIN.to_owned()));
        }
        let verdict = files.remove(VERDICT);
        let verdict = verdict.map(|bytes| read_json(VERDICT, &bytes)).transpose()?;
        let places: Vec<u64> = files
            .keys()
            .filter_map(|name| name.strip_prefix("entry/")?.parse().ok())
            .collect();
        let mut drawn = BTreeMap::new();
        for place in places {
            let mut proven = |folder: &str| -> Result<Option<Proven>, AuditError> {
                let (entry, proof) = (format!("{folder}entry/{place}"), format!("{folder}proof/{place}"));
                match (files.remove(&entry), files.remove(&proof)) {
                    (Some(entry), Some(proof)) => Ok(Some(Proven { entry, proof })),
                    (None, None) => Ok(None),
                    _ => Err(AuditError::File(proof)),
                }
            };
            let (own, erasure) = (proven("")?, proven("erasure-")?);
            let own = own.ok_or_else(|| AuditError::File(format!("entry/{place}")))?;
            let mut shown = |folder: &str| -> Result<Option<Behind>, AuditError> {
                let name = format!("{folder}/{place}");
                let bytes = files.remove(&name);
                bytes.map(|bytes| read_json(&name, &bytes)).transpose()
            };
            let behind = shown("behind")?;
            let erasure = match (erasure, shown("erasure-behind")?) {
                (Some(proven), Some(behind)) => Some((proven, behind)),
                (None, None) => None,
                _ => return Err(AuditError::File(format!("erasure-behind/{place}"))),
            };
            let one = Drawn {
                proven: own,
                behind,
                erasure,
            };
            drawn.insert(place, one);
        }
        if let Some(name) = files.keys().next() {
            return Err(AuditError::File(name.clone()));
        }
        Ok(Self {
            pin,
            checkpoint,
            drawn,
            verdict,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(first: u64, size: u64, seed: &str, count: u64) -> Pin {
        Pin {
            v: AUDIT_V1.to_owned(),
            origin: "l".to_owned(),
            first,
            size,
            root: "07".repeat(32),
            opened_at: 1,
            seed: Some(seed.to_owned()),
            count: Some(count),
        }
    }

    /// The form of the draw is for others to compute, too.
    #[test]
    fn a_draw_is_of_the_tree_and_the_seed_alone() {
        let drawn = pin(10, 1000, "dice: 3 1 4", 50).draw().unwrap();
        assert_eq!(drawn.len(), 50);
        assert!(drawn.is_sorted() && drawn.iter().all(|place| (10..1000).contains(place)));
        assert_eq!(pin(10, 1000, "dice: 3 1 4", 50).draw().unwrap(), drawn);
        let text = [
            b"holdfast-audit-sample/v1\n".as_slice(),
            &[7; 32],
            &10_u64.to_be_bytes(),
            &1000_u64.to_be_bytes(),
            b"dice: 3 1 4",
            &0_u64.to_be_bytes(),
        ]
        .concat();
        let digest = openssl::sha::sha256(&text);
        let first = u128::from_be_bytes(*digest.first_chunk().unwrap()) % 990;
        assert!(drawn.contains(&(10 + u64::try_from(first).unwrap())));
        for other in [
            pin(10, 1000, "dice: 3 1 5", 50),
            pin(9, 1000, "dice: 3 1 4", 50),
            pin(10, 1001, "dice: 3 1 4", 50),
        ] {
            assert_ne!(other.draw().unwrap(), drawn);
        }
        let mut other = pin(10, 1000, "dice: 3 1 4", 50);
        other.root = "08".repeat(32);
        assert_ne!(other.draw().unwrap(), drawn);
        // More than there are is all there are.
        assert_eq!(pin(3, 6, "s", 50).draw().unwrap(), [3, 4, 5]);
    }

    #[test]
    fn what_draws_nothing() {
        for wrong in [
            pin(0, 9, "", 1),
            pin(0, 9, "s", 0),
            pin(0, 9, "s", MOST_DRAWN + 1),
            pin(9, 9, "s", 1),
            pin(10, 9, "s", 1),
            pin(0, 9, &"s".repeat(1001), 1),
        ] {
            assert!(matches!(wrong.draw(), Err(AuditError::Draw(_))), "{wrong:?}");
        }
        assert!(
            Pin {
                seed: None,
                ..pin(0, 9, "s", 1)
            }
            .draw()
            .is_err()
        );
        assert!(
            Pin {
                root: "xx".to_owned(),
                ..pin(0, 9, "s", 1)
            }
            .draw()
            .is_err()
        );
    }
}
