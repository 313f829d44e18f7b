//! Paths are grown from the anchors down to the leaf: no key is used before it is proven, every certificate is looked at
//! under a budget, and a cycle cannot arise.

use super::issuer::Issuer;
use super::{Anchor, Anchors};
use crate::x509::{Certificate, Leniencies, SignatureAlgorithm};
use crate::{Reason, Refusal, UnixTime};
use std::sync::Arc;

/// Certificates in a path, leaf and anchor included.
const MAX_PATH: usize = 8;
/// Certificates a device may offer.
const MAX_OFFERED: usize = 16;
/// Bytes of the leaf and all that is offered.
const MAX_BYTES: usize = 64 * 1024;
/// Signature checks for one request: honest ones need as many as they offer, and one.
const MAX_CHECKS: usize = 24;

/// An issuer with a verified path to an anchor, and what that path leaves to the next certificate.
#[derive(Clone, Debug)]
pub(super) struct Proven {
    pub(super) issuer: Arc<Issuer>,
    /// Position of the anchor.
    anchor: usize,
    /// SHA-256 of the certificates of the path, anchor first, this one last.
    path: Vec<[u8; 32]>,
    /// How many more CA certificates may follow (pathLenConstraint); `None` is no limit.
    below: Option<u32>,
    /// Time in which all of the path is valid.
    not_before: UnixTime,
    not_after: UnixTime,
}

/// A certificate that may turn out to be an issuer.
#[derive(Debug)]
pub(super) struct Candidate<'a> {
    pub(super) issuer: Arc<Issuer>,
    certificate: Certificate<'a>,
}

/// How much work may still be done.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) checks: usize,
}

/// Why a certificate did not continue a path.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub(super) struct Fault {
    pub(super) sha256: [u8; 32],
    pub(super) detail: &'static str,
}

impl Budget {
    /// For what the operator ships: bounded, so that certificates that sign each other in circles end.
    pub(super) fn operator(candidates: usize) -> Self {
        Self {
            checks: candidates.saturating_mul(8),
        }
    }

    /// For one request.
    pub(super) fn request() -> Self {
        Self { checks: MAX_CHECKS }
    }

    fn take(&mut self) -> Result<(), &'static str> {
        self.checks = self
            .checks
            .checked_sub(1)
            .ok_or("the budget of signature checks is used up")?;
        Ok(())
    }
}

impl<'a> Candidate<'a> {
    pub(super) fn new(certificate: Certificate<'a>) -> Result<Self, &'static str> {
        let issuer = Arc::new(Issuer::new(&certificate)?);
        Ok(Self { issuer, certificate })
    }
}

impl Proven {
    /// An anchor stands for itself.
    pub(super) fn anchor(anchor: usize, issuer: Arc<Issuer>) -> Self {
        Self {
            anchor,
            path: vec![issuer.sha256],
            below: issuer.path_len,
            not_before: issuer.not_before,
            not_after: issuer.not_after,
            issuer,
        }
    }

    /// The path one CA longer.
    fn extend(&self, candidate: &Candidate<'_>, budget: &mut Budget) -> Result<Self, &'static str> {
        if self.path.len() + 2 > MAX_PATH {
            return Err("the path is too long");
        }
        // RFC 5280 §4.2.1.9: self-issued certificates do not count.
        let left = match self.below {
            Some(left) if !candidate.issuer.self_issued => {
                Some(left.checked_sub(1).ok_or("pathLenConstraint is exceeded")?)
            }
            left => left,
        };
        self.check_signature(&candidate.certificate, budget)?;
        let mut path = self.path.clone();
        path.push(candidate.issuer.sha256);
        Ok(Self {
            issuer: candidate.issuer.clone(),
            anchor: self.anchor,
            path,
            below: match (left, candidate.issuer.path_len) {
                (Some(left), Some(own)) => Some(left.min(own)),
                (left, own) => left.or(own),
            },
            not_before: self.not_before.max(candidate.issuer.not_before),
            not_after: self.not_after.min(candidate.issuer.not_after),
        })
    }

    /// The path ends in `leaf`.
    fn finish<'a>(
        &self,
        anchors: &'a Anchors,
        leaf: &Certificate<'_>,
        now: UnixTime,
        budget: &mut Budget,
    ) -> Result<&'a Anchor, &'static str> {
        let anchor = anchors.anchors.get(self.anchor).ok_or("no such anchor")?;
        if now < self.not_before.max(leaf.not_before) {
            return Err("a certificate of the path is not yet valid");
        }
        if anchor.enforce_expiry && now > self.not_after.min(leaf.not_after) {
            return Err("a certificate of the path has expired");
        }
        self.check_signature(leaf, budget)?;
        Ok(anchor)
    }

