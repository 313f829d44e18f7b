//! Anchors for others' claims, and the path to them.
//!
//! Everything about anchors and shipped intermediates is done once: parsing, and the signatures from an intermediate up
//! to its anchor. A request then costs one signature check for the EK certificate, and one for each certificate that
//! only the device has. Nothing is ever fetched.

mod issuer;
mod path;

#[cfg(test)]
mod tests;

use crate::x509::{Certificate, Leniencies, SignatureAlgorithm};
use crate::{AnchorKind, Refusal, UnixTime};
use issuer::Issuer;
use path::{Budget, Candidate, Proven};
use std::collections::BTreeMap;

/// One root we trust for claims about TPMs.
#[derive(Clone, Debug)]
pub struct AnchorSource {
    /// Name for records and screens, for example `infineon-optiga-ecc-root-2`.
    pub name: String,
    /// The certificate, DER.
    pub certificate: Vec<u8>,
    /// What kind of TPM it speaks for.
    pub kind: AnchorKind,
    /// Manufacturer ids (`id:` and 8 hex digits) it may speak for; never empty.
    pub manufacturers: Vec<String>,
    /// Whether expiry of EK certificates and intermediates below it, and its own, refuses (`true`) or is let pass.
    pub enforce_expiry: bool,
}

/// The anchors, parsed once, with intermediates the operator ships.
pub struct Anchors {
    anchors: Vec<Anchor>,
    /// Anchors and shipped intermediates with a verified path to an anchor.
    proven: Vec<Proven>,
    /// Positions in `proven` by subject, as bytes.
    by_subject: BTreeMap<Vec<u8>, Vec<usize>>,
    unused: Vec<AnchorError>,
}

/// An anchor that was found sound; its certificate is in [`Anchors::proven`].
#[derive(Debug)]
struct Anchor {
    name: String,
    sha256: [u8; 32],
    kind: AnchorKind,
    /// In capitals.
    manufacturers: Vec<String>,
    enforce_expiry: bool,
}

/// An anchor or intermediate that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("anchor `{name}`: {detail}")]
pub struct AnchorError {
    /// Which one.
    pub name: String,
    /// What is wrong with it.
    pub detail: String,
}

/// What the end of a verified path says about the EK certificate at its beginning.
#[derive(Debug, Clone)]
pub(crate) struct VerifiedPath<'a> {
    pub(crate) anchor: &'a str,
    pub(crate) anchor_sha256: [u8; 32],
    pub(crate) kind: AnchorKind,
    /// In capitals.
    pub(crate) manufacturers: &'a [String],
}

impl core::fmt::Debug for Anchors {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Anchors")
            .field("anchors", &self.anchors)
            .field("proven", &self.proven.len())
            .field("unused", &self.unused)
            .finish_non_exhaustive()
    }
}

