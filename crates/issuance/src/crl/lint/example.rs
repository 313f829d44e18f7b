//! A CRL taken apart, to be spoilt in one place and put together again.

use attest::UnixTime;
use const_oid::ObjectIdentifier;

use super::judge;
use crate::crl::statement::Statement;
use crate::crl::view::TbsCrl;
use crate::crl::{Crl, CrlDraft, CrlNumber, CrlScope, CrlSpec, DeltaSpec, Released, RevocationReason, Revoked};
use crate::encode::{INTEGER, OCTET_STRING, SEQUENCE, context_constructed, oid, time, tlv};
use crate::fixture::{DAY, Hierarchy, NOW, serial};
use crate::issuer::IssuerFacts;
use crate::lint::Finding;

pub(in crate::crl) const POINT: &str = "http://pki.example.com/issuing-17.crl";
pub(in crate::crl) const DELTA: &str = "http://pki.example.com/issuing-17-delta.crl";

pub(in crate::crl) struct Example {
    /// The whole element, or nothing.
    pub(in crate::crl) version: Vec<u8>,
    pub(in crate::crl) algorithm: Vec<u8>,
    pub(in crate::crl) issuer_name: Vec<u8>,
    pub(in crate::crl) this_update: Vec<u8>,
    pub(in crate::crl) next_update: Vec<u8>,
    /// Absent: no list at all.
    pub(in crate::crl) entries: Option<Vec<ExampleEntry>>,
    pub(in crate::crl) extensions: Vec<ExampleExtension>,
    pub(in crate::crl) promise: Statement,
    pub(in crate::crl) issuer: IssuerFacts,
    pub(in crate::crl) original: Vec<u8>,
}

#[derive(Clone)]
pub(in crate::crl) struct ExampleEntry {
    /// Content octets.
    pub(in crate::crl) serial: Vec<u8>,
    /// The whole element.
    pub(in crate::crl) date: Vec<u8>,
    /// The whole element, or nothing.
    pub(in crate::crl) extensions: Vec<u8>,
}

#[derive(Clone)]
pub(in crate::crl) struct ExampleExtension {
    pub(in crate::crl) oid: ObjectIdentifier,
    /// The whole BOOLEAN, or nothing.
    pub(in crate::crl) critical: Vec<u8>,
    pub(in crate::crl) value: Vec<u8>,
}

/// Revoked a day before [`NOW`].
pub(in crate::crl) fn revoked(n: u8, reason: RevocationReason) -> Revoked {
    Revoked {
        serial: serial(n),
        at: UnixTime(NOW - DAY),
        reason,
    }
}

/// A CRL of now for a week.
pub(in crate::crl) fn crl_spec(number: u64, scope: CrlScope, revoked: Vec<Revoked>) -> CrlSpec {
    CrlSpec {
        scope,
        number: CrlNumber::new(number).unwrap(),
        this_update: UnixTime(NOW),
        next_update: UnixTime(NOW + 7 * DAY),
        revoked,
        delta_url: None,
    }
}

/// A delta of ten seconds later for an hour, that releases nothing.
pub(in crate::crl) fn delta_spec(base: &Crl, number: u64, revoked: Vec<Revoked>) -> DeltaSpec<'_> {
    DeltaSpec {
        base,
        number: CrlNumber::new(number).unwrap(),
        this_update: UnixTime(NOW + 10),
        next_update: UnixTime(NOW + 3600),
        revoked,
        released: Vec::new(),
    }
}

pub(in crate::crl) fn released(n: u8, at: i64) -> Released {
    Released {
        serial: serial(n),
        at: UnixTime(at),
    }
}

/// Three entries: without a reason, compromised, on hold.
pub(in crate::crl) fn three() -> Vec<Revoked> {
    vec![
        revoked(1, RevocationReason::Unspecified),
        revoked(2, RevocationReason::KeyCompromise),
        revoked(3, RevocationReason::CertificateHold),
    ]
}

