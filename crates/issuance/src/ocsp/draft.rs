//! [`OcspDraft`] -> [`LintedOcsp`] -> [`OcspResponse`].

use attest::UnixTime;

use super::lint;
use super::read::{OcspResponse, RawOcspResponse, assemble};
use super::request::{MAX_CERT_IDS, Nonce};
use super::responder::Responder;
use super::statement::{OcspAnswer, Statement};
use crate::lint::Finding;
use crate::{CaKey, SignFailure, ToSign};

/// What an answer is to say.
#[derive(Debug, Clone)]
pub struct OcspSpec {
    /// About which certificates what; 1 to [`MAX_CERT_IDS`], none twice.
    pub answers: Vec<OcspAnswer>,
    /// The moment it speaks of: when the record was read. Also producedAt.
    pub this_update: UnixTime,
    /// Until when it may be relied upon.
    pub next_update: UnixTime,
    /// The nonce of the request.
    pub nonce: Option<Nonce>,
}

/// An answer not yet judged.
#[derive(Debug)]
pub struct OcspDraft {
    tbs: Vec<u8>,
    statement: Statement,
    responder: Responder,
}

/// An answer that passed every lint, byte for byte as it will be signed.
#[derive(Debug)]
pub struct LintedOcsp {
    tbs: Vec<u8>,
    responder: Responder,
}

/// What does not become an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OcspDraftError {
    /// None, or more than [`MAX_CERT_IDS`].
    #[error("{0} answers at once")]
    Answers(usize),
    /// A date outside 1970..=9999.
    #[error("a date outside 1970..=9999")]
    Date,
    /// Lints that refused.
    #[error("lints refused: {0:?}")]
    Lints(Vec<Finding>),
}

impl OcspDraft {
    /// An answer of this responder.
    ///
    /// # Errors
    /// [`OcspDraftError`].
    pub fn new(spec: OcspSpec, responder: &Responder) -> Result<Self, OcspDraftError> {
        if !(1..=MAX_CERT_IDS).contains(&spec.answers.len()) {
            return Err(OcspDraftError::Answers(spec.answers.len()));
        }
        let statement = Statement {
            answers: spec.answers,
            produced_at: spec.this_update,
            this_update: spec.this_update,
            next_update: spec.next_update,
            nonce: spec.nonce,
        };
        let facts = &responder.facts;
        let tbs = statement
            .encode(&facts.key_hash, &facts.issuer)
            .ok_or(OcspDraftError::Date)?;
        Ok(Self {
            tbs,
            statement,
            responder: responder.clone(),
        })
    }

    #[cfg(test)]
    pub(super) fn into_parts(self) -> (Vec<u8>, Statement, Responder) {
        (self.tbs, self.statement, self.responder)
    }

    /// Judge the draft by every lint.
    ///
    /// # Errors
    /// [`OcspDraftError::Lints`].
    pub fn lint(self) -> Result<LintedOcsp, OcspDraftError> {
        let findings = lint::judge(&self.tbs, &self.statement, &self.responder.facts);
        if findings.is_empty() {
            Ok(LintedOcsp {
                tbs: self.tbs,
                responder: self.responder,
            })
        } else {
            Err(OcspDraftError::Lints(findings))
        }
    }
}

impl LintedOcsp {
    /// Sign, once; read the whole back as a stranger would, compare the bytes, and verify the signature in software.
    ///
    /// # Errors
    /// [`SignFailure`].
    pub fn sign(self, key: &dyn CaKey) -> Result<OcspResponse, SignFailure> {
        let facts = &self.responder.facts;
        if key.spki() != facts.spki {
            return Err(SignFailure::WrongKey("not the responder's".into()));
        }
        if key.algorithm() != facts.algorithm {
            return Err(SignFailure::WrongKey(format!(
                "{:?}, not {:?}",
                key.algorithm(),
                facts.algorithm
            )));
        }
        let signature = key.sign(ToSign(&self.tbs))?;
        let der = assemble(&self.tbs, facts.algorithm.identifier(), &signature, &facts.certificate);
        let raw = RawOcspResponse::decode(der).map_err(|_| SignFailure::BytesDiffer)?;
        if raw.tbs() != Some(&self.tbs) || raw.certificate() != Some(facts.certificate.as_slice()) {
            return Err(SignFailure::BytesDiffer);
        }
        raw.verify_by(&self.responder).map_err(|_| SignFailure::Corrupt)
    }
}
