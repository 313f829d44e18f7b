//! Paths are grown from the anchors down to the leaf: no key is used before it is proven, every certificate is looked at
//! under a budget, and a cycle cannot arise.

use super::crl::Said;
use super::issuer::Issuer;
use super::refused::Refused;
use super::{About, Anchor, Anchors, Standing};
use crate::x509::{Certificate, Leniencies, SignatureAlgorithm};
use crate::{Refusal, UnixTime};
use std::cmp::Reverse;
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
    end: End,
    /// Name of a refused CA in the path.
    refused: Option<Arc<str>>,
    /// SHA-256 of the certificates of the path, anchor first, this one last.
    path: Vec<[u8; 32]>,
    /// The same, as they are.
    issuers: Vec<Arc<Issuer>>,
    /// Of each certificate below the anchor: SHA-256 of its issuer's key, and its serial.
    links: Vec<([u8; 32], Vec<u8>)>,
    /// How many more CA certificates may follow (pathLenConstraint); `None` is no limit.
    below: Option<u32>,
    /// Time in which all of the path is valid.
    not_before: UnixTime,
    not_after: UnixTime,
}

/// Where a path ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// Position in [`Anchors::anchors`].
    Anchor(usize),
    /// Position in [`Anchors::aside`]: there is a CA, and it is not trusted.
    Aside(usize),
}

/// A path that was verified down to the EK certificate.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) anchor: &'a Anchor,
    /// SHA-256 of its CA certificates, anchor first.
    pub(super) path: Vec<[u8; 32]>,
    /// The same, DER.
    pub(super) certificates: Vec<Vec<u8>>,
    /// Whether a certificate of it, the leaf included, has expired, which its anchor lets pass.
    pub(super) expired: bool,
    /// Whether a CRL of a CA in it was missing, or past its time.
    pub(super) unchecked: bool,
}

/// Why a path does not end well.
#[derive(Debug)]
enum Stop {
    Fault(&'static str),
    /// All is in order, but it leads through a refused CA of this name.
    Refused(Arc<str>),
    /// All is in order, but its maker revoked the leaf, or a CA above it.
    Revoked {
        leaf: bool,
    },
    /// All is in order, but it ends in a CA that is not trusted.
    Aside(Aside),
}

/// The end of a path that is not trusted; of two the lesser is told of. What a person called known comes before what nobody
/// decided about, and the top of a chain before the links in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Aside {
    standing: Standing,
    length: Reverse<usize>,
    position: usize,
}

impl From<&'static str> for Stop {
    fn from(detail: &'static str) -> Self {
        Self::Fault(detail)
    }
}

/// A certificate that may turn out to be an issuer.
#[derive(Debug)]
pub(super) struct Candidate<'a> {
    pub(super) issuer: Arc<Issuer>,
    refused: Option<Arc<str>>,
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
    pub(super) fn new(certificate: Certificate<'a>, refused: &Refused, about: About) -> Result<Self, &'static str> {
        let issuer = Arc::new(Issuer::new(&certificate)?.serving(about)?);
        Ok(Self {
            refused: refused.name_of(&issuer),
            issuer,
            certificate,
        })
    }
}

impl Proven {
    /// An anchor stands for itself.
    pub(super) fn anchor(anchor: usize, issuer: Arc<Issuer>, refused: &Refused) -> Self {
        Self::begin(End::Anchor(anchor), issuer, refused)
    }

    /// A CA that is not trusted: a path from it is only good for saying so.
    pub(super) fn aside(aside: usize, issuer: Arc<Issuer>, refused: &Refused) -> Self {
        Self::begin(End::Aside(aside), issuer, refused)
    }

    fn begin(end: End, issuer: Arc<Issuer>, refused: &Refused) -> Self {
        Self {
            end,
            refused: refused.name_of(&issuer),
            path: vec![issuer.sha256],
            issuers: vec![issuer.clone()],
            links: Vec::new(),
            below: issuer.path_len,
            not_before: issuer.not_before,
            not_after: issuer.not_after,
            issuer,
        }
    }

