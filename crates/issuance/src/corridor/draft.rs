//! Grant -> [`Draft`] -> [`Linted`].

use std::sync::Arc;

use attest::sha256;
use policies::{Grant, GrantKind, KeyRole, ProfileKind, Validity};

use super::recorded::{check, twin};
use crate::issuer::IssuerFacts;
use crate::lint::{self, Curves, Finding};
use crate::tbs::{TbsSpec, key_id, name};
use crate::verify::Verifier;
use crate::{CaKey, Intent, Issuer, IssuerUrls, Serial, SignFailure, probe};

/// A certificate not yet judged.
#[derive(Debug)]
pub struct Draft(Content);

/// A certificate that passed every lint, byte for byte as it will be signed.
#[derive(Debug)]
pub struct Linted(Content);

/// What all states up to the signature carry.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) tbs: Vec<u8>,
    pub(super) serial: Serial,
    pub(super) spec: TbsSpec,
    pub(super) issuer: Arc<IssuerFacts>,
}

/// A grant that does not become a draft.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// The validity does not fit inside the issuer's.
    #[error("the certificate would outlive its issuer")]
    OutlivesIssuer,
    /// DER encoding failed.
    #[error("encoding: {0}")]
    Encoding(String),
    /// Lints that refused.
    #[error("lints refused: {0:?}")]
    Lints(Vec<Finding>),
    /// The certified key is the issuer's own.
    #[error("the key to certify is the issuer's own")]
    IssuerKey,
    /// A root grant needs [`Draft::self_signed`] and its own key, a responder's [`Draft::responder`] and its own key, any
    /// other one [`Draft::new`]; and the kind of grant must be the kind of its profile.
    #[error("a {0:?} grant is not drafted here")]
    WrongGrant(GrantKind),
    /// The key does not parse, or is not one for the algorithm, or not the granted one.
    #[error("key: {0}")]
    Key(String),
}

impl Draft {
    /// An end-entity or issuing-CA certificate below `issuer`.
    ///
    /// # Errors
    /// [`DraftError`].
    pub fn new(grant: Grant, issuer: &Issuer, serial: Serial) -> Result<Self, DraftError> {
        let kind = grant.kind();
        let profile = grant.profile().kind();
        let key_role = match (kind, profile) {
            (GrantKind::Issuing, ProfileKind::Issuing) | (GrantKind::Cross, ProfileKind::Cross) => KeyRole::Identity,
            (GrantKind::EndEntity(KeyRole::Attestation), ProfileKind::DeviceIak | ProfileKind::DeviceLak) => {
                KeyRole::Attestation
            }
            (
                GrantKind::EndEntity(KeyRole::Identity),
                ProfileKind::DeviceIdevid | ProfileKind::DeviceLdevid | ProfileKind::Service | ProfileKind::ServerTls,
            ) => KeyRole::Identity,
            _ => return Err(DraftError::WrongGrant(kind)),
        };
        Self::below(TbsSpec::new(&grant, key_role), issuer, serial)
    }

    /// The certificate of the issuer's own OCSP responder, whose `key` is at hand: nobody else gets one.
    ///
    /// # Errors
    /// [`DraftError`].
    pub fn responder(grant: Grant, key: &dyn CaKey, issuer: &Issuer, serial: Serial) -> Result<Self, DraftError> {
        let kind = grant.kind();
        if kind != GrantKind::Responder || grant.profile().kind() != ProfileKind::Ocsp {
            return Err(DraftError::WrongGrant(kind));
        }
        if grant.spki() != key.spki() {
            return Err(DraftError::Key("the responder's key is not the granted one".into()));
        }
        probe(key).map_err(|e| DraftError::Key(e.to_string()))?;
        Self::below(TbsSpec::new(&grant, KeyRole::Identity), issuer, serial)
    }

    /// The same from a spec; the tests of this crate have no [`Grant`] for a device.
    pub(crate) fn below(spec: TbsSpec, issuer: &Issuer, serial: Serial) -> Result<Self, DraftError> {
        let facts = &issuer.facts;
        if spec.spki == facts.spki {
            return Err(DraftError::IssuerKey);
        }
        if !fits_issuer(spec.promise.kind, spec.validity, facts) {
            return Err(DraftError::OutlivesIssuer);
        }
        Self::encoded(spec, Arc::clone(facts), serial)
    }