    /// Signature of this issuer over `certificate`, over the bytes received.
    fn check_signature(&self, certificate: &Certificate<'_>, budget: &mut Budget) -> Result<(), &'static str> {
        let algorithm =
            SignatureAlgorithm::parse(certificate.signature_algorithm, Leniencies::VENDOR).map_err(|error| error.0)?;
        budget.take()?;
        match algorithm.verify(
            &self.issuer.kind,
            &self.issuer.key,
            certificate.tbs,
            certificate.signature,
        ) {
            Ok(true) => Ok(()),
            Ok(false) => Err("the signature is not its issuer's"),
            Err(_) => Err("the signature could not be checked"),
        }
    }
}

/// Continue every path in `proven` with every candidate that fits, and those in turn.
pub(super) fn grow(
    proven: &mut Vec<Proven>,
    candidates: &[Candidate<'_>],
    budget: &mut Budget,
    faults: &mut Vec<Fault>,
) {
    let mut next = 0;
    while let Some(node) = proven.get(next).cloned() {
        next += 1;
        for candidate in candidates {
            if let Some(longer) = attempt(&node, candidate, budget, faults) {
                proven.push(longer);
            }
        }
    }
}

fn attempt(node: &Proven, candidate: &Candidate<'_>, budget: &mut Budget, faults: &mut Vec<Fault>) -> Option<Proven> {
    // Names are chained as bytes: equal text in another encoding is another name.
    let follows = candidate.certificate.issuer == node.issuer.subject && !node.path.contains(&candidate.issuer.sha256);
    if !follows {
        return None;
    }
    node.extend(candidate, budget)
        .map_err(|detail| {
            faults.push(Fault {
                sha256: candidate.issuer.sha256,
                detail,
            });
        })
        .ok()
}

/// A path from `leaf` to an anchor.
pub(super) fn verify<'a>(
    anchors: &'a Anchors,
    leaf: &Certificate<'_>,
    offered: &[Vec<u8>],
    now: UnixTime,
    budget: &mut Budget,
) -> Result<&'a Anchor, Refusal> {
    let refuse = |detail: String| Refusal::new(Reason::EkChain, detail);
    if offered.len() > MAX_OFFERED {
        return Err(refuse(format!(
            "{} certificates are offered, {MAX_OFFERED} are allowed",
            offered.len()
        )));
    }
    let bytes = offered
        .iter()
        .fold(leaf.der.len(), |sum, der| sum.saturating_add(der.len()));
    if bytes > MAX_BYTES {
        return Err(refuse(format!(
            "{bytes} bytes of certificates, {MAX_BYTES} are allowed"
        )));
    }
    let mut details = Vec::new();
    for node in anchors.named(leaf.issuer) {
        match node.finish(anchors, leaf, now, budget) {
            Ok(anchor) => return Ok(anchor),
            Err(detail) => details.push(format!("EK certificate: {detail}")),
        }
    }
    let candidates = candidates(anchors, leaf, offered, &mut details);
    let mut proven = Vec::new();
    let mut faults = Vec::new();
    for candidate in &candidates {
        for node in anchors.named(candidate.certificate.issuer) {
            proven.extend(attempt(node, candidate, budget, &mut faults));
        }
    }
    grow(&mut proven, &candidates, budget, &mut faults);
    for node in proven.iter().filter(|node| node.issuer.subject == leaf.issuer) {
        match node.finish(anchors, leaf, now, budget) {
            Ok(anchor) => return Ok(anchor),
            Err(detail) => details.push(format!("EK certificate: {detail}")),
        }
    }
    details.extend(faults.iter().map(|fault| format!("offered certificate: {fault}")));
    if details.is_empty() {
        details.push("its issuer is neither an anchor nor shipped nor offered".to_owned());
    }
    details.truncate(8);
    Err(refuse(format!("no path to an anchor: {}", details.join("; "))))
}

/// The offered certificates that may be issuers on a path to `leaf`: linked to it by name, and not known already.
fn candidates<'a>(
    anchors: &Anchors,
    leaf: &Certificate<'_>,
    offered: &'a [Vec<u8>],
    details: &mut Vec<String>,
) -> Vec<Candidate<'a>> {
    let mut frames: Vec<(usize, Certificate<'a>)> = offered
        .iter()
        .enumerate()
        .filter_map(|(position, der)| match Certificate::parse(der, Leniencies::VENDOR) {
            Ok(certificate) => Some((position, certificate)),
            Err(error) => {
                details.push(format!("offered certificate {position}: {error}"));
                None
            }
        })
        .collect();
    let mut candidates: Vec<Candidate<'a>> = Vec::new();
    let mut wanted: Vec<Vec<u8>> = vec![leaf.issuer.to_vec()];
    while let Some(name) = wanted.pop() {
        // Each certificate is taken out once: the loop ends with the certificates.
        let (linked, others) = frames
            .into_iter()
            .partition(|(_, certificate)| certificate.subject == name);
        frames = others;
        for (position, certificate) in linked {
            match Candidate::new(certificate) {
                Ok(candidate)
                    if anchors
                        .named(&name)
                        .any(|known| known.issuer.sha256 == candidate.issuer.sha256) => {}
                Ok(candidate) => {
                    wanted.push(candidate.certificate.issuer.to_vec());
                    candidates.push(candidate);
                }
                Err(detail) => details.push(format!("offered certificate {position}: {detail}")),
            }
        }
    }
    candidates
}
