//! The curves OpenSSL knows, set up once: a constant that costs a fifth of a signature each time it is made anew.

use std::sync::OnceLock;

use openssl::ec::{EcGroup, EcGroupRef};
use openssl::error::ErrorStack;
use openssl::nid::Nid;

/// The group of P-256, P-384 or P-521.
pub(crate) fn group(curve: Nid) -> Result<&'static EcGroupRef, ErrorStack> {
    static P256: OnceLock<EcGroup> = OnceLock::new();
    static P384: OnceLock<EcGroup> = OnceLock::new();
    static P521: OnceLock<EcGroup> = OnceLock::new();
    let place = match curve {
        Nid::X9_62_PRIME256V1 => &P256,
        Nid::SECP384R1 => &P384,
        Nid::SECP521R1 => &P521,
        // Nothing here asks for another.
        _ => return Err(ErrorStack::get()),
    };
    if let Some(group) = place.get() {
        return Ok(group);
    }
    let group = EcGroup::from_curve_name(curve)?;
    Ok(place.get_or_init(|| group))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_that_was_asked_for() {
        for curve in [Nid::X9_62_PRIME256V1, Nid::SECP384R1, Nid::SECP521R1] {
            for _ in 0..2 {
                assert_eq!(group(curve).unwrap().curve_name(), Some(curve));
            }
        }
        assert!(group(Nid::SECP256K1).is_err());
    }
}