    /// Whether it ends in an anchor and leads through no refused CA.
    pub(super) fn is_sound(&self) -> bool {
        matches!(self.end, End::Anchor(_)) && self.refused.is_none()
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
        let mut issuers = self.issuers.clone();
        issuers.push(candidate.issuer.clone());
        let mut links = self.links.clone();
        links.push((self.issuer.spki_sha256, candidate.issuer.serial.clone()));
        Ok(Self {
            links,
            issuer: candidate.issuer.clone(),
            end: self.end,
            refused: self.refused.clone().or_else(|| candidate.refused.clone()),
            path,
            issuers,
            below: match (left, candidate.issuer.path_len) {
                (Some(left), Some(own)) => Some(left.min(own)),
                (left, own) => left.or(own),
            },
            not_before: self.not_before.max(candidate.issuer.not_before),
            not_after: self.not_after.min(candidate.issuer.not_after),
        })
    }

    /// What the CRLs say of the links and of the leaf; whether one of them could not be asked.
    fn revoked(&self, anchors: &Anchors, anchor: &Anchor, leaf: &Certificate<'_>, now: UnixTime) -> Result<bool, Stop> {
        let leaf = (self.issuer.spki_sha256, leaf.serial.to_vec());
        let mut unchecked = false;
        for (position, (issuer, serial)) in self.links.iter().chain([&leaf]).enumerate() {
            match anchors.revocations.of_certificate(issuer, serial, now) {
                Said::Revoked => {
                    return Err(Stop::Revoked {
                        leaf: position == self.links.len(),
                    });
                }
                Said::Good => {}
                Said::Stale if anchor.demand_crl => return Err(Stop::Fault("a CRL of the path is past its time")),
                Said::Nothing if anchor.demand_crl => {
                    return Err(Stop::Fault("a CRL of the path is missing, and its anchor demands it"));
                }
                Said::Stale => unchecked = true,
                Said::Nothing => {}
            }
        }
        Ok(unchecked)
    }

    /// The path ends in `leaf`. The one place where a path is believed.
    fn finish<'a>(
        &self,
        anchors: &'a Anchors,
        leaf: &Certificate<'_>,
        now: UnixTime,
        budget: &mut Budget,
    ) -> Result<Found<'a>, Stop> {
        // A path that is not to be believed anyway says so before it speaks of time.
        let expired = now > self.not_after.min(leaf.not_after);
        let sound = match self.end {
            End::Anchor(position) if self.refused.is_none() => {
                let anchor = anchors.anchors.get(position).ok_or("no such anchor")?;
                if now < self.not_before.max(leaf.not_before) {
                    return Err(Stop::Fault("a certificate of the path is not yet valid"));
                }
                if anchor.enforce_expiry && expired {
                    return Err(Stop::Fault("a certificate of the path has expired"));
                }
                Some(anchor)
            }
            _ => None,
        };
        self.check_signature(leaf, budget)?;
        match (sound, &self.refused, self.end) {
            (_, Some(name), _) => Err(Stop::Refused(name.clone())),
            (_, None, End::Aside(position)) => Err(Stop::Aside(Aside {
                standing: anchors
                    .aside
                    .get(position)
                    .map_or(Standing::Unknown, |(_, standing)| *standing),
                length: Reverse(self.path.len()),
                position,
            })),
            (Some(anchor), None, End::Anchor(_)) => Ok(Found {
                unchecked: self.revoked(anchors, anchor, leaf, now)?,
                anchor,
                path: self.path.clone(),
                certificates: self.issuers.iter().map(|issuer| issuer.der.clone()).collect(),
                expired,
            }),
            (None, None, End::Anchor(_)) => Err(Stop::Fault("no such anchor")),
        }
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
) -> Result<Found<'a>, Refusal> {
    let refuse = |detail: String| {
        let [chain, ..] = anchors.reasons();
        Refusal::new(chain, detail)
    };
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
    let mut verdict = Verdict::default();
    for node in anchors.named(leaf.issuer).filter(|node| node.is_sound()) {
        match node.finish(anchors, leaf, now, budget) {
            Ok(found) => return Ok(found),
            Err(stop) => verdict.add(stop, anchors.about),
        }
    }
    let candidates = candidates(anchors, leaf, offered, &mut verdict.details);
    let mut proven = Vec::new();
    let mut faults = Vec::new();
    continue_with(anchors, &candidates, true, &mut proven, budget, &mut faults);
    let ends = |node: &&Proven| node.issuer.subject == leaf.issuer;
    for node in proven.iter().filter(ends).filter(|node| node.is_sound()) {
        match node.finish(anchors, leaf, now, budget) {
            Ok(found) => return Ok(found),
            Err(stop) => verdict.add(stop, anchors.about),
        }
    }
    verdict
        .details
        .extend(faults.iter().map(|fault| format!("offered certificate: {fault}")));
    // Nothing is believed any more. What remains is to say why, with a budget of its own: a path through a refused CA, or
    // to one that is not trusted, is told from none.
    let budget = &mut Budget::request();
    let mut astray = Vec::new();
    continue_with(anchors, &candidates, false, &mut astray, budget, &mut Vec::new());
    let shipped = anchors.named(leaf.issuer);
    for node in shipped
        .chain(proven.iter().chain(&astray).filter(ends))
        .filter(|node| !node.is_sound())
    {
        if let Err(stop) = node.finish(anchors, leaf, now, budget) {
            verdict.add(stop, anchors.about);
        }
    }
    Err(verdict.refusal(anchors))
}

