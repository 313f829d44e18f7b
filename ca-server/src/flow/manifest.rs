//! Manifests: what a factory says about the devices of a lot, read line by line. Nothing of it is expected before the last
//! line was read and the root is the signed one.

use issuance::{AuditRecord, SignatureAlgorithm, Statement};
use manifest::{Closing, Entry, Header, Kind, Seal, Tree};
use schema::{ManifestPart, ManifestRow, NewExpected, NewManifest};
use wire::manifest::{Manifest, ManifestPage, OpenManifest, RefusedLine, RefusedLines};

use super::failure::Trouble;
use crate::house::House;

/// Most lines of one part.
const MOST_LINES: usize = 2000;
/// Longest reason, in characters.
const LONGEST: usize = 500;

/// Why a manifest was not read.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// There is no such manifest.
    #[error("there is no such manifest")]
    NotFound,
    /// Not the lines of a manifest, or not its signature.
    #[error("{0}")]
    Malformed(String),
    /// Signed by a key that is not believed here.
    #[error("key {0} is not among [manifests] signers of server.toml")]
    Signer(String),
    /// The lot is another manifest's, or this one is not where this begins.
    #[error("{0}")]
    Conflict(String),
    /// Not the caller's fault.
    #[error(transparent)]
    Trouble(#[from] Trouble),
}

impl From<schema::StoreError> for ManifestError {
    fn from(error: schema::StoreError) -> Self {
        Self::Trouble(error.into())
    }
}

impl From<schema::ManifestError> for ManifestError {
    fn from(error: schema::ManifestError) -> Self {
        match error {
            schema::ManifestError::NotFound => Self::NotFound,
            schema::ManifestError::Store(error) => error.into(),
            other => Self::Conflict(other.to_string()),
        }
    }
}

