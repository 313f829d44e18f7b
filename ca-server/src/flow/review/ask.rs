//! Who waits for people: of a vendor nobody decided about, or quarantined by an advisory, and named before.

use attest::{
    AllowedEk, AnchorKind, EkFacts, Endorsed, Evidence, EvidenceBytes, Reason, Refusal, Unbelieved, UnixTime,
    UnknownVendor,
};
use policies::Advisory;
use schema::{ADVISORY, Asked, NewReview};

use super::audit;
use crate::flow::failure::Trouble;
use crate::house::{House, Phase, Wish};

/// A review can be approved for so many seconds.
const VALID: i64 = 7 * 86_400;

/// Why evidence leads to no challenge.
pub(in crate::flow) enum NotNow {
    /// It is refused.
    Refused(Refusal),
    /// An advisory speaks of this TPM.
    Advised {
        /// For the record.
        reason: &'static str,
        /// For the record.
        detail: String,
    },
    /// People have to decide: the number under which they do.
    Waits(i64),
    /// Not the client's fault.
    Trouble(Trouble),
}

impl From<Refusal> for NotNow {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<schema::StoreError> for NotNow {
    fn from(error: schema::StoreError) -> Self {
        Self::Trouble(error.into())
    }
}

/// Judge the evidence of a TPM. An approval is for one EK; where `asks` is set and nobody decided, people are asked.
pub(in crate::flow) fn endorse(
    house: &House,
    evidence: EvidenceBytes,
    now: UnixTime,
    asks: bool,
) -> Result<Endorsed, NotNow> {
    let (evidence, wish) = completed(house, evidence);
    let judged = house.metrics.timed(Phase::Endorse, || {
        let evidence = Evidence::decode(evidence)?;
        // Only for an EK without certificate is the inventory asked.
        let Some(spki_sha256) = evidence.uncertified()? else {
            return Ok::<_, NotNow>(evidence.verify_or_ask(&house.anchors, now));
        };
        let allowed = house
            .store
            .ek_allowed(&spki_sha256)?
            .map(|kind| AllowedEk { spki_sha256, kind });
        Ok(evidence.verify_allowed(allowed.as_ref()).map_err(Unbelieved::Refused))
    })?;
    if let (Some(aia), Some(wish), Err(unbelieved)) = (&house.aia, wish, &judged)
        && unbelieved.refusal().reason == Reason::EkChain
    {
        aia.wish(wish);
    }
    match judged {
        Ok(endorsed) => {
            let questions = quarantines(house, endorsed.ek(), &endorsed.ek().anchor).unwrap_or_default();
            // What is not asked about is the business of the decision, after the proof.
            if house.terms.review_quarantined && !questions.is_empty() {
                answers(house, &questions, now, asks)?;
            }
            Ok(endorsed)
        }
        Err(Unbelieved::Refused(refusal)) if refusal.reason == Reason::EkChain => Err(NotNow::Refused(led(
            refusal,
            "a CA of the issuer's name is here, so nobody is asked; if its vendor has another CA of that name: \
             `ca-cli trust tpm import` it, as unknown",
        ))),
        Err(Unbelieved::Refused(refusal)) => Err(NotNow::Refused(refusal)),
        Err(Unbelieved::Unknown(unknown)) if house.terms.review => vendor(house, *unknown, now, asks),
        Err(Unbelieved::Unknown(unknown)) => Err(NotNow::Refused(led(
            unknown.into_refusal(),
            "nobody decided about that CA: `ca-cli trust tpm add`, or let people decide about single TPMs: \
             [enrollment] unknown_vendor = \"review\"",
        ))),
    }
}

/// With the intermediates that were fetched before; and what to wish for, should one still be missing.
fn completed(house: &House, mut evidence: EvidenceBytes) -> (EvidenceBytes, Option<Wish>) {
    let Some(aia) = house.aia.as_ref().filter(|_| !evidence.ek_certificate.is_empty()) else {
        return (evidence, None);
    };
    let wish = Wish {
        certificate: evidence.ek_certificate.clone(),
        offered: evidence.ek_chain.clone(),
    };
    aia.complete(&evidence.ek_certificate, &mut evidence.ek_chain);
    (evidence, Some(wish))
}

/// Advisories in spite of which people let this TPM in; read only where one quarantines it.
pub(in crate::flow) fn accepted(house: &House, ek: Option<&EkFacts>) -> Result<Vec<String>, schema::StoreError> {
    let quarantined = |ek: &&EkFacts| {
        let quarantines = house.policy.advisories().quarantines(ek);
        quarantines.is_ok_and(|advisories| !advisories.is_empty())
    };
    match ek.filter(quarantined) {
        Some(ek) if house.terms.review_quarantined => house.store.accepted_advisories(&ek.spki_sha256),
        _ => Ok(Vec::new()),
    }
}

/// One thing that people decide about an EK.
struct Question {
    new: NewReview,
    /// For the record.
    detail: String,
}

/// A vendor nobody decided about: asked about together with what quarantines the TPM, and nobody is asked for nothing.
fn vendor(house: &House, unknown: UnknownVendor, now: UnixTime, asks: bool) -> Result<Endorsed, NotNow> {
    // What is claimed must be in order before anybody is asked about it.
    let claimed = match unknown.claimed(AnchorKind::Virtual) {
        Ok(claimed) => claimed,
        Err(_) => return Err(NotNow::Refused(unknown.into_refusal())),
    };
    let issuer = name(unknown.issuer());
    let mut questions = vec![Question {
        new: about(&claimed, unknown.refusal().reason.as_str().to_owned(), &issuer),
        detail: unknown.refusal().detail.clone(),
    }];
    let quarantines = quarantines(house, &claimed, &issuer)
        .map_err(|denied| advised("TPM_DENIED", &format!("{}: {}", denied.title(), denied.why)))?;
    match quarantines.first() {
        Some(first) if !house.terms.review_quarantined => return Err(advised("TPM_QUARANTINED", &first.detail)),
        _ => questions.extend(quarantines),
    }
    let kind = match answers(house, &questions, now, asks) {
        Ok(kind) => kind,
        // The first thing that is wrong with it is its vendor.
        Err(NotNow::Advised { detail, .. }) => return Err(NotNow::Refused(led(unknown.into_refusal(), &detail))),
        Err(other) => return Err(other),
    };
    unknown.vouched(&claimed.spki_sha256, kind).map_err(NotNow::Refused)
}

/// What quarantines this TPM.
fn quarantines<'a>(house: &'a House, ek: &EkFacts, issuer: &str) -> Result<Vec<Question>, &'a Advisory> {
    let quarantines = house.policy.advisories().quarantines(ek)?;
    Ok(quarantines
        .into_iter()
        .map(|advisory| Question {
            new: about(ek, format!("{ADVISORY}{}", advisory.id), issuer),
            detail: format!("{}: {}", advisory.title(), advisory.why),
        })
        .collect())
}

