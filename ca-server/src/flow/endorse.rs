//! Whom an endorsement is believed for: the manufacturer's certificate, or, where there is none, who vouched for the key.

use attest::{AllowedEk, Endorsed, Evidence, EvidenceBytes, Refusal, UnixTime};

use super::failure::Trouble;
use crate::house::{House, Phase};

/// Judge the evidence of a TPM. Only for an EK without certificate is the inventory asked.
pub(super) fn endorse<E>(house: &House, evidence: EvidenceBytes, now: UnixTime) -> Result<Endorsed, E>
where
    E: From<Refusal> + From<Trouble>,
{
    house.metrics.timed(Phase::Endorse, || {
        let evidence = Evidence::decode(evidence)?;
        let Some(spki_sha256) = evidence.uncertified()? else {
            return Ok(evidence.verify(&house.anchors, now)?);
        };
        let kind = house
            .store
            .ek_allowed(&spki_sha256)
            .map_err(|error| E::from(Trouble::from(error)))?;
        let allowed = kind.map(|kind| AllowedEk { spki_sha256, kind });
        Ok(evidence.verify_allowed(allowed.as_ref())?)
    })
}
