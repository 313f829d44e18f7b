//! [`CrlDraft`] -> [`LintedCrl`] -> [`Crl`].

use std::sync::Arc;

use attest::UnixTime;
use attest::sha256;

use super::entry::{CrlEntry, Mark, Released, Revoked};
use super::lint;
use super::read::{Crl, RawCrl};
use super::scope::CrlScope;
use super::statement::{By, CrlNumber, Statement};
use crate::corridor::{sign_bytes, twin};
use crate::issuer::{IssuerFacts, plain_http};
use crate::lint::Finding;
use crate::{CaKey, Issuer, Serial, SignFailure};

/// The most entries of one CRL; more need shards. The longest such CRL is below [`super::MAX_CRL_BYTES`].
pub const MAX_CRL_ENTRIES: usize = 5_000_000;

/// What a CRL is to say.
#[derive(Debug, Clone)]
pub struct CrlSpec {
    /// Which certificates it speaks for.
    pub scope: CrlScope,
    /// Its number: greater than every one used before for this issuer, signed or not.
    pub number: CrlNumber,
    /// The moment it speaks of: every revocation up to here is in it.
    pub this_update: UnixTime,
    /// When the next one is out at the latest.
    pub next_update: UnixTime,
    /// Every revoked certificate of the scope, in any order, none twice.
    pub revoked: Vec<Revoked>,
    /// Where its delta CRLs are, if there are any (freshestCRL).
    pub delta_url: Option<String>,
}

/// What a delta CRL is to say: what differs from its base.
#[derive(Debug, Clone)]
pub struct DeltaSpec<'a> {
    /// The published complete CRL of the scope.
    pub base: &'a Crl,
    /// Its number: of the same sequence, greater than every one used before for this issuer, signed or not.
    pub number: CrlNumber,
    /// The moment it speaks of; later than that of the base.
    pub this_update: UnixTime,
    /// When the next one is out at the latest.
    pub next_update: UnixTime,
    /// Every certificate of the scope that a complete CRL of this moment would list, in any order, none twice.
    pub revoked: Vec<Revoked>,
    /// Every certificate of the scope that was on hold and is not, in any order, none twice.
    pub released: Vec<Released>,
}

/// A release may be dated so many seconds before a CRL that had not seen it: by the longest transaction, and by what the
/// clocks of servers differ. It is taken back once too often rather than once too little.
const UNSEEN: i64 = 3600;

/// A CRL not yet judged.
#[derive(Debug)]
pub struct CrlDraft {
    tbs: Vec<u8>,
    statement: Statement,
    issuer: Arc<IssuerFacts>,
}

/// A CRL that passed every lint, byte for byte as it will be signed.
#[derive(Debug)]
pub struct LintedCrl {
    tbs: Vec<u8>,
    number: CrlNumber,
    scope: CrlScope,
    entries: usize,
    issuer: Arc<IssuerFacts>,
}

/// What does not become a CRL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CrlDraftError {
    /// keyUsage of the issuer lacks cRLSign.
    #[error("the issuer's certificate does not let it sign CRLs")]
    NotForCrls,
    /// The URL of the scope, or of its deltas, is not plain http.
    #[error("scope: {0}")]
    Scope(String),
    /// A certificate is listed twice.
    #[error("serial {} twice", .0.hex())]
    Twice(Serial),
    /// More than [`MAX_CRL_ENTRIES`].
    #[error("{0} entries in one CRL: use shards")]
    TooMany(usize),
    /// A date outside 1970..=9999.
    #[error("a date outside 1970..=9999")]
    Date,
    /// The base given does not make a delta.
    #[error("no delta: {0}")]
    Delta(&'static str),
    /// Lints that refused.
    #[error("lints refused: {0:?}")]
    Lints(Vec<Finding>),
}

impl CrlDraft {
    /// A CRL that lists all of its scope.
    ///
    /// # Errors
    /// [`CrlDraftError`].
    pub fn new(spec: CrlSpec, issuer: &Issuer) -> Result<Self, CrlDraftError> {
        if spec.revoked.len() > MAX_CRL_ENTRIES {
            return Err(CrlDraftError::TooMany(spec.revoked.len()));
        }
        if let CrlScope::Point(url) = &spec.scope {
            plain_http(url).map_err(CrlDraftError::Scope)?;
        }
        if let Some(url) = &spec.delta_url {
            plain_http(url).map_err(CrlDraftError::Scope)?;
        }
        let statement = Statement {
            scope: spec.scope,
            number: spec.number,
            base: None,
            this_update: spec.this_update,
            next_update: spec.next_update,
            entries: sorted(spec.revoked.into_iter().map(CrlEntry::from).collect())?,
            delta_url: spec.delta_url,
        };
        Self::encoded(statement, &issuer.facts)
    }

