//! A certificate taken apart, to be spoilt in one place and put together again.

use const_oid::ObjectIdentifier;
use policies::ProfileKind;

use super::{Finding, Promise, judge};
use crate::encode::{INTEGER, OCTET_STRING, SEQUENCE, SET, context_constructed, oid, tlv};
use crate::fixture::{Hierarchy, leaf_spki, serial, spec};
use crate::issuer::IssuerFacts;
use crate::testkey::SoftKey;
use crate::view::Tbs;
use crate::{Draft, SignatureAlgorithm};

pub(super) struct Example {
    pub(super) version: Option<Vec<u8>>,
    pub(super) serial: Vec<u8>,
    pub(super) algorithm: Vec<u8>,
    pub(super) issuer_name: Vec<u8>,
    pub(super) not_before: Vec<u8>,
    pub(super) not_after: Vec<u8>,
    pub(super) subject: Vec<u8>,
    pub(super) spki: Vec<u8>,
    pub(super) extensions: Vec<ExampleExtension>,
    pub(super) promise: Promise,
    pub(super) issuer: IssuerFacts,
    pub(super) original: Vec<u8>,
}

#[derive(Clone)]
pub(super) struct ExampleExtension {
    pub(super) oid: ObjectIdentifier,
    /// The whole BOOLEAN, or nothing.
    pub(super) critical: Vec<u8>,
    pub(super) value: Vec<u8>,
}

impl ExampleExtension {
    pub(super) fn new(oid: ObjectIdentifier, value: &[u8]) -> Self {
        Self {
            oid,
            critical: Vec::new(),
            value: value.to_vec(),
        }
    }
}

impl Example {
    /// A good one of this kind, below a P-256 issuer.
    pub(super) fn new(kind: ProfileKind) -> Self {
        Self::with(kind, |_| ())
    }
    /// A good one with the spec changed before it is encoded.
    pub(super) fn with(kind: ProfileKind, change: impl FnOnce(&mut crate::tbs::TbsSpec)) -> Self {
        let hierarchy = Hierarchy::p256();
        let draft = match kind {
            ProfileKind::Root => {
                let key = SoftKey::new(SignatureAlgorithm::EcdsaP256Sha256);
                let mut spec = spec(kind, &key.spki);
                change(&mut spec);
                Draft::root(spec, &key, serial(5))
            }
            ProfileKind::Issuing | ProfileKind::Cross => {
                let mut spec = spec(kind, &leaf_spki());
                change(&mut spec);
                Draft::below(spec, &hierarchy.root, serial(5))
            }
            _ => {
                let mut spec = spec(kind, &leaf_spki());
                change(&mut spec);
                Draft::below(spec, &hierarchy.issuer, serial(5))
            }
        };
        let (original, promise, facts) = draft.unwrap().into_parts();
        let tbs = Tbs::parse(&original).unwrap();
        let extensions = tbs
            .extensions
            .iter()
            .map(|e| ExampleExtension {
                oid: e.oid,
                critical: e.critical.map(|c| tlv(1, &[c])).unwrap_or_default(),
                value: e.value.to_vec(),
            })
            .collect();
        Self {
            version: tbs.version.map(<[u8]>::to_vec),
            serial: tbs.serial.to_vec(),
            algorithm: tbs.algorithm.to_vec(),
            issuer_name: tbs.issuer.to_vec(),
            not_before: tbs.not_before.raw.to_vec(),
            not_after: tbs.not_after.raw.to_vec(),
            subject: tbs.subject.to_vec(),
            spki: tbs.spki.to_vec(),
            extensions,
            promise,
            issuer: std::sync::Arc::unwrap_or_clone(facts),
            original,
        }
    }
    /// The extension with this OID.
    pub(super) fn extension(&mut self, oid: ObjectIdentifier) -> &mut ExampleExtension {
        self.extensions.iter_mut().find(|e| e.oid == oid).unwrap()
    }
    /// Leave the extension with this OID out.
    pub(super) fn without(mut self, oid: ObjectIdentifier) -> Self {
        let before = self.extensions.len();
        self.extensions.retain(|e| e.oid != oid);
        assert_eq!(self.extensions.len() + 1, before);
        self
    }
    /// Put one more extension at the end.
    pub(super) fn and(mut self, oid: ObjectIdentifier, value: &[u8]) -> Self {
        self.extensions.push(ExampleExtension::new(oid, value));
        self
    }
    /// Another value in the extension with this OID.
    pub(super) fn holding(mut self, oid: ObjectIdentifier, value: &[u8]) -> Self {
        self.extension(oid).value = value.to_vec();
        self
    }
    pub(super) fn encode(&self) -> Vec<u8> {
        let extensions: Vec<u8> = self
            .extensions
            .iter()
            .flat_map(|e| tlv(SEQUENCE, &[&oid(&e.oid), &e.critical, &tlv(OCTET_STRING, &[&e.value])]))
            .collect();
        let version = self
            .version
            .as_ref()
            .map(|v| tlv(context_constructed(0), &[v]))
            .unwrap_or_default();
        tlv(
            SEQUENCE,
            &[
                &version,
                &tlv(INTEGER, &[&self.serial]),
                &self.algorithm,
                &self.issuer_name,
                &tlv(SEQUENCE, &[&self.not_before, &self.not_after]),
                &self.subject,
                &self.spki,
                &tlv(context_constructed(3), &[&tlv(SEQUENCE, &[&extensions])]),
            ],
        )
    }
    pub(super) fn findings(&self) -> Vec<Finding> {
        judge(&self.encode(), &self.promise, &self.issuer)
    }
    /// Names of the lints that refuse.
    pub(super) fn refused_by(&self) -> Vec<&'static str> {
        self.refused_as(&self.encode())
    }
    /// The same for these bytes.
    pub(super) fn refused_as(&self, tbs: &[u8]) -> Vec<&'static str> {
        judge(tbs, &self.promise, &self.issuer)
            .into_iter()
            .map(|f| f.lint)
            .collect()
    }
}

/// A `Name` of these attributes, one per RDN: (OID, string tag, value).
pub(super) fn name(attributes: &[(ObjectIdentifier, u8, &str)]) -> Vec<u8> {
    let rdns: Vec<u8> = attributes.iter().flat_map(|a| tlv(SET, &[&attribute(a)])).collect();
    tlv(SEQUENCE, &[&rdns])
}

pub(super) fn attribute((id, tag, value): &(ObjectIdentifier, u8, &str)) -> Vec<u8> {
    tlv(SEQUENCE, &[&oid(id), &tlv(*tag, &[value.as_bytes()])])
}
