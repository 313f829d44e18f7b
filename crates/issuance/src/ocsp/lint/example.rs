//! An answer taken apart, to be spoilt in one place and put together again.

use std::sync::Arc;

use attest::UnixTime;
use const_oid::ObjectIdentifier;
use policies::ProfileKind;
use wire::revocation::RevocationReason;

use super::judge;
use crate::encode::{OCTET_STRING, SEQUENCE, context_constructed, generalized_time, oid, tlv};
use crate::fixture::{DAY, Hierarchy, NOW, serial, spec, walk};
use crate::lint::Finding;
use crate::ocsp::statement::Statement;
use crate::ocsp::view::TbsResponse;
use crate::ocsp::{CertId, CertIdForm, CertStatus, Nonce, OcspAnswer, OcspDraft, OcspSpec, Responder};
use crate::testkey::SoftKey;
use crate::{Draft, SignatureAlgorithm};

/// How long an answer of these tests is good.
pub(in crate::ocsp) const HOURS_12: i64 = DAY / 2;

pub(in crate::ocsp) struct Example {
    /// The whole element, or nothing.
    pub(in crate::ocsp) version: Vec<u8>,
    /// The whole element.
    pub(in crate::ocsp) responder_id: Vec<u8>,
    pub(in crate::ocsp) produced_at: Vec<u8>,
    pub(in crate::ocsp) answers: Vec<ExampleAnswer>,
    pub(in crate::ocsp) extensions: Vec<ExampleExtension>,
    pub(in crate::ocsp) promise: Statement,
    pub(in crate::ocsp) responder: Responder,
    pub(in crate::ocsp) original: Vec<u8>,
}

#[derive(Clone)]
pub(in crate::ocsp) struct ExampleAnswer {
    /// The whole element, all of them.
    pub(in crate::ocsp) id: Vec<u8>,
    pub(in crate::ocsp) status: Vec<u8>,
    pub(in crate::ocsp) this_update: Vec<u8>,
    /// Inside its tag; or nothing, and then without the tag.
    pub(in crate::ocsp) next_update: Vec<u8>,
    /// The whole element, or nothing.
    pub(in crate::ocsp) extensions: Vec<u8>,
}

#[derive(Clone)]
pub(in crate::ocsp) struct ExampleExtension {
    pub(in crate::ocsp) oid: ObjectIdentifier,
    /// The whole BOOLEAN, or nothing.
    pub(in crate::ocsp) critical: Vec<u8>,
    pub(in crate::ocsp) value: Vec<u8>,
}

/// A hierarchy, a responder of its issuing CA and the responder's key.
pub(in crate::ocsp) struct House {
    pub(in crate::ocsp) hierarchy: Hierarchy,
    pub(in crate::ocsp) responder: Responder,
    pub(in crate::ocsp) key: SoftKey,
}

impl House {
    pub(in crate::ocsp) fn new(algorithm: SignatureAlgorithm) -> Self {
        let hierarchy = Hierarchy::new(algorithm);
        // Numbers 0 and 1 are the root's and the issuing CA's.
        let key = SoftKey::numbered(SignatureAlgorithm::EcdsaP256Sha256, 0);
        Self::with(hierarchy, key)
    }
    pub(in crate::ocsp) fn with(hierarchy: Hierarchy, key: SoftKey) -> Self {
        let draft = Draft::below(spec(ProfileKind::Ocsp, &key.spki), &hierarchy.issuer, serial(100)).unwrap();
        let certificate = walk(draft, &hierarchy.key).certificate().to_vec();
        Self {
            responder: Responder::new(&certificate, key.algorithm, &hierarchy.issuer).unwrap(),
            hierarchy,
            key,
        }
    }
    pub(in crate::ocsp) fn p256() -> Self {
        Self::new(SignatureAlgorithm::EcdsaP256Sha256)
    }
}

pub(in crate::ocsp) fn good(n: u8) -> OcspAnswer {
    OcspAnswer {
        id: CertId {
            form: CertIdForm::Sha1Null,
            serial: serial(n),
        },
        status: CertStatus::Good,
    }
}

/// Revoked a day before [`NOW`].
pub(in crate::ocsp) fn revoked(n: u8, reason: RevocationReason) -> OcspAnswer {
    OcspAnswer {
        status: CertStatus::Revoked {
            since: UnixTime(NOW - DAY),
            reason,
        },
        ..good(n)
    }
}

/// An answer of now, for twelve hours.
pub(in crate::ocsp) fn ocsp_spec(answers: Vec<OcspAnswer>) -> OcspSpec {
    OcspSpec {
        answers,
        this_update: UnixTime(NOW),
        next_update: UnixTime(NOW + HOURS_12),
        nonce: None,
    }
}

