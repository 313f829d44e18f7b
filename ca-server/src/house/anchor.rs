//! What is remembered of the record outside of it, so that a record that is older is noticed at the start.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use failpoint::{Point, reach};
use hsm::{HsmError, Token};
use schema::vault::Mark;
use schema::{Store, StoreError};

use super::folder::replace;
use super::ledger::alone;
use crate::config::AnchorTerms;

/// CKA_LABEL of the anchor in the token.
const LABEL: &str = "holdfast-anchor";
/// No anchor is longer.
const MAX_BYTES: u64 = 4096;

/// Why there is no anchor to rely on.
#[derive(Debug, thiserror::Error)]
pub enum AnchorFault {
    /// The record does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The record is older than what was said of it.
    #[error(
        "the database is older than what was said of it: {why} ({place} remembers). Take a newer one; or go on with it: \
         ca-cli db accept (docs/how-to/backup.md)"
    )]
    Older {
        /// Who remembers.
        place: String,
        /// What.
        why: String,
    },
    /// The file is there, and cannot be read or written.
    #[error("anchor {0}")]
    File(String),
    /// The token.
    #[error("anchor in the token: {0}")]
    Token(#[from] HsmError),
    /// What the token remembers is no anchor.
    #[error("anchor in the token: {0}")]
    Strange(String),
}

/// The anchors of this server.
pub struct Anchor {
    file: Option<PathBuf>,
    token: Option<Token>,
    /// How often they follow the record.
    pub every: Duration,
}

impl Anchor {
    /// By the terms; `token` is the one of the issuing key.
    #[must_use]
    pub fn new(terms: AnchorTerms, token: &Token) -> Self {
        Self {
            file: terms.file,
            token: terms.token.then(|| token.clone()),
            every: terms.every,
        }
    }

    /// The record must hold all that is remembered.
    ///
    /// # Errors
    /// [`AnchorFault`].
    pub fn check(&self, store: &Store) -> Result<(), AnchorFault> {
        // Before the record: another server may go on meanwhile.
        let mut known = Vec::new();
        if let Some(file) = &self.file
            && let Some(mark) = in_file(file)?
        {
            known.push((file.display().to_string(), mark));
        }
        if let Some(token) = &self.token {
            known.extend(in_token(token)?.map(|mark| ("the token".to_owned(), mark)));
        }
        for (place, mark) in known {
            if let Some(shortfall) = store.behind(&mark)? {
                let why = shortfall.to_string();
                return Err(AnchorFault::Older { place, why });
            }
        }
        Ok(())
    }

    /// Remember how far the record is: durable on return. Whoever remembers more keeps that.
    ///
    /// # Errors
    /// [`AnchorFault`].
    pub fn follow(&self, store: &Store) -> Result<(), AnchorFault> {
        let mark = store.mark()?;
        reach(Point::AnchorTaken);
        if let Some(file) = &self.file {
            let failed = |e: io::Error| AnchorFault::File(format!("{}: {e}", file.display()));
            let _alone = alone(file.parent().unwrap_or(Path::new("/"))).map_err(failed)?;
            if in_file(file)?.is_none_or(|before| mark.is_after(&before)) {
                replace(file, mark.to_line().as_bytes()).map_err(failed)?;
            }
        }
        reach(Point::AnchorFiled);
        if let Some(token) = &self.token
            && in_token(token)?.is_none_or(|before| mark.is_after(&before))
        {
            let outlived = |memo: &[u8]| Mark::parse(memo).is_ok_and(|old| mark.is_after(&old));
            token.remember(LABEL, mark.to_line().as_bytes(), outlived)?;
        }
        reach(Point::AnchorHeld);
        Ok(())
    }
}

fn in_file(file: &Path) -> Result<Option<Mark>, AnchorFault> {
    let shown = |why: &str| AnchorFault::File(format!("{}: {why}", file.display()));
    let mut bytes = Vec::new();
    match std::fs::File::open(file) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened
            .and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes))
            .map_err(|e| shown(&e.to_string()))?,
    };
    Mark::parse(&bytes).map(Some).map_err(|why| shown(&why))
}

/// The latest: whoever died while writing one left two.
fn in_token(token: &Token) -> Result<Option<Mark>, AnchorFault> {
    let mut latest: Option<Mark> = None;
    for memo in token.memos(LABEL)? {
        let mark = Mark::parse(&memo).map_err(AnchorFault::Strange)?;
        if latest.is_none_or(|before| mark.is_after(&before)) {
            latest = Some(mark);
        }
    }
    Ok(latest)
}