impl Example {
    pub(in crate::crl) fn complete() -> Self {
        let hierarchy = Hierarchy::p256();
        Self::of(CrlDraft::new(crl_spec(300, CrlScope::Complete, three()), &hierarchy.issuer).unwrap())
    }
    pub(in crate::crl) fn sharded() -> Self {
        let hierarchy = Hierarchy::p256();
        let scope = CrlScope::Point(POINT.into());
        Self::of(CrlDraft::new(crl_spec(300, scope, three()), &hierarchy.issuer).unwrap())
    }
    pub(in crate::crl) fn empty() -> Self {
        let hierarchy = Hierarchy::p256();
        Self::of(CrlDraft::new(crl_spec(1, CrlScope::Complete, vec![]), &hierarchy.issuer).unwrap())
    }
    /// Serial 1 was revoked already, 2 is new, 3 is released.
    pub(in crate::crl) fn delta() -> Self {
        let hierarchy = Hierarchy::p256();
        let [one, two, three] = three().try_into().unwrap();
        let spec = crl_spec(299, CrlScope::Point(POINT.into()), vec![one, three]);
        let draft = CrlDraft::new(spec, &hierarchy.issuer).unwrap();
        let base = draft.lint().unwrap().sign(&hierarchy.key).unwrap();
        let mut spec = delta_spec(&base, 300, vec![one, two]);
        spec.released = vec![released(3, NOW)];
        Self::of(CrlDraft::delta(spec, &hierarchy.issuer).unwrap())
    }
    /// A shard that has deltas.
    pub(in crate::crl) fn base() -> Self {
        let hierarchy = Hierarchy::p256();
        let mut spec = crl_spec(300, CrlScope::Point(POINT.into()), three());
        spec.delta_url = Some(DELTA.into());
        Self::of(CrlDraft::new(spec, &hierarchy.issuer).unwrap())
    }
    fn of(draft: CrlDraft) -> Self {
        let (original, promise, facts) = draft.into_parts();
        let tbs = TbsCrl::parse(&original).unwrap();
        let entries = tbs.revoked.map(|_| {
            let entries = tbs.entries().map(|entry| {
                let entry = entry.unwrap();
                ExampleEntry {
                    serial: entry.serial.to_vec(),
                    date: entry.date.raw.to_vec(),
                    extensions: entry.extensions.map(|e| tlv(SEQUENCE, &[e])).unwrap_or_default(),
                }
            });
            entries.collect()
        });
        let extensions = tbs.extensions.iter().map(|e| ExampleExtension {
            oid: e.oid,
            critical: e.critical.map(|c| tlv(1, &[c])).unwrap_or_default(),
            value: e.value.to_vec(),
        });
        Self {
            version: tbs.version.map(|v| tlv(INTEGER, &[v])).unwrap_or_default(),
            algorithm: tbs.algorithm.to_vec(),
            issuer_name: tbs.issuer.to_vec(),
            this_update: tbs.this_update.raw.to_vec(),
            next_update: tbs.next_update.unwrap().raw.to_vec(),
            entries,
            extensions: extensions.collect(),
            promise,
            issuer: std::sync::Arc::unwrap_or_clone(facts),
            original,
        }
    }
    /// The `n`th entry.
    pub(in crate::crl) fn entry(&mut self, n: usize) -> &mut ExampleEntry {
        &mut self.entries.as_mut().unwrap()[n]
    }
    /// The extension with this OID.
    pub(in crate::crl) fn extension(&mut self, oid: ObjectIdentifier) -> &mut ExampleExtension {
        self.extensions.iter_mut().find(|e| e.oid == oid).unwrap()
    }
    /// Leave the extension with this OID out.
    pub(in crate::crl) fn without(mut self, oid: ObjectIdentifier) -> Self {
        let before = self.extensions.len();
        self.extensions.retain(|e| e.oid != oid);
        assert_eq!(self.extensions.len() + 1, before);
        self
    }
    /// Put one more extension at the end.
    pub(in crate::crl) fn and(mut self, oid: ObjectIdentifier, critical: bool, value: &[u8]) -> Self {
        self.extensions.push(ExampleExtension {
            oid,
            critical: if critical { vec![1, 1, 0xff] } else { vec![] },
            value: value.to_vec(),
        });
        self
    }
    /// Another value in the extension with this OID.
    pub(in crate::crl) fn holding(mut self, oid: ObjectIdentifier, value: &[u8]) -> Self {
        self.extension(oid).value = value.to_vec();
        self
    }
    /// Other times.
    pub(in crate::crl) fn lasting(mut self, this_update: i64, next_update: i64) -> Self {
        self.this_update = time(UnixTime(this_update)).unwrap();
        self.next_update = time(UnixTime(next_update)).unwrap();
        self
    }
    pub(in crate::crl) fn encode(&self) -> Vec<u8> {
        let list = self.entries.as_ref().map(|entries| {
            let entries = entries.iter().flat_map(|e| {
                let serial = tlv(INTEGER, &[&e.serial]);
                tlv(SEQUENCE, &[&serial, &e.date, &e.extensions])
            });
            tlv(SEQUENCE, &[&entries.collect::<Vec<u8>>()])
        });
        let extensions: Vec<u8> = self
            .extensions
            .iter()
            .flat_map(|e| tlv(SEQUENCE, &[&oid(&e.oid), &e.critical, &tlv(OCTET_STRING, &[&e.value])]))
            .collect();
        tlv(
            SEQUENCE,
            &[
                &self.version,
                &self.algorithm,
                &self.issuer_name,
                &self.this_update,
                &self.next_update,
                &list.unwrap_or_default(),
                &tlv(context_constructed(0), &[&tlv(SEQUENCE, &[&extensions])]),
            ],
        )
    }
    pub(in crate::crl) fn findings(&self) -> Vec<Finding> {
        judge(&self.encode(), &self.promise, &self.issuer)
    }
    /// Names of the lints that refuse.
    pub(in crate::crl) fn refused_by(&self) -> Vec<&'static str> {
        self.refused_as(&self.encode())
    }
    /// The same for these bytes.
    pub(in crate::crl) fn refused_as(&self, tbs: &[u8]) -> Vec<&'static str> {
        let findings = judge(tbs, &self.promise, &self.issuer);
        findings.into_iter().map(|f| f.lint).collect()
    }
}
