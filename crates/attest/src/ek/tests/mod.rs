//! Real certificates, and one refusal for each check.

mod allowed;
mod corpus;
mod key;
mod profile;
mod swtpm;
mod table;

use super::*;
use crate::trust::AnchorSource;
use crate::vendor::{EkFields, Key, Kind, Spec, VendorCa};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// 2026-11-22.
const NOW: UnixTime = UnixTime(1_795_305_600);

/// A vendor's root, and a chip with an ECC EK.
struct Vendor {
    root: VendorCa,
    chip: Key,
}

static VENDOR: LazyLock<Vendor> = LazyLock::new(|| Vendor {
    root: VendorCa::root("root", Key::new(Kind::P384), |_| {}),
    chip: Key::new(Kind::P256),
});

/// An RSA EK; making one takes a while.
static RSA: LazyLock<Key> = LazyLock::new(|| Key::new(Kind::Rsa(2048)));

fn anchors(kind: AnchorKind, manufacturers: &[&str]) -> Anchors {
    let source = AnchorSource {
        name: "vendor".to_owned(),
        certificate: VENDOR.root.certificate.clone(),
        kind,
        manufacturers: manufacturers.iter().map(|id| (*id).to_owned()).collect(),
        enforce_expiry: true,
    };
    Anchors::new(vec![source], vec![]).unwrap()
}

fn ifx() -> Anchors {
    anchors(AnchorKind::Hardware, &["id:49465800"])
}

/// The certificate of the chip's L-2 EK as `change` leaves it, verified below `anchors`.
fn verify_changed(anchors: &Anchors, change: impl FnOnce(&mut Spec)) -> Result<EkFacts, Refusal> {
    verify_key(anchors, "L-2", &VENDOR.chip, change)
}

fn verify_key(
    anchors: &Anchors,
    template: &str,
    key: &Key,
    change: impl FnOnce(&mut Spec),
) -> Result<EkFacts, Refusal> {
    let certificate = VENDOR.root.ek(&key.spki(), change);
    let public = TpmtPublic::parse(&EkFields::of(template).encode(key)).unwrap();
    verify(&certificate, &[], &public, anchors, NOW)
}

/// The detail with which the changed certificate is refused for `reason`; unchanged it must pass.
#[track_caller]
fn refused(reason: Reason, change: impl FnOnce(&mut Spec)) -> String {
    let refusal = verify_changed(&ifx(), change).expect_err("the certificate must be refused");
    assert_eq!(refusal.reason, reason, "{refusal}");
    refusal.detail
}
