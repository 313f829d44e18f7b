//! `GET /v1/renewal-info/{certificate}` (RFC 9773): when a certificate is to be renewed. Anybody may ask; what is said is
//! no secret, and a renewal has its own proof.

use issuance::KeyRole;
use policies::Renewal;
use schema::CertificateState;
use wire::renewal::{CertificateId, RenewalInfo, SuggestedWindow};

use crate::flow::enroll::LookupError;
use crate::flow::failure::Trouble;
use crate::house::House;

/// When to renew: two thirds of the life, and a tenth to do it in; or when people called the device to renew what it
/// had then.
///
/// # Errors
/// [`LookupError::NotFound`] for what was not issued here, or is not renewed at all.
pub fn info(house: &House, id: &CertificateId) -> Result<RenewalInfo, LookupError> {
    let row = house.store.certificate(&id.serial).map_err(Trouble::from)?;
    let row = row.ok_or(LookupError::NotFound)?;
    let renewed = house.profiles.get(&row.profile).map(|p| p.renewal());
    let renews = renewed.is_some_and(|renewal| renewal != Renewal::None);
    let issued = row.state == CertificateState::Issued && row.issuer_key_id == id.issuer_key_id;
    let device = row.device.as_deref().ok_or(LookupError::NotFound)?;
    if !issued || !renews || row.key_role != KeyRole::Identity {
        return Err(LookupError::NotFound);
    }
    let call = house.store.renewal_call(device).map_err(Trouble::from)?;
    // What is revoked or on hold cannot renew: it is not called to try.
    let call = call.filter(|call| row.id <= call.upto && row.not_good().is_none());
    let (start, length) = match call {
        Some(call) => (call.at, call.within),
        None => {
            let life = row.not_after.saturating_sub(row.not_before);
            (row.not_before.saturating_add(life / 3 * 2), (life / 10).max(1))
        }
    };
    Ok(RenewalInfo {
        suggested_window: SuggestedWindow {
            start: told(start)?,
            end: told(start.saturating_add(length))?,
        },
        explanation_url: None,
    })
}

fn told(seconds: i64) -> Result<String, LookupError> {
    let time = jiff::Timestamp::from_second(seconds).map_err(|e| Trouble::Bug(e.to_string()))?;
    Ok(time.to_string())
}
