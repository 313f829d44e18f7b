//! `TBSCertificate`, written (RFC 5280 §4.1).

use attest::rot::{ID_REHEARSAL, ID_ROT_BINDING, RotStatement};
use attest::sha256;
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280;
use const_oid::db::rfc6960::ID_PKIX_OCSP_NOCHECK;
use der::Encode;
use policies::{Decision, Grant, KeyRole, Profile, ProfileKind, SanEntry, Subject, Validity};

use crate::encode::{
    BIT_STRING, BOOLEAN, INTEGER, NULL, OCTET_STRING, SEQUENCE, context, context_constructed, oid, time, tlv,
};
use crate::issuer::IssuerFacts;
use crate::lint::Promise;
use crate::view::{Malformed, Reader, only};
use crate::{DraftError, IssuerUrls, Serial};

/// What a grant says, in a form the tests of this crate can make.
#[derive(Debug, Clone)]
pub(crate) struct TbsSpec {
    pub(crate) profile: String,
    pub(crate) profile_sha256: [u8; 32],
    pub(crate) promise: Promise,
    pub(crate) key_role: KeyRole,
    pub(crate) subject: Subject,
    pub(crate) san: Vec<SanEntry>,
    pub(crate) spki: Vec<u8>,
    pub(crate) validity: Validity,
    pub(crate) policies: Vec<ObjectIdentifier>,
    pub(crate) rot: Option<RotStatement>,
    pub(crate) decision: Decision,
}

impl TbsSpec {
    /// `key_role` is what the grant's kind says; CA keys count as identities.
    pub(crate) fn new(grant: &Grant, key_role: KeyRole) -> Self {
        let profile: &Profile = grant.profile();
        Self {
            profile: profile.name().to_owned(),
            profile_sha256: profile.sha256(),
            promise: Promise {
                kind: profile.kind(),
                lifetime: profile.lifetime(),
                extended_key_usage: profile.extended_key_usage().to_vec(),
                keys: profile.key_algorithms().to_vec(),
                rehearsal: grant.rehearsal(),
            },
            key_role,
            subject: grant.subject().clone(),
            san: grant.san().to_vec(),
            spki: grant.spki().to_vec(),
            validity: grant.validity(),
            policies: grant.policies().to_vec(),
            rot: grant.rot().cloned(),
            decision: grant.decision().clone(),
        }
    }

    /// The bytes to be signed.
    pub(crate) fn encode(&self, issuer: &IssuerFacts, serial: Serial) -> Result<Vec<u8>, DraftError> {
        let not_before = time(self.validity.not_before);
        let not_after = time(self.validity.not_after);
        let (Some(not_before), Some(not_after)) = (not_before, not_after) else {
            return Err(DraftError::Encoding("a date outside 1970..=9999".into()));
        };
        Ok(tlv(
            SEQUENCE,
            &[
                &tlv(context_constructed(0), &[&tlv(INTEGER, &[&[2]])]),
                &tlv(INTEGER, &[serial.octets()]),
                issuer.algorithm.identifier(),
                &issuer.name,
                &tlv(SEQUENCE, &[&not_before, &not_after]),
                &name(&self.subject)?,
                &self.spki,
                &tlv(
                    context_constructed(3),
                    &[&tlv(SEQUENCE, &[&self.extensions(issuer, serial)?])],
                ),
            ],
        ))
    }

