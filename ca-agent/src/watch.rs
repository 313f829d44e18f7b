//! What a device remembers of its CA's ledger: promises, the newest checkpoint, and what cannot be explained.

use serde::{Deserialize, Serialize};
use wire::Bytes;

/// What this device remembers of the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// Certificates of this device.
    pub promises: Vec<Held>,
    /// The newest checkpoint that was seen, a signed note.
    pub seen: Option<String>,
    /// When it was looked at last, unix seconds.
    pub looked_at: Option<i64>,
    /// Why it could not be looked at the last time.
    pub away: Option<String>,
    /// What the CA cannot explain. It stays until a person removes the file.
    pub alarm: Option<Alarm>,
}

/// One certificate, and what was said of its entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// Serial, lower-case hex.
    pub serial: String,
    /// SHA-256 of the certificate, lower-case hex.
    pub certificate: String,
    /// The leaf; none where the CA said nothing of a ledger.
    pub entry: Option<Bytes>,
    /// The promise, a signed note.
    pub promise: Option<String>,
    /// When it came, unix seconds.
    pub since: i64,
    /// What became of it.
    pub standing: Standing,
}

/// What became of a promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Standing {
    /// Not kept yet.
    Open,
    /// The entry is in the signed tree.
    Kept {
        /// When that was seen, unix seconds.
        at: i64,
        /// Its place.
        index: u64,
    },
    /// It was not kept, or never made.
    Broken {
        /// Since when, unix seconds.
        at: i64,
        /// Why.
        why: String,
    },
}

/// What a ledger must never do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Breach {
    /// Two trees, neither of which continues the other.
    Forked,
    /// The tree is shorter than it was.
    Cut,
    /// A promise was not kept.
    Broken,
    /// A promise that is not the ledger's, or is about something else.
    Forged,
}

impl Breach {
    /// The code of the report.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Forked => "E-LEDGER-FORKED",
            Self::Cut => "E-LEDGER-CUT",
            Self::Broken => "E-LEDGER-PROMISE",
            Self::Forged => "E-LEDGER-FORGED",
        }
    }
}

/// That it was done, and what shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alarm {
    /// When it was seen, unix seconds.
    pub at: i64,
    /// What.
    pub what: Breach,
    /// In words.
    pub why: String,
    /// The checkpoint that was seen before.
    pub seen: Option<String>,
    /// The one that was shown now.
    pub shown: Option<String>,
}

impl Watch {
    /// How many promises are not kept yet.
    #[must_use]
    pub fn open(&self) -> usize {
        let open = |held: &&Held| held.standing == Standing::Open;
        self.promises.iter().filter(open).count()
    }

    /// One word: `forked`, `cut`, `broken`, `forged`, `open`, `kept`, `none`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match &self.alarm {
            Some(alarm) => match alarm.what {
                Breach::Forked => "forked",
                Breach::Cut => "cut",
                Breach::Broken => "broken",
                Breach::Forged => "forged",
            },
            None if self.promises.is_empty() => "none",
            None if self.open() > 0 => "open",
            None => "kept",
        }
    }
}
