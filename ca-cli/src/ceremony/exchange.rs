//! Between a server's machine and the ceremony: a request goes there, an archive comes back.

use anyhow::Context as _;
use attest::{Entropy as _, UnixTime};
use ceremony::calendar::DAY;
use ceremony::step::CERTIFICATE;
use ceremony::{Sha256, Work, archive};
use issuance::{CaKey, IssuerRequest};

use super::OsEntropy;
use crate::exit::{Exit, Failure};
use crate::words;

/// How long a request is good.
const GOOD_FOR: i64 = 14 * DAY;

/// A request for the certificate of this key, signed by it, DER: with a nonce, good for 14 days.
pub(crate) fn request(organization: &str, common_name: &str, key: &dyn CaKey) -> Result<Vec<u8>, Failure> {
    let mut nonce = [0; 32];
    OsEntropy.fill(&mut nonce).context("randomness")?;
    let until = UnixTime(words::now().saturating_add(GOOD_FOR));
    let request = IssuerRequest::make(organization, common_name, nonce, until, key);
    request.map_err(|e| Failure::new(Exit::Failed, e.to_string()))
}

/// What a ceremony answered.
pub(crate) struct Accepted {
    /// The issuing CA's certificate, DER.
    pub(crate) issuing: Vec<u8>,
    /// The root's, DER.
    pub(crate) root: Vec<u8>,
}

/// Take the answer to exactly this request, for exactly this key; anything else is refused.
pub(crate) fn accept(
    archive: &[u8],
    request: &[u8],
    key: &dyn CaKey,
    rehearsal_will_do: bool,
) -> Result<Accepted, Failure> {
    let no = |message: String| Failure::new(Exit::No, message);
    let verified = archive::verify(archive, rehearsal_will_do).map_err(|e| no(e.to_string()))?;
    let plan = verified.plan();
    if !matches!(plan.work(), Work::Issuing { .. }) {
        return Err(no(format!(
            "this is the record of a `{}` ceremony, not of an issuing CA's",
            plan.work().kind()
        )));
    }
    let answered = plan.input("request").map(|input| input.sha256);
    let asked = Sha256::of(request);
    if answered != Some(asked) {
        return Err(no(format!(
            "this ceremony answered another request: {}, ours is {asked}",
            answered.map_or_else(|| "none".to_owned(), |a| a.to_string())
        )));
    }
    let certified = IssuerRequest::read(request).map_err(|e| no(e.to_string()))?;
    if certified.spki() != key.spki() {
        return Err(no(format!(
            "E-ISSUER-KEY-MISMATCH: the certificate is for the key {}, the token holds {}",
            Sha256::of(certified.spki()),
            Sha256::of(key.spki())
        )));
    }
    let file = |name: &str| verified.file(name).map(<[u8]>::to_vec);
    let named = plan.input("issuer");
    let named = named.and_then(|input| file(&format!("inputs/{}", input.file)));
    // In a rehearsal of a plan for a real root: the one that stood in for it.
    let root = file(archive::STAND_IN).or(named);
    match (file(&format!("outputs/{CERTIFICATE}")), root) {
        (Some(issuing), Some(root)) => Ok(Accepted { issuing, root }),
        _ => Err(no("the archive has no certificate".into())),
    }
}
