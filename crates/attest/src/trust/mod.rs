//! Anchors for others' claims, and the path to them.
//!
//! Everything about anchors and shipped intermediates is done once: parsing, and the signatures from an intermediate up
//! to its anchor. A request then costs one signature check for the EK certificate, and one for each certificate that
//! only the device has. Nothing is ever fetched.

mod aia;
mod crl;
mod issuer;
mod path;
mod refused;
mod sources;

#[cfg(test)]
mod tests;

use crate::x509::{Certificate, Leniencies, SignatureAlgorithm};
use crate::{AnchorKind, Reason, Refusal, UnixTime};
use crl::Revocations;
use issuer::Issuer;
use path::{Budget, Candidate, Fault, Proven};
use refused::Refused;
use std::collections::BTreeMap;

pub use aia::{ca_issuers, first_break, issuer_name};
pub use crl::CrlFacts;
pub use sources::{About, AnchorSource, CaFacts, CaSource, HashOf, RefusedHash, Standing, TrustSources};

/// The anchors, parsed once, with intermediates the operator ships, and with the CAs that are not trusted.
pub struct Anchors {
    about: About,
    anchors: Vec<Anchor>,
    /// CAs that are not trusted and that no anchor vouches for, known ones first.
    aside: Vec<(String, Standing)>,
    refused: Refused,
    /// Issuers with a verified path: those that are sound first, then those that lead astray.
    proven: Vec<Proven>,
    /// Positions in `proven` by subject, as bytes.
    by_subject: BTreeMap<Vec<u8>, Vec<usize>>,
    unused: Vec<AnchorError>,
    revocations: Revocations,
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
    demand_crl: bool,
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
    /// SHA-256 of its CA certificates, anchor first.
    pub(crate) path: Vec<[u8; 32]>,
    /// The same, DER.
    pub(crate) certificates: Vec<Vec<u8>>,
    /// Whether a certificate of it, the EK certificate included, has expired, which the anchor lets pass.
    pub(crate) expired: bool,
    /// Where a CRL was missing, or past its time, which the anchor lets pass.
    pub(crate) unchecked: bool,
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
    /// [`Self::of`] anchors and operator-shipped intermediates alone.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn new(roots: Vec<AnchorSource>, intermediates: Vec<Vec<u8>>) -> Result<Self, AnchorError> {
        Self::of(TrustSources {
            anchors: roots,
            intermediates,
            ..TrustSources::default()
        })
    }

    /// Parse anchors, other CAs and operator-shipped intermediates, and verify what can be verified up to an anchor.
    ///
    /// Where several sources speak of one certificate: *refused* wins over everything, an anchor over *known* and
    /// *unknown*, *known* over *unknown*. A CA that is not refused may be a link below an anchor, whatever its standing.
    ///
    /// # Errors
    /// [`AnchorError`] names the first that cannot be parsed, or the first anchor that is not a CA, not self-issued and
    /// self-signed, there twice, or without a well-formed manufacturer. A shipped intermediate that is no CA for EK
    /// certificates, or that no anchor vouches for, is no error: see [`Self::unused_intermediates`].
    pub fn of(sources: TrustSources) -> Result<Self, AnchorError> {
        let about = sources.about;
        let refused = Refused::new(&sources.others, &sources.refused);
        let (anchors, mut proven) = roots(sources.anchors, &refused, about, &sources.demand_crl)?;
        let mut others = sources.others;
        others.sort_by_key(|ca| ca.standing);
        let shipped = sources.intermediates.iter().enumerate().map(|(position, der)| {
            let sha256 = crate::digest::sha256(der);
            (
                format!("intermediate {position}, SHA-256 {}", hex::encode(sha256)),
                der,
                None,
            )
        });
        let stored = others
            .iter()
            .map(|ca| (ca.name.clone(), &ca.certificate, Some(ca.standing)));
        let mut links: Vec<Link<'_>> = Vec::new();
        let mut unused = Vec::new();
        // Those that the store speaks of first: of two that are the same, what was said about it stays.
        for (name, der, standing) in stored.chain(shipped) {
            let sha256 = crate::digest::sha256(der);
            // An anchor among them, or one twice, adds nothing.
            if anchors.iter().any(|anchor| anchor.sha256 == sha256)
                || links.iter().any(|other| other.candidate.issuer.sha256 == sha256)
            {
                continue;
            }
            match Certificate::parse(der, Leniencies::VENDOR).map(|frame| Candidate::new(frame, &refused, about)) {
                Ok(Ok(candidate)) => links.push(Link {
                    name,
                    standing,
                    candidate,
                }),
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
        let (names, candidates): (Vec<_>, Vec<_>) = links
            .into_iter()
            .map(|link| ((link.name, link.standing), link.candidate))
            .unzip();
        let mut faults = Vec::new();
        let mut budget = Budget::operator(candidates.len());
        path::grow(&mut proven, &candidates, &mut budget, &mut faults);
        // What no anchor vouches for: if the store speaks of it, paths from it are grown to say so.
        let (mut aside, mut astray) = (Vec::new(), Vec::new());
        for ((name, standing), candidate) in names.into_iter().zip(&candidates) {
            let sha256 = candidate.issuer.sha256;
            if proven.iter().any(|node| node.issuer.sha256 == sha256) {
                continue;
            }
            if let Some(standing) = standing {
                astray.push(Proven::aside(aside.len(), candidate.issuer.clone(), &refused));
                aside.push((name, standing));
                continue;
            }
            let detail = faults
                .iter()
                .find(|fault: &&Fault| fault.sha256 == sha256)
                .map_or("no anchor or intermediate is its issuer", |fault| fault.detail);
            unused.push(AnchorError {
                name,
                detail: detail.to_owned(),
            });
        }
        path::grow(
            &mut astray,
            &candidates,
            &mut Budget::operator(candidates.len()),
            &mut Vec::new(),
        );
        proven.extend(astray);
        let (revocations, useless) =
            Revocations::of(&sources.crls, &proven).map_err(|(position, detail)| AnchorError {
                name: format!("CRL {position}"),
                detail: detail.to_owned(),
            })?;
        unused.extend(useless.into_iter().map(|(position, detail)| AnchorError {
            name: format!("CRL {position}"),
            detail: detail.to_owned(),
        }));
        proven.sort_by_key(|node| !node.is_sound());
        let mut by_subject: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
        for (position, node) in proven.iter().enumerate() {
            by_subject
                .entry(node.issuer.subject.clone())
                .or_default()
                .push(position);
        }
        Ok(Self {
            about,
            anchors,
            aside,
            refused,
            proven,
            by_subject,
            unused,
            revocations,
        })
    }

    /// What was decided about the anchor with this SHA-256: kind, manufacturers, whether expiry refuses.
    #[must_use]
    pub fn terms(&self, sha256: &[u8; 32]) -> Option<(AnchorKind, &[String], bool)> {
        let anchor = self.anchors.iter().find(|anchor| anchor.sha256 == *sha256)?;
        Some((anchor.kind, &anchor.manufacturers, anchor.enforce_expiry))
    }

    /// All that was decided, one line each, sorted: what is believed, refused, untrusted or looked at on the way. Two
    /// stores with the same lines believe the same, but for the CRLs, which come and go.
    #[must_use]
    pub fn decided(&self) -> Vec<String> {
        let anchors = self.anchors.iter().map(|anchor| {
            format!(
                "anchor {} {} {:?} {} expiry={} crl={}",
                hex::encode(anchor.sha256),
                anchor.name,
                anchor.kind,
                anchor.manufacturers.join(","),
                anchor.enforce_expiry,
                anchor.demand_crl
            )
        });
        let aside = self.aside.iter().map(|(name, standing)| format!("{standing:?} {name}"));
        let links = self
            .proven
            .iter()
            .map(|node| format!("issuer {}", hex::encode(node.issuer.sha256)));
        let mut lines: Vec<String> = anchors.chain(aside).chain(links).chain(self.refused.lines()).collect();
        lines.sort_unstable();
        lines
    }

    /// Whose claims they are about.
    #[must_use]
    pub fn about(&self) -> About {
        self.about
    }

    /// What no path, a refused one, one that is not trusted and one over what was revoked are called.
    fn reasons(&self) -> [Reason; 4] {
        match self.about {
            About::Tpm => [
                Reason::EkChain,
                Reason::EkCaRefused,
                Reason::EkCaUntrusted,
                Reason::EkRevoked,
            ],
            About::Iak => [
                Reason::IakChain,
                Reason::IakRefused,
                Reason::IakCaUntrusted,
                Reason::IakRefused,
            ],
        }
    }

    /// Name under which a certificate, or its key (canonical SubjectPublicKeyInfo), is refused by its hash.
    pub(crate) fn refuses(&self, certificate_sha256: &[u8; 32], spki_sha256: &[u8; 32]) -> Option<std::sync::Arc<str>> {
        self.refused.by_hash(certificate_sha256, spki_sha256)
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
        let found = path::verify(self, leaf, offered, now, &mut Budget::request())?;
        Ok(VerifiedPath {
            anchor: &found.anchor.name,
            anchor_sha256: found.anchor.sha256,
            kind: found.anchor.kind,
            manufacturers: &found.anchor.manufacturers,
            path: found.path,
            certificates: found.certificates,
            expired: found.expired,
            unchecked: found.unchecked,
        })
    }

    /// Whether a CA that is there has this name (DER): an anchor, what stands below one, or one that is untrusted.
    #[must_use]
    pub fn has_issuer(&self, name: &[u8]) -> bool {
        self.by_subject.contains_key(name)
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

/// A certificate that may be a link, with what the store says about it, if it does.
struct Link<'a> {
    name: String,
    standing: Option<Standing>,
    candidate: Candidate<'a>,
}

/// The anchors, and the paths that begin at them.
fn roots(
    sources: Vec<AnchorSource>,
    refused: &Refused,
    about: About,
    demand_crl: &[String],
) -> Result<(Vec<Anchor>, Vec<Proven>), AnchorError> {
    let mut anchors: Vec<Anchor> = Vec::with_capacity(sources.len());
    let mut proven = Vec::with_capacity(sources.len());
    for root in sources {
        let fail = |detail: String| AnchorError {
            name: root.name.clone(),
            detail,
        };
        let manufacturers = match about {
            About::Tpm => manufacturers(&root.manufacturers, root.kind).map_err(fail)?,
            About::Iak if root.manufacturers.is_empty() => Vec::new(),
            About::Iak => {
                return Err(fail(
                    "manufacturer ids are of TPMs, and it speaks for devices".to_owned(),
                ));
            }
        };
        let issuer = self_signed(&root.certificate).map_err(|detail| fail(detail.to_owned()))?;
        let issuer = issuer.serving(about).map_err(|detail| fail(detail.to_owned()))?;
        let issuer = std::sync::Arc::new(issuer);
        if anchors.iter().any(|other| other.name == root.name) {
            return Err(fail("the name is there twice".to_owned()));
        }
        if let Some(other) = anchors.iter().find(|other| other.sha256 == issuer.sha256) {
            return Err(fail(format!("the certificate is that of `{}`", other.name)));
        }
        proven.push(Proven::anchor(anchors.len(), issuer.clone(), refused));
        anchors.push(Anchor {
            demand_crl: demand_crl.contains(&root.name),
            name: root.name,
            sha256: issuer.sha256,
            kind: root.kind,
            manufacturers,
            enforce_expiry: root.enforce_expiry,
        });
    }
    Ok((anchors, proven))
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
            if kind == AnchorKind::Hardware && id == SOFTWARE_TPM {
                return Err(format!(
                    "manufacturer {id} makes software TPMs: no anchor of kind hardware may speak for it"
                ));
            }
            Ok(id)
        })
        .collect()
}

