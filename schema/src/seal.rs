//! What a row was, and what it became: SHA-256 of it as a backup writes it, alike on both engines, so that whoever has a
//! backup can say which row an audit record is about.

use std::sync::OnceLock;

use crate::link::{Fault, Link};
use crate::vault::RowText;

/// Tables do not change while a process has them open: it brought them up to date itself.
static SQLITE: OnceLock<RowText> = OnceLock::new();
static POSTGRES: OnceLock<RowText> = OnceLock::new();

/// Digest of a row by the first column of its key; none where there is no such row.
pub(crate) fn row(link: &mut Link, table: &str, id: i64) -> Result<Option<[u8; 32]>, Fault> {
    sealed(link, table, &id.to_string())
}

/// The same of a table whose key is bytes.
pub(crate) fn row_of(link: &mut Link, table: &str, key: &[u8]) -> Result<Option<[u8; 32]>, Fault> {
    let key = match link {
        Link::Sqlite(_) => format!("X'{}'", hex::encode(key)),
        Link::Postgres(_) => format!("'\\x{}'::bytea", hex::encode(key)),
    };
    sealed(link, table, &key)
}

fn sealed(link: &mut Link, table: &str, key: &str) -> Result<Option<[u8; 32]>, Fault> {
    let known = match link {
        Link::Sqlite(_) => &SQLITE,
        Link::Postgres(_) => &POSTGRES,
    };
    let failed = |e: crate::vault::VaultError| Fault::Failed(e.to_string());
    let texts = match known.get() {
        Some(texts) => texts,
        None => {
            let read = RowText::of(link).map_err(failed)?;
            known.get_or_init(|| read)
        }
    };
    let text = texts.one(link, table, key).map_err(failed)?;
    Ok(text.map(|text| openssl::sha::sha256(text.as_bytes())))
}
