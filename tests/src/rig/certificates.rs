//! The certificates on record, read past the server.

use super::Rig;

/// One row of `certificate` and what belongs to it. Binary fields are hex in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Serial number.
    pub serial: String,
    /// Enrollment.
    pub enrollment: String,
    /// `intent`, `issued` or `orphan`.
    pub state: String,
    /// Device.
    pub device: String,
    /// Profile.
    pub profile: String,
    /// SHA-256 of the certified key.
    pub key: String,
    /// What was to be signed.
    pub tbs: String,
    /// The certificate, empty when there is none.
    pub der: String,
}

impl Rig {
    /// All certificates on record, oldest first, from the database itself.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn certificates(&self) -> Vec<Certificate> {
        let hex = |column: &str| match self.database.starts_with("sqlite") {
            true => format!("lower(hex({column}))"),
            false => format!("encode({column}, 'hex')"),
        };
        let text = self.sql(&format!(
            "SELECT {}, {}, c.state, d.name, c.profile, {}, {}, coalesce({}, '') FROM certificate c \
             JOIN enrollment e ON e.id = c.enrollment_id JOIN device d ON d.id = c.device_id ORDER BY c.id",
            hex("c.serial"),
            hex("e.challenge"),
            hex("c.spki_sha256"),
            hex("c.tbs"),
            hex("c.certificate"),
        ));
        let row = |line: &str| {
            let columns: Vec<&str> = line.split('|').collect();
            let [serial, enrollment, state, device, profile, key, tbs, der] = columns.as_slice() else {
                panic!("eight columns: {line}");
            };
            Certificate {
                serial: (*serial).into(),
                enrollment: (*enrollment).into(),
                state: (*state).into(),
                device: (*device).into(),
                profile: (*profile).into(),
                key: (*key).into(),
                tbs: (*tbs).into(),
                der: (*der).into(),
            }
        };
        text.lines().map(row).collect()
    }

    /// How many intents are open: recorded, and neither issued nor given up.
    ///
    /// # Panics
    /// When the database cannot be read.
    #[must_use]
    pub fn open_intents(&self) -> usize {
        let count = self.sql("SELECT count(*) FROM certificate WHERE state = 'intent'");
        count.parse().expect("a count")
    }
}
