//! Signed trust stores only go forward: what was taken once is in the record, and nothing older is taken after it.

use attest::UnixTime;
use issuance::AuditRecord;
use policies::trust::bundle::SignedBundle;
use schema::{AuditFilter, AuditRow, Store};

use super::{StartError, storage};

/// Rows of one signer that are looked at; each is a change of trust.
const ROWS: u32 = 10_000;
const ACTION: &str = "trust.taken";

/// Take these stores, or refuse to start because one is older than, or another than, one that was taken before.
///
/// # Errors
/// [`StartError`].
pub(super) fn accept(store: &Store, bundles: &[SignedBundle], now: UnixTime) -> Result<(), StartError> {
    for bundle in bundles {
        let filter = AuditFilter {
            subject: Some(bundle.row()),
        };
        let taken = store.audit_entries(&filter, ROWS).map_err(storage)?;
        let taken = taken.iter().filter(|row| row.action == ACTION).filter_map(read);
        let newest = taken.max_by_key(|(version, _)| *version);
        if let Some((version, sha256)) = newest {
            bundle
                .may_follow(version, &sha256)
                .map_err(|e| StartError::Refused(format!("{}: {e}", bundle.file)))?;
            if bundle.version == version {
                continue;
            }
        }
        let record = AuditRecord {
            at: now,
            action: ACTION.to_owned(),
            actor: format!("key:{}", hex::encode(bundle.key_sha256)),
            subject: bundle.row(),
            reason: String::new(),
            detail: format!("{} {}", bundle.version, hex::encode(bundle.sha256)),
        };
        store.audit(&record).map_err(storage)?;
        tracing::info!(file = bundle.file, version = bundle.version, "a newer trust store");
    }
    Ok(())
}

/// Version and SHA-256 in a row.
fn read(row: &AuditRow) -> Option<(u64, [u8; 32])> {
    let (version, digits) = row.detail.split_once(' ')?;
    let mut sha256 = [0; 32];
    hex::decode_to_slice(digits, &mut sha256).ok()?;
    Some((version.parse().ok()?, sha256))
}

#[cfg(test)]
mod tests {
    use super::*;
    use schema::StoreOptions;

    #[test]
    fn trust_never_goes_back() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("store.db").display());
        let store = Store::open(&url, &StoreOptions::default()).unwrap();
        let bundle = |version, sha256, key| SignedBundle {
            file: "store.toml".into(),
            about: "tpm",
            version,
            sha256: [sha256; 32],
            key_sha256: [key; 32],
        };
        let take = |bundle| accept(&store, &[bundle], UnixTime(1_795_305_600)).map_err(|e| e.to_string());
        take(bundle(7, 1, 1)).unwrap();
        take(bundle(7, 1, 1)).unwrap();
        assert!(take(bundle(7, 2, 1)).unwrap_err().contains("another one"));
        assert!(
            take(bundle(6, 3, 1))
                .unwrap_err()
                .contains("version 6 is older than version 7")
        );
        take(bundle(9, 4, 1)).unwrap();
        assert!(take(bundle(7, 1, 1)).unwrap_err().contains("older than version 9"));
        // Another signer begins a row of his own.
        take(bundle(1, 5, 2)).unwrap();
    }
}
