//! The first line: which lot, whose word, and what kind of word it is.

use serde::{Deserialize, Serialize};

use crate::{BadLine, exactly, spelled, text};

/// Version of the format; another is refused.
const VERSION: u32 = 1;

/// Longest name of a lot, in characters; an inventory's lots have as many.
const LONGEST_LOT: usize = 64;
/// Longest name of a maker or owner.
const LONGEST_NAME: usize = 120;

/// What a manifest says about its devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// They are new: nobody spoke of their serials or EKs before.
    Lot,
    /// They change hands: same serials, same EKs; this manifest stands for them from now on.
    Transfer,
    /// They were repaired: same serials, other EKs; each line names the EKs that went.
    Repair,
}

impl Kind {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lot => "lot",
            Self::Transfer => "transfer",
            Self::Repair => "repair",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::Lot, Self::Transfer, Self::Repair]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    holdfast_manifest: u32,
    /// What is said.
    pub kind: Kind,
    /// Name of the lot: a signer names a lot once.
    pub lot: String,
    /// Who made the devices, or hands them on.
    pub maker: String,
    /// For whom, where it is for somebody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// When the manifest was made, seconds since 1970-01-01T00:00:00Z.
    pub made_at: i64,
}

impl Header {
    /// A header of this version.
    ///
    /// # Errors
    /// [`BadLine`]: a name that is none.
    pub fn new(kind: Kind, lot: &str, maker: &str, to: Option<&str>, made_at: i64) -> Result<Self, BadLine> {
        let header = Self {
            holdfast_manifest: VERSION,
            kind,
            lot: lot.to_owned(),
            maker: maker.to_owned(),
            to: to.map(ToOwned::to_owned),
            made_at,
        };
        header.check()?;
        Ok(header)
    }

    /// Read the line.
    ///
    /// # Errors
    /// [`BadLine`].
    pub fn parse(line: &[u8]) -> Result<Self, BadLine> {
        let header: Self = exactly(line)?;
        header.check()?;
        Ok(header)
    }

    /// The line.
    ///
    /// # Errors
    /// Never of a header that was made or read here.
    pub fn line(&self) -> Result<Vec<u8>, BadLine> {
        spelled(self)
    }

    fn check(&self) -> Result<(), BadLine> {
        if self.holdfast_manifest != VERSION {
            return Err(BadLine(format!(
                "version {} of the format: this is for version {VERSION}",
                self.holdfast_manifest
            )));
        }
        text("lot", &self.lot, LONGEST_LOT)?;
        text("maker", &self.maker, LONGEST_NAME)?;
        self.to.iter().try_for_each(|to| text("to", to, LONGEST_NAME))?;
        if self.made_at < 0 {
            return Err(BadLine("made_at: seconds since 1970".to_owned()));
        }
        Ok(())
    }
}
