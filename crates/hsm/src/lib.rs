//! CA keys behind PKCS#11. The only place for cryptoki.

mod key;
mod pin;
mod probe;
mod provision;
mod token;
mod uri;

pub use key::HsmKey;
pub use pin::{PinError, PinSource};
pub use probe::{MechanismVerdict, ProbeReport, SlotReport, TokenReport, probe};
pub use provision::{GeneratedKey, KeySpec, init_token};
pub use token::{HsmError, Token, TokenConfig};
pub use uri::{Pkcs11Uri, UriError};