    fn extensions(&self, issuer: &IssuerFacts, serial: Serial) -> Result<Vec<u8>, DraftError> {
        let mut out = Vec::with_capacity(512);
        if self.promise.kind != ProfileKind::Root {
            let key_id = tlv(context(0), &[&issuer.key_id]);
            out.extend(extension(
                &rfc5280::ID_CE_AUTHORITY_KEY_IDENTIFIER,
                false,
                &tlv(SEQUENCE, &[&key_id]),
            ));
        }
        if self.promise.kind.is_ca() {
            let key_id = key_id(&self.spki).map_err(|e| DraftError::Encoding(e.to_string()))?;
            out.extend(extension(
                &rfc5280::ID_CE_SUBJECT_KEY_IDENTIFIER,
                false,
                &tlv(OCTET_STRING, &[&key_id]),
            ));
        }
        out.extend(extension(&rfc5280::ID_CE_KEY_USAGE, true, key_usage(self.promise.kind)));
        if let Some(constraints) = basic_constraints(self.promise.kind) {
            out.extend(extension(&rfc5280::ID_CE_BASIC_CONSTRAINTS, true, constraints));
        }
        if !self.promise.extended_key_usage.is_empty() {
            let purposes: Vec<u8> = self.promise.extended_key_usage.iter().flat_map(oid).collect();
            out.extend(extension(
                &rfc5280::ID_CE_EXT_KEY_USAGE,
                false,
                &tlv(SEQUENCE, &[&purposes]),
            ));
        }
        if !self.san.is_empty() {
            let names = self
                .san
                .iter()
                .map(|entry| entry.to_general_name()?.to_der())
                .collect::<Result<Vec<_>, _>>();
            let names = names.map_err(|e| DraftError::Encoding(format!("SAN: {e}")))?.concat();
            // RFC 5280 §4.2.1.6: critical if and only if it is the only name.
            let critical = self.subject.0.is_empty();
            out.extend(extension(
                &rfc5280::ID_CE_SUBJECT_ALT_NAME,
                critical,
                &tlv(SEQUENCE, &[&names]),
            ));
        }
        if !self.policies.is_empty() {
            let policies: Vec<u8> = self.policies.iter().flat_map(|p| tlv(SEQUENCE, &[&oid(p)])).collect();
            out.extend(extension(
                &rfc5280::ID_CE_CERTIFICATE_POLICIES,
                false,
                &tlv(SEQUENCE, &[&policies]),
            ));
        }
        if points_to_issuer(self.promise.kind) {
            if let Some(url) = issuer.urls.crl_url(serial.octets()) {
                out.extend(extension(
                    &rfc5280::ID_CE_CRL_DISTRIBUTION_POINTS,
                    false,
                    &distribution_point(&url),
                ));
            }
            if let Some(access) = information_access(&issuer.urls) {
                out.extend(extension(&rfc5280::ID_PE_AUTHORITY_INFO_ACCESS, false, &access));
            }
        }
        if self.promise.kind == ProfileKind::Ocsp {
            out.extend(extension(&ID_PKIX_OCSP_NOCHECK, false, &tlv(NULL, &[])));
        }
        if let Some(rot) = &self.rot {
            let rot = rot
                .to_der()
                .map_err(|e| DraftError::Encoding(format!("RoT binding: {e}")))?;
            out.extend(extension(&ID_ROT_BINDING, false, &rot));
        }
        if self.promise.rehearsal {
            out.extend(extension(&ID_REHEARSAL, false, &tlv(NULL, &[])));
        }
        Ok(out)
    }
}

/// `FALSE` is the default of `critical` and therefore not written (X.690 §11.5).
pub(crate) fn extension(id: &ObjectIdentifier, critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { tlv(BOOLEAN, &[&[0xff]]) } else { Vec::new() };
    tlv(SEQUENCE, &[&oid(id), &critical, &tlv(OCTET_STRING, &[value])])
}

/// The one keyUsage of each kind, in the fewest bits (RFC 5280 §4.2.1.3, X.690 §11.2.2).
pub(crate) fn key_usage(kind: ProfileKind) -> &'static [u8] {
    match kind {
        // keyCertSign (5), cRLSign (6)
        ProfileKind::Root | ProfileKind::Issuing | ProfileKind::Cross => b"\x03\x02\x01\x06",
        // digitalSignature (0)
        ProfileKind::DeviceIak
        | ProfileKind::DeviceIdevid
        | ProfileKind::DeviceLdevid
        | ProfileKind::DeviceLak
        | ProfileKind::Service
        | ProfileKind::ServerTls
        | ProfileKind::Ocsp => b"\x03\x02\x07\x80",
    }
}

