//! `POST /v1/devices/{name}/hold` and `/release`: what people say about a device. Written down before it is answered.

use issuance::AuditRecord;
use schema::DeviceRow;

use super::failure::Trouble;
use crate::house::House;

/// Longest reason, in characters.
const LONGEST: usize = 500;

/// Why nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// No such device is in the inventory.
    #[error("there is no device of this name")]
    NotFound,
    /// A reason that is none.
    #[error("reason: 1 to {LONGEST} characters, no control characters")]
    Reason,
    /// A time that is none.
    #[error("within: 1 to {LONGEST_WITHIN} seconds")]
    Within,
    /// Not the caller's fault.
    #[error(transparent)]
    Trouble(#[from] Trouble),
}

impl From<schema::StoreError> for DeviceError {
    fn from(error: schema::StoreError) -> Self {
        Self::Trouble(error.into())
    }
}

/// Hold a device: nothing more is issued to it, nor renewed, from the commit on. Or release it. What stands so already
/// is a success.
///
/// # Errors
/// [`DeviceError`].
pub fn hold(house: &House, actor: &str, name: &str, held: bool, reason: &str) -> Result<DeviceRow, DeviceError> {
    let action = if held { "device.held" } else { "device.released" };
    let audit = AuditRecord {
        at: house.clock.read().now,
        action: action.to_owned(),
        actor: actor.to_owned(),
        subject: name.to_owned(),
        reason: "ADMIN".to_owned(),
        detail: told(reason)?.to_owned(),
    };
    if !house.store.hold_device(name, held, &audit)? {
        return Err(DeviceError::NotFound);
    }
    tracing::warn!(device = name, actor, "{action}");
    house.store.device_by_name(name)?.ok_or(DeviceError::NotFound)
}

/// Longest time in which a device may be called to renew, and the time when nothing is said: seconds.
const LONGEST_WITHIN: i64 = 30 * 86_400;
const WITHIN: i64 = 3600;

/// Call a device to renew what it has now, each at a moment of its own within so many seconds. It hears of it when it
/// asks for renewal information.
///
/// # Errors
/// [`DeviceError`].
pub fn call_renewal(
    house: &House,
    actor: &str,
    name: &str,
    within: Option<i64>,
    reason: &str,
) -> Result<DeviceRow, DeviceError> {
    let within = within.unwrap_or(WITHIN);
    if !(1..=LONGEST_WITHIN).contains(&within) {
        return Err(DeviceError::Within);
    }
    let audit = AuditRecord {
        at: house.clock.read().now,
        action: "device.renewal.called".to_owned(),
        actor: actor.to_owned(),
        subject: name.to_owned(),
        reason: "ADMIN".to_owned(),
        detail: told(reason)?.to_owned(),
    };
    if !house.store.call_renewal(name, within, &audit)? {
        return Err(DeviceError::NotFound);
    }
    tracing::warn!(device = name, actor, within, "device.renewal.called");
    house.store.device_by_name(name)?.ok_or(DeviceError::NotFound)
}

fn told(reason: &str) -> Result<&str, DeviceError> {
    let fits = !reason.trim().is_empty() && reason.chars().count() <= LONGEST && !reason.contains(char::is_control);
    if fits { Ok(reason) } else { Err(DeviceError::Reason) }
}
