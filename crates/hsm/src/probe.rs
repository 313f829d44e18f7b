//! What a module can do, for `ca-cli hsm probe`.

use std::path::Path;

use cryptoki::context::Pkcs11;
use cryptoki::mechanism::{MechanismInfo, MechanismType};
use cryptoki::slot::Slot;

use crate::module::{Module, PinWarning};
use crate::{HsmError, scheme};

/// Everything a module shows without login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeReport {
    /// Library description and version.
    pub library: String,
    /// Slots with a token.
    pub slots: Vec<SlotReport>,
}

/// One slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotReport {
    /// Slot id; changes between starts, never store it.
    pub id: u64,
    /// Description.
    pub description: String,
    /// The token in it.
    pub token: Option<TokenReport>,
}

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenReport {
    /// Label.
    pub label: String,
    /// Serial number.
    pub serial: String,
    /// Manufacturer and model.
    pub model: String,
    /// Warnings of the token about its PIN: count low, final try, locked.
    pub pin_warning: Option<String>,
    /// One verdict per CA algorithm we could use.
    pub verdicts: Vec<MechanismVerdict>,
}

/// Whether a CA algorithm can be used with this token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MechanismVerdict {
    /// Algorithm in words, for example `ECDSA P-256 SHA-256`.
    pub algorithm: String,
    /// Whether key generation and signing mechanisms are there.
    pub usable: bool,
    /// Mechanisms found or missing.
    pub detail: String,
}

/// Look at a module. No PIN is tried.
///
/// # Errors
/// [`HsmError`].
pub fn probe(module: &Path) -> Result<ProbeReport, HsmError> {
    let module = Module::load(module)?;
    let _gate = module.enter();
    let pkcs11 = module.pkcs11();
    let info = pkcs11.get_library_info()?;
    let library = format!(
        "{} {} by {} (PKCS#11 {})",
        info.library_description(),
        info.library_version(),
        info.manufacturer_id(),
        info.cryptoki_version()
    );
    let mut slots = Vec::new();
    for slot in pkcs11.get_all_slots()? {
        let about = pkcs11.get_slot_info(slot)?;
        let token = match pkcs11.get_token_info(slot) {
            Ok(info) if about.token_present() && info.token_initialized() => Some(TokenReport {
                label: info.label().to_owned(),
                serial: info.serial_number().to_owned(),
                model: format!("{} {}", info.manufacturer_id(), info.model()),
                pin_warning: PinWarning::of(&info).map(|warning| warning.to_string()),
                verdicts: verdicts(pkcs11, slot),
            }),
            // Empty, not initialised, or it does not answer: nothing a CA could use.
            _ => None,
        };
        slots.push(SlotReport {
            id: slot.id(),
            description: about.slot_description().to_owned(),
            token,
        });
    }
    Ok(ProbeReport { library, slots })
}

fn verdicts(pkcs11: &Pkcs11, slot: Slot) -> Vec<MechanismVerdict> {
    scheme::ALL
        .into_iter()
        .map(|algorithm| {
            let material = scheme::material(algorithm);
            let (signing, signing_name) = scheme::mechanism(algorithm);
            let (making, making_name) = material.generation();
            let sizes = |info: &MechanismInfo| (info.min_key_size()..=info.max_key_size()).contains(&material.bits());
            let able = |kind: MechanismType, can: fn(&MechanismInfo) -> bool| {
                scheme::able(pkcs11, slot, kind, |info| can(info) && sizes(info))
            };
            let missing: Vec<_> = [
                (making_name, able(making, MechanismInfo::generate_key_pair)),
                (signing_name, able(signing.mechanism_type(), MechanismInfo::sign)),
            ]
            .into_iter()
            .filter_map(|(name, there)| (!there).then_some(name))
            .collect();
            MechanismVerdict {
                algorithm: scheme::name(algorithm).to_owned(),
                usable: missing.is_empty(),
                detail: if missing.is_empty() {
                    format!("{making_name}, {signing_name}")
                } else {
                    format!("missing for {} bits: {}", material.bits(), missing.join(", "))
                },
            }
        })
        .collect()
}