fn about(ek: &EkFacts, reason: String, issuer: &str) -> NewReview {
    NewReview {
        ek_spki_sha256: ek.spki_sha256,
        ek_certificate_sha256: ek.certificate_sha256,
        reason,
        issuer: issuer.to_owned(),
        manufacturer: ek.manufacturer.clone(),
        tpm: format!("{} {}", ek.model, ek.version),
        valid_for: VALID,
    }
}

/// What people said to each; all are asked before it waits. The kind of TPM is what was said about its vendor.
fn answers(house: &House, questions: &[Question], now: UnixTime, asks: bool) -> Result<AnchorKind, NotNow> {
    let (mut kind, mut waits) = (AnchorKind::Software, None);
    for Question { new, detail } in questions {
        let no = |what: &str| Err(advised("TPM_QUARANTINED", &format!("{detail}; {what}")));
        // Most who ask again find what stands, and write nothing.
        let standing = house.store.review_of(&new.ek_spki_sha256, &new.reason, now.0)?;
        let asked = match standing {
            Some(asked) => asked,
            // What a TPM became known for after it got its identity is asked about when that is renewed, too.
            None if asks || new.reason.starts_with(ADVISORY) => {
                let record = audit(now.0, "enrollment.review.asked", "server", "", detail.clone());
                house.store.ask_review(new, &record)?
            }
            None => return no("people are asked when it enrolls, not when it renews"),
        };
        match asked {
            Asked::Pending(id) if asks => {
                waits.get_or_insert(id);
            }
            Asked::Approved(said) if !new.reason.starts_with(ADVISORY) => {
                kind = match said.as_str() {
                    "hardware" => AnchorKind::Hardware,
                    "virtual" => AnchorKind::Virtual,
                    _ => AnchorKind::Software,
                };
            }
            Asked::Approved(_) => {}
            Asked::Pending(id) => return no(&format!("review {id} waits for people: `ca-cli enrollment review`")),
            Asked::Rejected => return no("people rejected it: `ca-cli enrollment review --state rejected`"),
            Asked::Unnamed => {
                return no(&format!(
                    "nobody named this EK, so nobody is asked: `ca-cli device allow NAME --ek {}`, with a name that is not in \
                     the inventory yet",
                    hex::encode(new.ek_spki_sha256)
                ));
            }
            Asked::Full => return no("ten thousand wait already: decide about them"),
        }
    }
    waits.map_or(Ok(kind), |id| Err(NotNow::Waits(id)))
}

fn advised(reason: &'static str, detail: &str) -> NotNow {
    NotNow::Advised {
        reason,
        detail: detail.to_owned(),
    }
}

/// The refusal, and the way on.
fn led(refusal: Refusal, way: &str) -> Refusal {
    // What is led from says itself what is wrong.
    let way = way
        .strip_prefix(&refusal.detail)
        .unwrap_or(way)
        .trim_start_matches("; ");
    Refusal::new(refusal.reason, format!("{}; {way}", refusal.detail))
}

/// A name (DER) in words; bytes that are none in hex.
fn name(der: &[u8]) -> String {
    use der::Decode as _;
    x509_cert::name::Name::from_der(der).map_or_else(|_| hex::encode(der), |name| name.to_string())
}