/// Grow paths from proven issuers, sound or not, over what is offered.
fn continue_with(
    anchors: &Anchors,
    candidates: &[Candidate<'_>],
    sound: bool,
    proven: &mut Vec<Proven>,
    budget: &mut Budget,
    faults: &mut Vec<Fault>,
) {
    for candidate in candidates {
        for node in anchors
            .named(candidate.certificate.issuer)
            .filter(|node| node.is_sound() == sound)
        {
            proven.extend(attempt(node, candidate, budget, faults));
        }
    }
    grow(proven, candidates, budget, faults);
}

/// What was found on all paths together.
#[derive(Debug, Default)]
struct Verdict {
    details: Vec<String>,
    refused: Option<Arc<str>>,
    /// Whether something was revoked; true: the leaf.
    revoked: Option<bool>,
    aside: Option<Aside>,
}

impl Verdict {
    fn add(&mut self, stop: Stop, about: About) {
        match stop {
            Stop::Fault(detail) => {
                let leaf = match about {
                    About::Tpm => "EK",
                    About::Iak => "IAK",
                };
                let detail = format!("{leaf} certificate: {detail}");
                // Several CAs of one name, or renewals of one, often fail alike.
                if !self.details.contains(&detail) {
                    self.details.push(detail);
                }
            }
            Stop::Refused(name) => self.refused = self.refused.take().or(Some(name)),
            Stop::Revoked { leaf } => self.revoked = Some(leaf || self.revoked == Some(true)),
            Stop::Aside(aside) => self.aside = Some(self.aside.map_or(aside, |other| other.min(aside))),
        }
    }

    /// A refused CA is the gravest finding, a missing link the least.
    fn refusal(mut self, anchors: &Anchors) -> Refusal {
        let [chain, refused, untrusted, revoked] = anchors.reasons();
        if let Some(name) = self.refused {
            return Refusal::new(refused, format!("the path leads through `{name}`, which is refused"));
        }
        if let Some(leaf) = self.revoked {
            let what = if leaf { "the certificate" } else { "a CA of the path" };
            return Refusal::new(revoked, format!("{what} is on a CRL of its issuer"));
        }
        if let Some((name, standing)) = self.aside.and_then(|aside| anchors.aside.get(aside.position)) {
            let detail = match standing {
                Standing::Known => format!("the path ends at `{name}`, which is known but not trusted"),
                Standing::Unknown | Standing::Refused => {
                    format!("the path ends at `{name}`, which is unknown: nobody has decided about it")
                }
            };
            return Refusal::new(untrusted, detail);
        }
        if self.details.is_empty() {
            self.details
                .push("its issuer is neither an anchor nor shipped nor offered".to_owned());
        }
        self.details.truncate(8);
        Refusal::new(chain, format!("no path to an anchor: {}", self.details.join("; ")))
    }
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
            match Candidate::new(certificate, &anchors.refused, anchors.about) {
                Ok(candidate)
                    if anchors
                        .named(&name)
                        .any(|known| known.is_sound() && known.issuer.sha256 == candidate.issuer.sha256) => {}
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
