//! One refusal for each check, all else being right.

mod anchors;
mod budget;
mod crls;
mod limbo;
mod refusals;
mod states;

use super::*;
use crate::vendor::{Key, Kind, Spec, VendorCa};
use std::sync::LazyLock;

/// 2026-11-22.
const NOW: UnixTime = UnixTime(1_795_305_600);

/// A vendor: root, issuing CA below it, and the key of a chip.
struct Vendor {
    root: VendorCa,
    issuing: VendorCa,
    chip: Key,
}

static VENDOR: LazyLock<Vendor> = LazyLock::new(|| {
    let root = VendorCa::root("root", Key::new(Kind::P384), |_| {});
    let issuing = root.intermediate("issuing", Key::new(Kind::P256), |_| {});
    Vendor {
        root,
        issuing,
        chip: Key::new(Kind::P256),
    }
});

fn source(name: &str, certificate: &[u8]) -> AnchorSource {
    AnchorSource {
        name: name.to_owned(),
        certificate: certificate.to_vec(),
        kind: AnchorKind::Hardware,
        manufacturers: vec!["id:49465800".to_owned()],
        enforce_expiry: true,
    }
}

/// The vendor's root, and nothing shipped.
fn anchors() -> Anchors {
    Anchors::new(vec![source("vendor", &VENDOR.root.certificate)], vec![]).unwrap()
}

fn ek(ca: &VendorCa, change: impl FnOnce(&mut Spec)) -> Vec<u8> {
    ca.ek(&VENDOR.chip.spki(), change)
}

fn verify(anchors: &Anchors, leaf: &[u8], offered: &[Vec<u8>], now: UnixTime) -> Result<String, Refusal> {
    let frame = Certificate::parse(leaf, Leniencies::VENDOR).unwrap();
    anchors.verify(&frame, offered, now).map(|path| path.anchor.to_owned())
}

/// The detail with which the path is refused.
#[track_caller]
fn refused(anchors: &Anchors, leaf: &[u8], offered: &[Vec<u8>]) -> String {
    let refusal = verify(anchors, leaf, offered, NOW).expect_err("the path must be refused");
    assert_eq!(refusal.reason, crate::Reason::EkChain);
    refusal.detail
}