impl From<manifest::BadLine> for ManifestError {
    fn from(error: manifest::BadLine) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// Begin to read a manifest, or go on with it: signed by a key that is believed here.
///
/// # Errors
/// [`ManifestError`].
pub fn open(house: &House, actor: &str, body: &OpenManifest) -> Result<Manifest, ManifestError> {
    let header = Header::parse(body.header.as_bytes())?;
    let closing = Closing::parse(body.closing.as_bytes())?;
    let seal = Seal::parse(body.seal.as_bytes())?;
    let spki = seal.spki();
    let signer = openssl::sha::sha256(&spki);
    if !house.manifest_signers.contains(&signer) {
        return Err(ManifestError::Signer(hex::encode(signer)));
    }
    let malformed = |what: &str| ManifestError::Malformed(what.to_owned());
    let algorithm = SignatureAlgorithm::from_text(&seal.algorithm).ok_or_else(|| malformed("unknown algorithm"))?;
    if !Statement::Manifest.is_signed(&closing.digest()?, algorithm, &spki, &seal.signature()) {
        return Err(malformed("the signature is not good"));
    }
    if closing.entries == 0 {
        return Err(malformed("it has no device"));
    }
    let mut tree = Tree::new();
    tree.push(body.header.as_bytes());
    let mut root = [0; 32];
    hex::decode_to_slice(closing.root(), &mut root).map_err(|_| malformed("root"))?;
    let new = NewManifest {
        root,
        signer_sha256: signer,
        kind: header.kind.as_str(),
        lot: header.lot.clone(),
        header: body.header.clone(),
        seal: body.seal.clone(),
        entries: closing.entries,
        all_or_nothing: body.all_or_nothing,
        tree: tree.to_bytes(),
    };
    let detail = format!("{} of {}, root {}", new.kind, closing.entries, closing.root());
    let audit = audit(house, "manifest.begun", actor, &header.lot, detail);
    shown(house.store.open_manifest(&new, &audit)?)
}

/// Read some lines. Bad ones are recorded and passed over.
///
/// # Errors
/// [`ManifestError`].
pub fn read(house: &House, actor: &str, id: i64, from: u64, lines: &[String]) -> Result<Manifest, ManifestError> {
    if lines.is_empty() || lines.len() > MOST_LINES {
        return Err(ManifestError::Malformed(format!("lines: 1 to {MOST_LINES}")));
    }
    let now = house.store.manifest(id)?.ok_or(ManifestError::NotFound)?;
    let upto = from.saturating_add(u64::try_from(lines.len()).unwrap_or(u64::MAX));
    // Heard before: the answer was lost.
    if upto <= now.lines_read {
        return shown(now);
    }
    if from != now.lines_read {
        return Err(schema::ManifestError::OutOfStep(now.lines_read).into());
    }
    let bug = |what: &str| ManifestError::Trouble(Trouble::Bug(format!("manifest {id}: {what}")));
    let kind = Kind::from_text(&now.kind).ok_or_else(|| bug("kind"))?;
    let mut tree = Tree::from_bytes(&now.tree).ok_or_else(|| bug("tree"))?;
    let mut last = now.last_serial.clone();
    let read = lines.iter().map(|line| {
        tree.push(line.as_bytes());
        let entry = Entry::parse_behind(kind, line.as_bytes(), &last).map_err(|e| e.to_string())?;
        entry.serial().clone_into(&mut last);
        Ok(NewExpected {
            serial: entry.serial().to_owned(),
            ek: entry.ek().to_vec(),
            was: entry.was().to_vec(),
            iak: entry.iak(),
            idevid: entry.idevid(),
        })
    });
    let lines = read.collect();
    let part = ManifestPart {
        manifest: id,
        from,
        lines,
        root: tree.root(),
        tree: tree.to_bytes(),
        last_serial: last,
    };
    let lot = Header::parse(now.header.as_bytes())?.lot;
    let audit = audit(house, "manifest.read", actor, &lot, format!("manifest {id}"));
    shown(house.store.read_manifest(part, &audit)?)
}

/// Take a manifest back. Again is a success.
///
/// # Errors
/// [`ManifestError`].
pub fn withdraw(house: &House, actor: &str, id: i64, reason: &str) -> Result<Manifest, ManifestError> {
    if reason.trim().is_empty() || reason.chars().count() > LONGEST || reason.contains(char::is_control) {
        let what = format!("reason: 1 to {LONGEST} characters, no control characters");
        return Err(ManifestError::Malformed(what));
    }
    let row = house.store.manifest(id)?.ok_or(ManifestError::NotFound)?;
    let lot = Header::parse(row.header.as_bytes())?.lot;
    let audit = audit(
        house,
        "manifest.withdrawn",
        actor,
        &lot,
        format!("manifest {id}: {reason}"),
    );
    tracing::warn!(actor, manifest = id, "a manifest is withdrawn");
    shown(house.store.withdraw_manifest(id, &audit)?)
}

/// One manifest.
///
/// # Errors
/// [`ManifestError`].
pub fn find(house: &House, id: i64) -> Result<Manifest, ManifestError> {
    shown(house.store.manifest(id)?.ok_or(ManifestError::NotFound)?)
}

/// Manifests, newest first.
///
/// # Errors
/// [`ManifestError`].
pub fn list(house: &House, before: Option<i64>, limit: u32) -> Result<ManifestPage, ManifestError> {
    let page = house.store.manifests(before, limit)?;
    Ok(ManifestPage {
        items: page.items.into_iter().map(shown).collect::<Result<_, _>>()?,
        next: page.next.map(|next| next.to_string()),
    })
}

/// Refused lines of a manifest, in their order.
///
/// # Errors
/// [`ManifestError`].
pub fn refusals(house: &House, id: i64, after: Option<i64>, limit: u32) -> Result<RefusedLines, ManifestError> {
    let page = house.store.refused_lines(id, after, limit)?;
    let line = |(position, reason)| RefusedLine { position, reason };
    Ok(RefusedLines {
        items: page.items.into_iter().map(line).collect(),
        next: page.next.map(|next| next.to_string()),
    })
}

fn shown(row: ManifestRow) -> Result<Manifest, ManifestError> {
    let header = Header::parse(row.header.as_bytes())?;
    Ok(Manifest {
        id: row.id,
        state: row.state.as_str().to_owned(),
        kind: row.kind,
        lot: header.lot,
        maker: header.maker,
        to: header.to,
        made_at: header.made_at,
        root: hex::encode(row.root),
        signer_sha256: hex::encode(row.signer_sha256),
        entries: row.entries,
        lines_read: row.lines_read,
        lines_refused: row.lines_refused,
        all_or_nothing: row.all_or_nothing,
        imported_by: row.imported_by,
        imported_at: row.imported_at,
    })
}

fn audit(house: &House, action: &str, actor: &str, lot: &str, detail: String) -> AuditRecord {
    AuditRecord {
        at: house.clock.read().now,
        action: action.to_owned(),
        actor: actor.to_owned(),
        subject: lot.to_owned(),
        reason: "ADMIN".to_owned(),
        detail,
    }
}
