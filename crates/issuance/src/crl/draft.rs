//! [`CrlDraft`] -> [`LintedCrl`] -> [`Crl`].

use std::collections::BTreeMap;
use std::sync::Arc;

use attest::UnixTime;
use attest::sha256;

use super::entry::{CrlEntry, Mark, Revoked};
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
}

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
    issuer: Arc<IssuerFacts>,
}

/// What does not become a CRL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CrlDraftError {
    /// keyUsage of the issuer lacks cRLSign.
    #[error("the issuer's certificate does not let it sign CRLs")]
    NotForCrls,
    /// The URL of the scope is not plain http.
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
    /// The CRLs given do not make a delta.
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
        let mut entries: Vec<CrlEntry> = spec.revoked.into_iter().map(CrlEntry::from).collect();
        entries.sort_unstable_by_key(|entry| entry.serial);
        let twice = entries.windows(2).find_map(|pair| match pair {
            [a, b] if a.serial == b.serial => Some(a.serial),
            _ => None,
        });
        if let Some(serial) = twice {
            return Err(CrlDraftError::Twice(serial));
        }
        let statement = Statement {
            scope: spec.scope,
            number: spec.number,
            base: None,
            this_update: spec.this_update,
            next_update: spec.next_update,
            entries,
        };
        Self::encoded(statement, &issuer.facts)
    }

    /// The delta CRL (RFC 5280 §5.2.4) beside the last of `published`, on the base of the first. All of them are complete
    /// for one scope, in the order of publication, none left out: a certificate that was on hold only in between is
    /// taken back too.
    ///
    /// # Errors
    /// [`CrlDraftError`].
    pub fn delta(published: &[&Crl], issuer: &Issuer) -> Result<Self, CrlDraftError> {
        let ([base, .., last], Some((_, earlier))) = (published, published.split_last()) else {
            return Err(CrlDraftError::Delta("a base and a later CRL are needed"));
        };
        for crl in published {
            if crl.base().is_some() {
                return Err(CrlDraftError::Delta("one of them is a delta"));
            }
            if crl.scope() != base.scope() {
                return Err(CrlDraftError::Delta("they are of several scopes"));
            }
            if crl.issuer_name() != issuer.name() || crl.issuer_key_id() != issuer.key_id() {
                return Err(CrlDraftError::Delta("one is another issuer's"));
            }
        }
        if !published.is_sorted_by(|a, b| a.number() < b.number()) {
            return Err(CrlDraftError::Delta("their numbers do not grow"));
        }
        let mut entries = BTreeMap::new();
        for now in last.entries() {
            if earlier.iter().any(|crl| crl.find(now.serial).as_ref() != Some(now)) {
                entries.insert(now.serial, *now);
            }
        }
        let gone = earlier.iter().flat_map(|crl| crl.entries());
        for gone in gone.filter(|gone| last.find(gone.serial).is_none()) {
            let removed = CrlEntry {
                serial: gone.serial,
                at: last.this_update(),
                mark: Mark::Removed,
            };
            entries.insert(gone.serial, removed);
        }
        let statement = Statement {
            scope: last.scope().clone(),
            number: last.number(),
            base: Some(base.number()),
            this_update: last.this_update(),
            next_update: last.next_update(),
            entries: entries.into_values().collect(),
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