impl Anchors {
    /// Parse anchors and operator-shipped intermediates, and verify the intermediates up to an anchor.
    ///
    /// # Errors
    /// [`AnchorError`] names the first that cannot be parsed, or the first anchor that is not a CA, not self-issued and
    /// self-signed, there twice, or without a well-formed manufacturer. A shipped intermediate that is no CA for EK
    /// certificates, or that no anchor vouches for, is no error: see [`Self::unused_intermediates`].
    pub fn new(roots: Vec<AnchorSource>, intermediates: Vec<Vec<u8>>) -> Result<Self, AnchorError> {
        let mut anchors: Vec<Anchor> = Vec::with_capacity(roots.len());
        let mut proven = Vec::with_capacity(roots.len().saturating_add(intermediates.len()));
        for root in roots {
            let fail = |detail: String| AnchorError {
                name: root.name.clone(),
                detail,
            };
            let manufacturers = manufacturers(&root.manufacturers, root.kind).map_err(fail)?;
            let issuer = self_signed(&root.certificate).map_err(|detail| fail(detail.to_owned()))?;
            if anchors.iter().any(|other| other.name == root.name) {
                return Err(fail("the name is there twice".to_owned()));
            }
            if let Some(other) = anchors.iter().find(|other| other.sha256 == issuer.sha256) {
                return Err(fail(format!("the certificate is that of `{}`", other.name)));
            }
            proven.push(Proven::anchor(anchors.len(), issuer.clone()));
            anchors.push(Anchor {
                name: root.name,
                sha256: issuer.sha256,
                kind: root.kind,
                manufacturers,
                enforce_expiry: root.enforce_expiry,
            });
        }
        let mut candidates: Vec<(String, Candidate<'_>)> = Vec::with_capacity(intermediates.len());
        let mut unused = Vec::new();
        for (position, der) in intermediates.iter().enumerate() {
            let sha256 = openssl::sha::sha256(der);
            // An anchor among the intermediates, or one twice, adds nothing.
            if anchors.iter().any(|anchor| anchor.sha256 == sha256)
                || candidates.iter().any(|(_, other)| other.issuer.sha256 == sha256)
            {
                continue;
            }
            let name = format!("intermediate {position}, SHA-256 {}", hex::encode(sha256));
            match Certificate::parse(der, Leniencies::VENDOR).map(Candidate::new) {
                Ok(Ok(candidate)) => candidates.push((name, candidate)),
                Ok(Err(unfit)) => unused.push(AnchorError {
                    name,
                    detail: unfit.to_owned(),
                }),
                Err(error) => {
                    return Err(AnchorError {
                        name,
                        detail: error.to_string(),
                    });
                }
            }
        }
        let (names, candidates): (Vec<_>, Vec<_>) = candidates.into_iter().unzip();
        let mut faults = Vec::new();
        path::grow(
            &mut proven,
            &candidates,
            &mut Budget::operator(candidates.len()),
            &mut faults,
        );
        for (name, candidate) in names.into_iter().zip(&candidates) {
            if proven.iter().any(|node| node.issuer.sha256 == candidate.issuer.sha256) {
                continue;
            }
            let detail = faults
                .iter()
                .find(|fault| fault.sha256 == candidate.issuer.sha256)
                .map_or("no anchor or intermediate is its issuer", |fault| fault.detail);
            unused.push(AnchorError {
                name,
                detail: detail.to_owned(),
            });
        }
        let mut by_subject: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
        for (position, node) in proven.iter().enumerate() {
            by_subject
                .entry(node.issuer.subject.clone())
                .or_default()
                .push(position);
        }
        Ok(Self {
            anchors,
            proven,
            by_subject,
            unused,
        })
    }

    /// Names of anchors of kind [`AnchorKind::Software`]: a production server refuses to start with any.
    #[must_use]
    pub fn software_anchors(&self) -> Vec<&str> {
        self.anchors
            .iter()
            .filter(|anchor| anchor.kind == AnchorKind::Software)
            .map(|anchor| anchor.name.as_str())
            .collect()
    }

    /// Shipped intermediates that are never used, and why: to be shown to the operator.
    #[must_use]
    pub fn unused_intermediates(&self) -> &[AnchorError] {
        &self.unused
    }

    /// Build and verify a path from `leaf` over `offered` and the shipped intermediates to an anchor.
    ///
    /// What the leaf may be is not judged here: its own extensions are the business of the EK profile.
    pub(crate) fn verify(
        &self,
        leaf: &Certificate<'_>,
        offered: &[Vec<u8>],
        now: UnixTime,
    ) -> Result<VerifiedPath<'_>, Refusal> {
        let end = path::verify(self, leaf, offered, now, &mut Budget::request())?;
        Ok(VerifiedPath {
            anchor: &end.name,
            anchor_sha256: end.sha256,
            kind: end.kind,
            manufacturers: &end.manufacturers,
        })
    }

    /// Proven issuers of this name.
    fn named(&self, subject: &[u8]) -> impl Iterator<Item = &Proven> {
        self.by_subject
            .get(subject)
            .into_iter()
            .flatten()
            .filter_map(|position| self.proven.get(*position))
    }
}

fn manufacturers(given: &[String], kind: AnchorKind) -> Result<Vec<String>, String> {
    if given.is_empty() {
        return Err("it may speak for no manufacturer".to_owned());
    }
    given
        .iter()
        .map(|text| {
            let id = crate::ek::manufacturer_id(text)
                .ok_or_else(|| format!("manufacturer {text:?} is not `id:` and 8 hex digits"))?;
            if kind != AnchorKind::Software && is_test_id(&id) {
                return Err(format!(
                    "manufacturer {id} is for tests: only an anchor of kind software may speak for it"
                ));
            }
            Ok(id)
        })
        .collect()
}

/// SIM0 to SIM7 and TST0 to TST7 of the TCG vendor id registry, and the id of FIDO's conformance tools.
fn is_test_id(id: &str) -> bool {
    let range = |prefix| id.strip_prefix(prefix).is_some_and(|digit| ("0".."8").contains(&digit));
    range("id:53494D3") || range("id:5453543") || id == "id:FFFFF1D0"
}

/// A CA certificate that names itself as issuer and signs itself. SHA-1 is allowed here only: the operator chose these
/// bytes, the signature adds no trust to them.
fn self_signed(der: &[u8]) -> Result<std::sync::Arc<Issuer>, &'static str> {
    let certificate = Certificate::parse(der, Leniencies::VENDOR).map_err(|error| error.0)?;
    let issuer = Issuer::new(&certificate)?;
    if certificate.issuer != certificate.subject {
        return Err("it is not self-issued");
    }
    let algorithm = SignatureAlgorithm::parse_with_sha1(certificate.signature_algorithm, Leniencies::VENDOR)
        .map_err(|error| error.0)?;
    match algorithm.verify(&issuer.kind, &issuer.key, certificate.tbs, certificate.signature) {
        Ok(true) => Ok(std::sync::Arc::new(issuer)),
        Ok(false) | Err(_) => Err("it is not self-signed"),
    }
}
