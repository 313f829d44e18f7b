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

fn told(reason: &str) -> Result<&str, DeviceError> {
    let fits = !reason.trim().is_empty() && reason.chars().count() <= LONGEST && !reason.contains(char::is_control);
    if fits { Ok(reason) } else { Err(DeviceError::Reason) }
}
