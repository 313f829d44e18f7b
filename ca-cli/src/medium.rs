//! The ceremony's own medium: intents and outcomes as files, durable before the token is asked.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use issuance::{Intent, IssuedRecord, Order, RecordError, Recorder};

/// A folder that takes one `.intent.json` and one `.issued.json` for each certificate.
pub(crate) struct Medium {
    folder: PathBuf,
}

impl Medium {
    /// Make the folder; one that exists is refused, for it holds another ceremony.
    pub(crate) fn create(folder: &Path) -> std::io::Result<Self> {
        DirBuilder::new().mode(0o700).create(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// Write a new file and make it durable: content, then the folder's entry.
    fn put(&self, name: &str, value: &serde_json::Value) -> Result<(), RecordError> {
        let path = self.folder.join(name);
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let mut file = opened.map_err(|e| match e.kind() {
            std::io::ErrorKind::AlreadyExists => RecordError::SerialTaken,
            _ => RecordError::Unavailable(format!("{}: {e}", path.display())),
        })?;
        let unknown = |e: std::io::Error| RecordError::Unknown(format!("{}: {e}", path.display()));
        file.write_all(format!("{value:#}\n").as_bytes()).map_err(unknown)?;
        file.sync_all().map_err(unknown)?;
        File::open(&self.folder).and_then(|f| f.sync_all()).map_err(unknown)
    }
}

impl Recorder for Medium {
    fn intend(&self, order: &Order, intents: &[Intent]) -> Result<(), RecordError> {
        for intent in intents {
            let value = serde_json::json!({
                "schema": "holdfast.ceremony-intent.v1",
                "ceremony": hex::encode(order.enrollment_id),
                "plan_sha256": hex::encode(order.request_sha256),
                "at": order.at.0,
                "action": order.audit.action,
                "actor": order.audit.actor,
                "serial": intent.serial.hex(),
                "issuer_key_id": hex::encode(&intent.issuer_key_id),
                "profile": intent.profile,
                "profile_sha256": hex::encode(intent.profile_sha256),
                "rules": intent.decision.rules,
                "tbs": hex::encode(&intent.tbs),
            });
            self.put(&format!("{}.intent.json", intent.serial.hex()), &value)?;
        }
        Ok(())
    }

    fn issued(&self, enrollment_id: &[u8; 16], issued: &[IssuedRecord]) -> Result<(), RecordError> {
        for record in issued {
            if !self
                .folder
                .join(format!("{}.intent.json", record.serial.hex()))
                .exists()
            {
                return Err(RecordError::IntentClosed);
            }
            let value = serde_json::json!({
                "schema": "holdfast.ceremony-issued.v1",
                "ceremony": hex::encode(enrollment_id),
                "serial": record.serial.hex(),
                "certificate": hex::encode(&record.certificate),
            });
            self.put(&format!("{}.issued.json", record.serial.hex()), &value)?;
        }
        Ok(())
    }
}
