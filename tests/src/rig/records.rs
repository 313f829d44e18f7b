//! What stands in the records of a CA: database, audit file, inventory.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use wire::admin::{AllowDevice, AuditEntry, AuditPage, Device, DeviceTree, OrphanPage};

use super::{Rig, Server};
use crate::clients::until;
use crate::soft_tpm::SoftTpm;

/// Tables that are counted.
const TABLES: [&str; 12] = [
    "audit",
    "blocked_key",
    "certificate",
    "challenge_attempt",
    "device",
    "ek_owner",
    "enrollment",
    "evidence",
    "identity",
    "key_owner",
    "replacement",
    "revocation",
];

/// Number of rows in each table.
pub type Rows = BTreeMap<&'static str, u64>;

impl Rig {
    /// Wait until every leaf has its place in a tree that is signed.
    ///
    /// # Panics
    /// When it takes too long.
    pub fn every_leaf_is_signed(&self) {
        until("every leaf is in the signed tree", || {
            self.sql("SELECT count(*) FROM ledger_entry WHERE position IS NULL") == "0"
                && self.sql("SELECT count(*) FROM ledger WHERE signed_size = size") == "1"
        });
    }

    /// Run one SQL statement beside the server; rows as lines, columns separated by `|`.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn sql(&self, statement: &str) -> String {
        let url = &self.database;
        let mut command = if let Some(path) = url.strip_prefix("sqlite://") {
            let mut command = Command::new("sqlite3");
            command.arg("-batch").arg(self.path(path));
            command
        } else {
            let mut command = Command::new("psql");
            command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url, "-c"]);
            command
        };
        let output = command.arg(statement).output().expect("sqlite3 and psql are installed");
        assert!(
            output.status.success(),
            "{statement}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("UTF-8").trim_end().to_owned()
    }

    /// Count the rows of every table.
    ///
    /// # Panics
    /// When the database cannot be read.
    #[must_use]
    pub fn rows(&self) -> Rows {
        let counts: Vec<String> = TABLES
            .iter()
            .map(|table| format!("SELECT '{table}', count(*) FROM {table}"))
            .collect();
        let text = self.sql(&(counts.join(" UNION ALL ") + ";"));
        let count_of = |table: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(table)?.strip_prefix('|')?.parse().ok())
                .expect("a count")
        };
        TABLES.into_iter().map(|table| (table, count_of(table))).collect()
    }

    /// `GET` on the administration socket; `None` when it is not there.
    ///
    /// # Panics
    /// On every other answer than 200 and 404.
    fn admin_get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Option<T> {
        let (status, body) = self.admin_call("GET", path, &[]);
        if status == 404 {
            return None;
        }
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
        Some(serde_json::from_slice(&body).expect("the body of a success"))
    }

    /// Any request on the administration socket: status and body.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn admin_call(&self, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        self.server().admin_call(method, path, body)
    }

    /// Put a device into the inventory by its EK.
    ///
    /// # Panics
    /// When it is refused.
    pub fn allow(&self, name: &str, tpm: &SoftTpm) {
        self.server().allow(name, tpm);
    }

    /// Put a device into the inventory whose first TPM within an hour is its own.
    ///
    /// # Panics
    /// When it is refused.
    pub fn expect_device(&self, name: &str) {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("a clock");
        self.allow_with(&AllowDevice {
            iak_spki_sha256: None,
            first_contact_until: i64::try_from(now.as_secs() + 3600).ok(),
            ..expected(name)
        });
    }

    /// Put a device into the inventory.
    ///
    /// # Panics
    /// When it is refused.
    pub fn allow_with(&self, device: &AllowDevice) {
        self.server().allow_with(device);
    }

    /// A device of the inventory.
    #[must_use]
    pub fn device(&self, name: &str) -> Option<Device> {
        self.admin_get(&format!("/v1/devices/{name}"))
    }

    /// A device with the evidence it stands on.
    #[must_use]
    pub fn tree(&self, name: &str) -> Option<DeviceTree> {
        self.admin_get(&format!("/v1/devices/{name}/tree"))
    }

    /// Orphans.
    #[must_use]
    pub fn orphans(&self) -> OrphanPage {
        self.admin_get("/v1/orphans").expect("orphans")
    }

    /// The database's audit records for an incident or enrollment, newest first.
    #[must_use]
    pub fn audit(&self, subject: &str) -> Vec<AuditEntry> {
        let page: Option<AuditPage> = self.admin_get(&format!("/v1/audit?subject={subject}"));
        page.map(|page| page.items).unwrap_or_default()
    }

    /// Records of the audit file that name this incident.
    #[must_use]
    pub fn audit_file(&self, incident: &str) -> Vec<AuditEntry> {
        let text = std::fs::read_to_string(self.path("audit.jsonl")).unwrap_or_default();
        text.lines()
            .filter(|line| line.contains(incident))
            .map(|line| serde_json::from_str(line).expect("a record per line"))
            .collect()
    }

    /// How many records the audit file has.
    #[must_use]
    pub fn audit_file_lines(&self) -> usize {
        std::fs::read(self.path("audit.jsonl"))
            .unwrap_or_default()
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
    }
}

impl Server {
    /// Any request on the administration socket: status and body.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn admin_call(&self, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        self.try_admin_call(method, path, body).expect("an answer")
    }

    /// The same of a server that may go away at any moment.
    ///
    /// # Errors
    /// When there is no whole answer.
    ///
    /// # Panics
    /// When the answer is none of HTTP with a told length.
    pub fn try_admin_call(&self, method: &str, path: &str, body: &[u8]) -> std::io::Result<(u16, Vec<u8>)> {
        people_call(self.admin(), method, path, body)
    }

    /// Put a device into the inventory by its EK.
    ///
    /// # Panics
    /// When it is refused.
    pub fn allow(&self, name: &str, tpm: &SoftTpm) {
        self.allow_with(&AllowDevice {
            iak_spki_sha256: None,
            ek_spki_sha256: Some(hex::encode(tpm.ek.sha256())),
            ..expected(name)
        });
    }

    fn allow_with(&self, device: &AllowDevice) {
        let body = serde_json::to_vec(device).expect("JSON");
        let (status, body) = self.admin_call("POST", "/v1/devices", &body);
        assert_eq!(status, 201, "{}: {}", device.name, String::from_utf8_lossy(&body));
    }
}

/// An inventory entry with nothing but a name.
#[must_use]
pub fn expected(name: &str) -> AllowDevice {
    AllowDevice {
        iak_spki_sha256: None,
        name: name.to_owned(),
        ek_spki_sha256: None,
        ek_kind: None,
        first_contact_until: None,
        dns_names: Vec::new(),
        spiffe_id: None,
        batch: None,
        reason: None,
    }
}

/// Any request on an administration socket: status and body.
pub(super) fn people_call(socket: &Path, method: &str, path: &str, body: &[u8]) -> std::io::Result<(u16, Vec<u8>)> {
    let mut stream = UnixStream::connect(socket)?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n");
    let end = end.ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let (head, body) = answer.split_at(end + 4);
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    assert!(!head.contains("transfer-encoding"), "an answer of known length: {head}");
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
    let told = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    if told.is_some_and(|told| told != body.len()) {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok((status, body.to_vec()))
}