    /// A root certificate, signed by `key` itself.
    ///
    /// # Errors
    /// [`DraftError`].
    pub fn self_signed(grant: Grant, key: &dyn CaKey, serial: Serial) -> Result<Self, DraftError> {
        let kind = grant.kind();
        if kind != GrantKind::Root || grant.profile().kind() != ProfileKind::Root {
            return Err(DraftError::WrongGrant(kind));
        }
        Self::root(TbsSpec::new(&grant, KeyRole::Identity), key, serial)
    }

    pub(crate) fn root(spec: TbsSpec, key: &dyn CaKey, serial: Serial) -> Result<Self, DraftError> {
        if spec.spki != key.spki() {
            return Err(DraftError::Key("the signer's key is not the granted one".into()));
        }
        let algorithm = key.algorithm();
        let facts = IssuerFacts {
            name: name(&spec.subject)?,
            key_id: key_id(&spec.spki).map_err(|e| DraftError::Key(e.to_string()))?.to_vec(),
            algorithm,
            not_before: spec.validity.not_before,
            not_after: spec.validity.not_after,
            path_len: None,
            crl_sign: true,
            rehearsal: spec.promise.rehearsal,
            urls: IssuerUrls::default(),
            verifier: Verifier::new(algorithm, &spec.spki).map_err(|e| DraftError::Key(e.to_string()))?,
            curves: Arc::new(Curves::new().map_err(|e| DraftError::Key(e.to_string()))?),
            spki: spec.spki.clone(),
        };
        Self::encoded(spec, Arc::new(facts), serial)
    }

    fn encoded(spec: TbsSpec, issuer: Arc<IssuerFacts>, serial: Serial) -> Result<Self, DraftError> {
        let tbs = spec.encode(&issuer, serial)?;
        Ok(Self(Content {
            tbs,
            serial,
            spec,
            issuer,
        }))
    }

    #[cfg(test)]
    pub(crate) fn into_parts(self) -> (Vec<u8>, lint::Promise, Arc<IssuerFacts>) {
        (self.0.tbs, self.0.spec.promise, self.0.issuer)
    }

    /// Judge the draft by every lint.
    ///
    /// # Errors
    /// [`DraftError::Lints`].
    pub fn lint(self) -> Result<Linted, DraftError> {
        let findings = lint::judge(&self.0.tbs, &self.0.spec.promise, &self.0.issuer);
        if findings.is_empty() {
            Ok(Linted(self.0))
        } else {
            Err(DraftError::Lints(findings))
        }
    }
}

/// Nothing is valid before or after its issuer. An IDevID and its IAK outlive it by design (IEEE 802.1AR-2018 §8), but
/// they too are born in its lifetime: a CA that has expired makes nothing.
pub(crate) fn fits_issuer(kind: ProfileKind, validity: Validity, issuer: &IssuerFacts) -> bool {
    let (first, last) = (issuer.not_before, issuer.not_after);
    match kind {
        ProfileKind::DeviceIdevid | ProfileKind::DeviceIak => validity.not_before <= last,
        _ => first <= validity.not_before && validity.not_after <= last,
    }
}

impl Linted {
    /// `TBSCertificate`, DER: the bytes that will be signed.
    #[must_use]
    pub fn tbs(&self) -> &[u8] {
        &self.0.tbs
    }
    /// Whether `certificate` carries exactly these bytes under a signature of the issuer: for whoever verifies afterwards.
    #[must_use]
    pub fn signed_by_issuer(&self, certificate: &[u8]) -> bool {
        check(certificate, &self.0.tbs, &self.0.issuer).is_ok()
    }
    /// The same bytes signed by a key of no worth, for readers of whole certificates: a ceremony looks at this twin before
    /// the token is asked. `key` is of the issuer's algorithm and is not the issuer's.
    ///
    /// # Errors
    /// [`SignFailure`].
    pub fn twin(&self, key: &dyn CaKey) -> Result<Vec<u8>, SignFailure> {
        twin(&self.0.tbs, &self.0.issuer, key)
    }
    pub(super) fn intent(&self) -> Intent {
        let Content {
            tbs,
            serial,
            spec,
            issuer,
        } = &self.0;
        Intent {
            serial: *serial,
            issuer_key_id: issuer.key_id.clone(),
            tbs: tbs.clone(),
            profile: spec.profile.clone(),
            profile_sha256: spec.profile_sha256,
            key_role: spec.key_role,
            spki_sha256: sha256(&spec.spki),
            decision: spec.decision.clone(),
            not_before: spec.validity.not_before,
            not_after: spec.validity.not_after,
        }
    }
    pub(super) fn into_content(self) -> Content {
        self.0
    }
}
