//! CA keys behind PKCS#11. The only place for cryptoki.
//!
//! A [`Token`] is reached by an RFC 7512 URI and a PIN from a [`PinSource`]; it hands out an [`HsmKey`] only for a
//! private key whose attributes were proven. Sessions are pooled, and the pool heals itself after the token went away.

mod attributes;
mod custody;
mod error;
mod found;
mod key;
mod link;
mod memo;
mod module;
mod pin;
mod pool;
mod probe;
mod provision;
mod public;
mod scheme;
mod token;
mod uri;

pub use attributes::{AttributeVerdict, KeyCustody};
pub use custody::{Destruction, OfficerSignature};
pub use error::HsmError;
pub use found::Found;
pub use key::HsmKey;
pub use module::PinWarning;
pub use pin::{PinError, PinSource, hidden};
pub use probe::{MechanismVerdict, ProbeReport, SlotReport, TokenReport, probe};
pub use provision::{GeneratedKey, KeySpec, init_token};
pub use token::{Token, TokenConfig};
pub use uri::{Pkcs11Uri, UriError};

#[cfg(test)]
mod tests;
