//! Frames: what is refused, and each leniency with and without.

mod bombs;
mod frame;
mod leniency;
mod wycheproof;

use super::asn1::BadDer;
use super::*;
use crate::vendor::{Key, Kind, Spec, VendorCa};
use std::sync::LazyLock;

static CA: LazyLock<VendorCa> = LazyLock::new(|| VendorCa::root("root", Key::new(Kind::P256), |_| {}));
static CHIP: LazyLock<Key> = LazyLock::new(|| Key::new(Kind::P256));

fn ek(change: impl FnOnce(&mut Spec)) -> Vec<u8> {
    CA.ek(&CHIP.spki(), change)
}

/// Everything of a certificate that is ever read, read.
fn read(der: &[u8], leniencies: Leniencies) -> Result<(), BadDer> {
    let certificate = Certificate::parse(der, leniencies)?;
    PublicKey::parse(certificate.spki, leniencies)?;
    SignatureAlgorithm::parse(certificate.signature_algorithm, leniencies)?;
    let extensions = &certificate.extensions;
    extensions.basic_constraints()?;
    extensions.key_usage()?;
    extensions.extended_key_usage()?;
    extensions.authority_key_id()?;
    extensions.alternative_attributes(|_, _| Ok(()))?;
    Ok(())
}