    /// The delta CRL (RFC 5280 §5.2.4) on a published complete one: what was revoked since or for another reason, and what
    /// is taken back. That is what the base lists, and what was released after it, or not long before: another CRL since
    /// the base may have listed that.
    ///
    /// # Errors
    /// [`CrlDraftError`].
    pub fn delta(spec: DeltaSpec<'_>, issuer: &Issuer) -> Result<Self, CrlDraftError> {
        let base = spec.base;
        if base.base().is_some() {
            return Err(CrlDraftError::Delta("its base is a delta"));
        }
        if base.issuer_name() != issuer.name() || base.issuer_key_id() != issuer.key_id() {
            return Err(CrlDraftError::Delta("its base is another issuer's"));
        }
        // RFC 5280 §5.2.3: of one moment, they would have one number.
        if spec.number <= base.number() || spec.this_update <= base.this_update() {
            return Err(CrlDraftError::Delta("it is not after its base"));
        }
        if spec.revoked.len() > MAX_CRL_ENTRIES {
            return Err(CrlDraftError::TooMany(spec.revoked.len()));
        }
        let since = base.this_update().0.saturating_sub(UNSEEN);
        let revoked = spec.revoked.into_iter().map(CrlEntry::from);
        let released = spec.released.into_iter().map(CrlEntry::from);
        let all = sorted(revoked.chain(released).collect())?;
        let differs = |entry: &CrlEntry| match (base.find(entry.serial), entry.mark) {
            (Some(there), Mark::Revoked(_)) => there != *entry,
            (None, Mark::Removed) => entry.at.0 >= since,
            (Some(_), Mark::Removed) | (None, Mark::Revoked(_)) => true,
        };
        let statement = Statement {
            scope: base.scope().clone(),
            number: spec.number,
            base: Some(base.number()),
            this_update: spec.this_update,
            next_update: spec.next_update,
            entries: all.into_iter().filter(differs).collect(),
            delta_url: None,
        };
        Self::encoded(statement, &issuer.facts)
    }

    fn encoded(statement: Statement, issuer: &Arc<IssuerFacts>) -> Result<Self, CrlDraftError> {
        if !issuer.crl_sign {
            return Err(CrlDraftError::NotForCrls);
        }
        let by = By {
            name: &issuer.name,
            key_id: &issuer.key_id,
            algorithm: issuer.algorithm.identifier(),
        };
        let tbs = statement.encode(by).ok_or(CrlDraftError::Date)?;
        Ok(Self {
            tbs,
            statement,
            issuer: Arc::clone(issuer),
        })
    }

    #[cfg(test)]
    pub(super) fn into_parts(self) -> (Vec<u8>, Statement, Arc<IssuerFacts>) {
        (self.tbs, self.statement, self.issuer)
    }

    /// Judge the draft by every lint.
    ///
    /// # Errors
    /// [`CrlDraftError::Lints`].
    pub fn lint(self) -> Result<LintedCrl, CrlDraftError> {
        let findings = lint::judge(&self.tbs, &self.statement, &self.issuer);
        if findings.is_empty() {
            Ok(LintedCrl {
                tbs: self.tbs,
                number: self.statement.number,
                scope: self.statement.scope,
                entries: self.statement.entries.len(),
                issuer: self.issuer,
            })
        } else {
            Err(CrlDraftError::Lints(findings))
        }
    }
}

impl LintedCrl {
    /// `TBSCertList`, DER: the bytes that will be signed.
    #[must_use]
    pub fn tbs(&self) -> &[u8] {
        &self.tbs
    }
    /// Whether `crl`, whose signature was verified, says exactly this.
    #[must_use]
    pub fn is_of(&self, crl: &Crl) -> bool {
        let bytes = crate::view::Certificate::parse(crl.der());
        bytes.is_ok_and(|read| read.tbs == self.tbs) && crl.issuer_key_id() == self.issuer.key_id
    }
    /// The same bytes signed by a key of no worth, as [`crate::Linted::twin`].
    ///
    /// # Errors
    /// [`SignFailure`].
    pub fn twin(&self, key: &dyn CaKey) -> Result<Vec<u8>, SignFailure> {
        twin(&self.tbs, &self.issuer, key)
    }
    /// SHA-256 of the bytes about to be signed: written down beside the number before the key is asked.
    #[must_use]
    pub fn tbs_sha256(&self) -> [u8; 32] {
        sha256(&self.tbs)
    }
    /// CRLNumber.
    #[must_use]
    pub fn number(&self) -> CrlNumber {
        self.number
    }
    /// How many entries it has.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.entries
    }
    /// Which certificates it speaks for.
    #[must_use]
    pub fn scope(&self) -> &CrlScope {
        &self.scope
    }
    /// Sign, once; compare the bytes; read the whole back as a stranger would and verify the signature in software.
    ///
    /// # Errors
    /// [`SignFailure`].
    pub fn sign(self, key: &dyn CaKey) -> Result<Crl, SignFailure> {
        let signed = sign_bytes(&self.tbs, &self.issuer, key)?;
        drop(self.tbs);
        let read = RawCrl::decode(signed).map_err(|_| SignFailure::BytesDiffer)?;
        read.verify_by(&self.issuer).map_err(|_| SignFailure::Corrupt)
    }
}

/// By serial; none twice.
fn sorted(mut entries: Vec<CrlEntry>) -> Result<Vec<CrlEntry>, CrlDraftError> {
    entries.sort_unstable_by_key(|entry| entry.serial);
    let twice = entries.windows(2).find_map(|pair| match pair {
        [a, b] if a.serial == b.serial => Some(a.serial),
        _ => None,
    });
    twice.map_or(Ok(entries), |serial| Err(CrlDraftError::Twice(serial)))
}