impl Example {
    pub(in crate::ocsp) fn good() -> Self {
        Self::of(ocsp_spec(vec![good(1)]))
    }
    /// Revoked with a reason, and a nonce.
    pub(in crate::ocsp) fn revoked() -> Self {
        let mut spec = ocsp_spec(vec![revoked(1, RevocationReason::KeyCompromise)]);
        spec.nonce = Nonce::new(&[7; 32]);
        Self::of(spec)
    }
    /// Three in other forms: good, revoked without a reason, on hold.
    pub(in crate::ocsp) fn several() -> Self {
        let mut answers = vec![
            good(1),
            revoked(2, RevocationReason::Unspecified),
            revoked(3, RevocationReason::CertificateHold),
        ];
        answers[0].id.form = CertIdForm::Sha256;
        answers[1].id.form = CertIdForm::Sha256Null;
        Self::of(ocsp_spec(answers))
    }
    pub(in crate::ocsp) fn of(spec: OcspSpec) -> Self {
        let house = House::p256();
        let (original, promise, responder) = OcspDraft::new(spec, &house.responder).unwrap().into_parts();
        let tbs = TbsResponse::parse(&original).unwrap();
        let extensions = tbs.extensions.iter().map(|e| ExampleExtension {
            oid: e.oid,
            critical: e.critical.map(|c| tlv(1, &[c])).unwrap_or_default(),
            value: e.value.to_vec(),
        });
        let answers = tbs.answers.iter().map(|answer| ExampleAnswer {
            id: answer.id.raw.to_vec(),
            status: answer.status.raw.to_vec(),
            this_update: answer.this_update.raw.to_vec(),
            next_update: answer.next_update.unwrap().raw.to_vec(),
            extensions: Vec::new(),
        });
        Self {
            version: tbs
                .version
                .map(|v| tlv(context_constructed(0), &[v]))
                .unwrap_or_default(),
            responder_id: tbs.responder_id.raw.to_vec(),
            produced_at: tbs.produced_at.raw.to_vec(),
            answers: answers.collect(),
            extensions: extensions.collect(),
            promise,
            responder,
            original: original.clone(),
        }
    }
    /// Another responder: facts with one of them changed.
    pub(in crate::ocsp) fn valid(mut self, not_before: i64, not_after: i64) -> Self {
        let facts = &self.responder.facts;
        let changed = crate::ocsp::responder::ResponderFacts {
            certificate: facts.certificate.clone(),
            serial: facts.serial,
            spki: facts.spki.clone(),
            algorithm: facts.algorithm,
            verifier: facts.verifier.clone(),
            key_hash: facts.key_hash,
            not_before: UnixTime(not_before),
            not_after: UnixTime(not_after),
            issuer: facts.issuer.clone(),
        };
        self.responder = Responder {
            facts: Arc::new(changed),
        };
        self
    }
    /// Other times, promised and written: producedAt, thisUpdate, nextUpdate.
    pub(in crate::ocsp) fn lasting(mut self, produced: i64, this: i64, next: i64) -> Self {
        (self.promise.produced_at, self.promise.this_update) = (UnixTime(produced), UnixTime(this));
        self.promise.next_update = UnixTime(next);
        self.produced_at = generalized_time(UnixTime(produced)).unwrap();
        for answer in &mut self.answers {
            answer.this_update = generalized_time(UnixTime(this)).unwrap();
            answer.next_update = generalized_time(UnixTime(next)).unwrap();
        }
        self
    }
    /// One more extension at the end.
    pub(in crate::ocsp) fn and(mut self, oid: ObjectIdentifier, value: &[u8]) -> Self {
        self.extensions.push(ExampleExtension {
            oid,
            critical: Vec::new(),
            value: value.to_vec(),
        });
        self
    }
    pub(in crate::ocsp) fn encode(&self) -> Vec<u8> {
        let answers = self.answers.iter().flat_map(|answer| {
            let next = match answer.next_update.as_slice() {
                [] => Vec::new(),
                next => tlv(context_constructed(0), &[next]),
            };
            tlv(
                SEQUENCE,
                &[
                    &answer.id,
                    &answer.status,
                    &answer.this_update,
                    &next,
                    &answer.extensions,
                ],
            )
        });
        let answers = tlv(SEQUENCE, &[&answers.collect::<Vec<u8>>()]);
        let extensions: Vec<u8> = self
            .extensions
            .iter()
            .flat_map(|e| tlv(SEQUENCE, &[&oid(&e.oid), &e.critical, &tlv(OCTET_STRING, &[&e.value])]))
            .collect();
        let extensions = if extensions.is_empty() {
            Vec::new()
        } else {
            tlv(context_constructed(1), &[&tlv(SEQUENCE, &[&extensions])])
        };
        tlv(
            SEQUENCE,
            &[
                &self.version,
                &self.responder_id,
                &self.produced_at,
                &answers,
                &extensions,
            ],
        )
    }
    pub(in crate::ocsp) fn findings(&self) -> Vec<Finding> {
        judge(&self.encode(), &self.promise, &self.responder.facts)
    }
    /// Names of the lints that refuse.
    pub(in crate::ocsp) fn refused_by(&self) -> Vec<&'static str> {
        self.refused_as(&self.encode())
    }
    /// The same for these bytes.
    pub(in crate::ocsp) fn refused_as(&self, tbs: &[u8]) -> Vec<&'static str> {
        let findings = judge(tbs, &self.promise, &self.responder.facts);
        findings.into_iter().map(|f| f.lint).collect()
    }
}