/// What libtpms, and so swtpm, calls its maker.
const SOFTWARE_TPM: &str = "id:00001014";

/// SIM0 to SIM7 and TST0 to TST7 of the TCG vendor id registry, and the id of FIDO's conformance tools.
fn is_test_id(id: &str) -> bool {
    let range = |prefix| id.strip_prefix(prefix).is_some_and(|digit| ("0".."8").contains(&digit));
    range("id:53494D3") || range("id:5453543") || id == "id:FFFFF1D0"
}

/// A CA certificate that names itself as issuer and signs itself. SHA-1 is allowed here only: the operator chose these
/// bytes, the signature adds no trust to them.
fn self_signed(der: &[u8]) -> Result<Issuer, &'static str> {
    let certificate = Certificate::parse(der, Leniencies::VENDOR).map_err(|error| error.0)?;
    let issuer = Issuer::new(&certificate)?;
    if certificate.issuer != certificate.subject {
        return Err("it is not self-issued");
    }
    let algorithm = SignatureAlgorithm::parse_with_sha1(certificate.signature_algorithm, Leniencies::VENDOR)
        .map_err(|error| error.0)?;
    match algorithm.verify(&issuer.kind, &issuer.key, certificate.tbs, certificate.signature) {
        Ok(true) => Ok(issuer),
        Ok(false) | Err(_) => Err("it is not self-signed"),
    }
}
