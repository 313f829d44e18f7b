//! A line of the middle: one device.

use serde::{Deserialize, Serialize};

use crate::header::Kind;
use crate::{BadLine, Hash, digest, exactly, spelled, text};

/// Most EKs of a device, and most that went with a repair.
const MOST_EKS: usize = 8;
/// Most identities of a device.
const MOST_IDENTITIES: usize = 16;
/// Longest serial of a device; longest name of a profile.
const LONGEST: usize = 64;
/// Longest serial number of a certificate, in octets (RFC 5280 §4.1.2.2), and in hex.
const LONGEST_SERIAL: usize = 2 * 20;

/// Under this profile a line names the certificates of a device's IAK.
const IAK: &str = "device-iak";
/// Under this one, its IDevID certificates.
const IDEVID: &str = "device-idevid";

/// One device as its maker knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    raw: RawEntry,
    ek: Vec<Hash>,
    was: Vec<Hash>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    serial: String,
    model: String,
    ek: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    was: Vec<String>,
    identities: Vec<Identity>,
}

/// A certificate that the device left the factory with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Profile it was issued under.
    pub profile: String,
    /// Its serial number, lower-case hex.
    pub serial: String,
    /// SHA-256 of the certificate, DER, lower-case hex.
    pub sha256: String,
    /// Last second of its validity, seconds since 1970-01-01T00:00:00Z.
    pub not_after: i64,
}

impl Entry {
    /// A device. EKs and identities are put in order; one twice is one.
    ///
    /// # Errors
    /// [`BadLine`] says what does not fit.
    pub fn new(
        kind: Kind,
        serial: &str,
        model: &str,
        ek: &[Hash],
        was: &[Hash],
        mut identities: Vec<Identity>,
    ) -> Result<Self, BadLine> {
        let written = |hashes: &[Hash]| {
            let mut texts: Vec<String> = hashes.iter().map(hex::encode).collect();
            texts.sort_unstable();
            texts.dedup();
            texts
        };
        identities.sort_by(|a, b| a.sha256.cmp(&b.sha256));
        identities.dedup_by(|a, b| a.sha256 == b.sha256);
        let raw = RawEntry {
            serial: serial.to_owned(),
            model: model.to_owned(),
            ek: written(ek),
            was: written(was),
            identities,
        };
        Self::of(kind, raw)
    }

    /// Read the line; what it may say depends on the kind of its manifest.
    ///
    /// # Errors
    /// [`BadLine`].
    pub fn parse(kind: Kind, line: &[u8]) -> Result<Self, BadLine> {
        Self::of(kind, exactly(line)?)
    }

    /// The line.
    ///
    /// # Errors
    /// Never of an entry that was made or read here.
    pub fn line(&self) -> Result<Vec<u8>, BadLine> {
        spelled(&self.raw)
    }

    /// Serial of the device: its name in an inventory.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.raw.serial
    }

    /// Model of the device.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.raw.model
    }

    /// SHA-256 of the SubjectPublicKeyInfo of each EK of its TPM, ascending; one at least.
    #[must_use]
    pub fn ek(&self) -> &[Hash] {
        &self.ek
    }

    /// The same of the TPM that went with this repair; else empty.
    #[must_use]
    pub fn was(&self) -> &[Hash] {
        &self.was
    }

    /// Certificates it left the factory with.
    #[must_use]
    pub fn identities(&self) -> &[Identity] {
        &self.raw.identities
    }

    /// SHA-256 of each certificate of its IAK: identities of profile `device-iak`. Whoever enrolls it on its maker's word wants
    /// to see one of these, if there is one.
    #[must_use]
    pub fn iak(&self) -> Vec<Hash> {
        self.certificates(IAK)
    }

    /// SHA-256 of each of its IDevID certificates: identities of profile `device-idevid`.
    #[must_use]
    pub fn idevid(&self) -> Vec<Hash> {
        self.certificates(IDEVID)
    }

    fn certificates(&self, profile: &str) -> Vec<Hash> {
        let of = self.raw.identities.iter().filter(|one| one.profile == profile);
        // Hex was checked when the line was read.
        of.filter_map(|one| digest("sha256", &one.sha256).ok()).collect()
    }

    fn of(kind: Kind, raw: RawEntry) -> Result<Self, BadLine> {
        serial(&raw.serial)?;
        text("model", &raw.model, LONGEST)?;
        let ek = hashes("ek", &raw.ek)?;
        let was = hashes("was", &raw.was)?;
        if ek.is_empty() {
            return Err(BadLine("ek: a device has one at least".to_owned()));
        }
        match (kind, was.is_empty()) {
            (Kind::Repair, true) => return Err(BadLine("was: a repair names the EKs that went".to_owned())),
            (Kind::Lot | Kind::Transfer, false) => return Err(BadLine("was: only in a repair".to_owned())),
            _ => {}
        }
        if was.iter().any(|old| ek.contains(old)) {
            return Err(BadLine("was: an EK that went is not one that came".to_owned()));
        }
        if raw.identities.len() > MOST_IDENTITIES {
            return Err(BadLine(format!("identities: at most {MOST_IDENTITIES}")));
        }
        raw.identities.iter().try_for_each(identity)?;
        if !raw.identities.is_sorted_by(|a, b| a.sha256 < b.sha256) {
            return Err(BadLine("identities: ascending by sha256, each once".to_owned()));
        }
        Ok(Self { raw, ek, was })
    }
}

/// 1 to 64 of letters, digits, `.` and `-`: what every inventory takes as a name.
fn serial(value: &str) -> Result<(), BadLine> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-';
    let ends = |end: Option<&u8>| end.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = value.as_bytes();
    let fits = (1..=LONGEST).contains(&bytes.len())
        && bytes.iter().copied().all(plain)
        && ends(bytes.first())
        && ends(bytes.last())
        && !value.contains("..");
    fits.then_some(()).ok_or_else(|| {
        BadLine(format!(
            "serial: 1 to {LONGEST} of A-Z a-z 0-9 . - , first and last a letter or digit, no two dots in a row"
        ))
    })
}

fn hashes(what: &str, values: &[String]) -> Result<Vec<Hash>, BadLine> {
    if values.len() > MOST_EKS {
        return Err(BadLine(format!("{what}: at most {MOST_EKS}")));
    }
    let hashes: Vec<Hash> = values.iter().map(|v| digest(what, v)).collect::<Result<_, _>>()?;
    if hashes.is_sorted_by(|a, b| a < b) {
        Ok(hashes)
    } else {
        Err(BadLine(format!("{what}: ascending, each once")))
    }
}

fn identity(one: &Identity) -> Result<(), BadLine> {
    text("profile", &one.profile, LONGEST)?;
    digest("sha256", &one.sha256)?;
    let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let octets = one.serial.len().is_multiple_of(2) && (2..=LONGEST_SERIAL).contains(&one.serial.len());
    if octets && one.serial.bytes().all(lower) {
        Ok(())
    } else {
        Err(BadLine(
            "serial of an identity: 1 to 20 octets, lower-case hex".to_owned(),
        ))
    }
}