/// The one basicConstraints of each kind; leaves have none (RFC 5280 §4.2.1.9).
pub(crate) fn basic_constraints(kind: ProfileKind) -> Option<&'static [u8]> {
    match kind {
        ProfileKind::Root => Some(b"\x30\x03\x01\x01\xff"),
        ProfileKind::Issuing => Some(b"\x30\x06\x01\x01\xff\x02\x01\x00"),
        ProfileKind::Cross => Some(b"\x30\x06\x01\x01\xff\x02\x01\x01"),
        ProfileKind::DeviceIak
        | ProfileKind::DeviceIdevid
        | ProfileKind::DeviceLdevid
        | ProfileKind::DeviceLak
        | ProfileKind::Service
        | ProfileKind::ServerTls
        | ProfileKind::Ocsp => None,
    }
}

/// RFC 7093 §2 method 1: leftmost 160 bits of SHA-256 over the BIT STRING's content (tag, length, unused bits left out).
pub(crate) fn key_id(spki: &[u8]) -> Result<[u8; 20], Malformed> {
    let mut fields = Reader(only(spki, SEQUENCE, "SubjectPublicKeyInfo")?.value);
    fields.expect(SEQUENCE, "algorithm")?;
    let bits = fields.expect(BIT_STRING, "subjectPublicKey")?.value;
    fields.end("SubjectPublicKeyInfo")?;
    let (_, key) = bits.split_first().ok_or(Malformed("subjectPublicKey"))?;
    let digest = sha256(key);
    digest.first_chunk().copied().ok_or(Malformed("subjectPublicKey"))
}

/// `Name`, DER; what [`Subject::to_name`] makes of it.
pub(crate) fn name(subject: &Subject) -> Result<Vec<u8>, DraftError> {
    let name = subject.to_name().and_then(|name| name.to_der());
    name.map_err(|e| DraftError::Encoding(format!("subject: {e}")))
}

/// RFC 5280 §4.2.1.13: one point, one URI, no reasons, no indirect CRL.
pub(crate) fn distribution_point(url: &str) -> Vec<u8> {
    tlv(SEQUENCE, &[&issuing_distribution_point(url)])
}

/// RFC 5280 §5.2.5: the same name as in the certificates, and none of the flags. Octet for octet what
/// [`distribution_point`] holds.
pub(crate) fn issuing_distribution_point(url: &str) -> Vec<u8> {
    let uri = tlv(context(6), &[url.as_bytes()]);
    let name = tlv(context_constructed(0), &[&tlv(context_constructed(0), &[&uri])]);
    tlv(SEQUENCE, &[&name])
}

/// Whether it says where its issuer, the issuer's CRL and the issuer's responder are found. A root has no issuer; nobody
/// asks about a responder (id-pkix-ocsp-nocheck), and its certificate travels in every answer.
pub(crate) fn points_to_issuer(kind: ProfileKind) -> bool {
    !matches!(kind, ProfileKind::Root | ProfileKind::Ocsp)
}

/// RFC 5280 §4.2.2.1: one ocsp URI, one caIssuers URI; `None` when neither is configured.
pub(crate) fn information_access(urls: &IssuerUrls) -> Option<Vec<u8>> {
    let one = |method, url: &Option<String>| {
        let url = url.as_deref()?;
        Some(tlv(SEQUENCE, &[&oid(method), &tlv(context(6), &[url.as_bytes()])]))
    };
    let ocsp = one(&rfc5280::ID_AD_OCSP, &urls.ocsp);
    let ca_issuers = one(&rfc5280::ID_AD_CA_ISSUERS, &urls.ca_issuers);
    let all = [ocsp, ca_issuers].into_iter().flatten().collect::<Vec<_>>().concat();
    (!all.is_empty()).then(|| tlv(SEQUENCE, &[&all]))
}
