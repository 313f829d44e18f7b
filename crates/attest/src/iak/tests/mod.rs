//! One refusal for each check, all else being right.

mod answers;
mod certificates;
mod shapes;

use super::*;
use crate::rot::Basis;
use crate::rot::{RotBinding, RotKind};
use crate::trust::{AnchorSource, CaSource, HashOf, RefusedHash, Standing};
use crate::vendor::{CsrSpec, EXTENDED_KEY_USAGE, Key, Kind, SUBJECT_ALT_NAME, Spec, VendorCa, common_name, key_usage};
use crate::vendor::{oid, seq, tlv, utf8};
use crate::{AnchorKind, Assurance, EntropyError, Root};
use der::Encode as _;
use der::asn1::OctetString;
use std::sync::LazyLock;

/// 2026-11-22.
const NOW: UnixTime = UnixTime(1_795_305_600);

const RESIDENCY: &str = "2.23.133.11.1.1";
const FIXED: &str = "2.23.133.11.1.2";
const RESTRICTED: &str = "2.23.133.11.1.3";
const POLICIES: &str = "2.5.29.32";
const ROT_BINDING: &str = "1.3.6.1.4.1.32473.27071.1.1";

const AK_ATTRIBUTES: u32 = 0x0005_00F2;
const KEY_ATTRIBUTES: u32 = 0x0004_00F2;

/// A manufacturer and one device of his.
struct Factory {
    root: VendorCa,
    issuing: VendorCa,
    iak: Key,
    idevid: Key,
    identity: Key,
    lak: Key,
}

static FACTORY: LazyLock<Factory> = LazyLock::new(|| {
    let root = VendorCa::root("maker root", Key::new(Kind::P384), |_| {});
    let issuing = root.intermediate("maker issuing", Key::new(Kind::P256), |_| {});
    let key = || Key::new(Kind::P256);
    Factory {
        root,
        issuing,
        iak: key(),
        idevid: key(),
        identity: key(),
        lak: key(),
    }
});

struct Os;

impl Entropy for Os {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        openssl::rand::rand_bytes(out).map_err(|_| EntropyError)
    }
}

/// A P-256 public area with ECDSA and SHA-256, or with no scheme.
fn public(key: &Key, attributes: u32, scheme: bool) -> Vec<u8> {
    let spki = key.spki();
    let point = &spki[spki.len() - 64..];
    let mut out = vec![0x00, 0x23, 0x00, 0x0B];
    out.extend(attributes.to_be_bytes());
    out.extend([0, 0, 0x00, 0x10]);
    out.extend(if scheme {
        &[0x00, 0x18, 0x00, 0x0B][..]
    } else {
        &[0x00, 0x10]
    });
    out.extend([0x00, 0x03, 0x00, 0x10]);
    for part in point.chunks(32) {
        out.extend([0, 32]);
        out.extend(part);
    }
    out
}

fn iak_public() -> Vec<u8> {
    public(&FACTORY.iak, AK_ATTRIBUTES, true)
}

fn policies(list: &[&str]) -> Vec<u8> {
    let list: Vec<u8> = list.iter().flat_map(|policy| seq(&[&oid(policy)])).collect();
    seq(&[&list])
}

/// An honest certificate of the device `unit-1` under these policies, but for the change.
fn certificate(ca: &VendorCa, key: &Key, under: &[&str], change: impl FnOnce(&mut Spec)) -> Vec<u8> {
    ca.ek(&key.spki(), |spec| {
        spec.subject = common_name("unit-1");
        spec.extensions.clear();
        spec.with("2.5.29.15", Some(true), key_usage(0x80));
        spec.with(POLICIES, None, policies(under));
        change(spec);
    })
}

fn iak_with(change: impl FnOnce(&mut Spec)) -> Vec<u8> {
    certificate(&FACTORY.issuing, &FACTORY.iak, &[RESIDENCY, RESTRICTED], change)
}

fn idevid_with(change: impl FnOnce(&mut Spec)) -> Vec<u8> {
    certificate(&FACTORY.issuing, &FACTORY.idevid, &[RESIDENCY, FIXED], change)
}

/// What a Holdfast CA says about the public area of the IAK.
fn binding(change: impl FnOnce(&mut RotBinding)) -> Vec<u8> {
    let name = OctetString::new(TpmtPublic::parse(&iak_public()).unwrap().name()).unwrap();
    let mut binding = RotBinding {
        version: 1,
        rot_kind: RotKind::Tpm,
        ek_spki_sha256: OctetString::new([7; 32]).unwrap(),
        ak_name: name.clone(),
        ik_name: name,
        evidence_sha256: OctetString::new([8; 32]).unwrap(),
        parent_rot: None,
    };
    change(&mut binding);
    binding.to_der().unwrap()
}

fn source(name: &str, certificate: &[u8]) -> AnchorSource {
    AnchorSource {
        name: name.to_owned(),
        certificate: certificate.to_vec(),
        kind: AnchorKind::Hardware,
        manufacturers: Vec::new(),
        enforce_expiry: true,
    }
}

fn sources() -> TrustSources {
    TrustSources {
        about: About::Iak,
        anchors: vec![source("maker", &FACTORY.root.certificate)],
        ..TrustSources::default()
    }
}

fn manufacturers(change: impl FnOnce(&mut TrustSources)) -> Manufacturers {
    let mut sources = sources();
    change(&mut sources);
    Manufacturers::of(sources).unwrap()
}

fn evidence(certificate: Vec<u8>) -> IakBytes {
    IakBytes {
        certificate,
        idevid: None,
        chain: vec![FACTORY.issuing.certificate.clone()],
        public: iak_public(),
    }
}

fn verify(bytes: IakBytes, manufacturers: &Manufacturers) -> Result<Vouched, Refusal> {
    IakEvidence::decode(bytes)?.verify(manufacturers, NOW)
}

fn honest() -> Vouched {
    verify(evidence(iak_with(|_| {})), &manufacturers(|_| {})).unwrap()
}

#[track_caller]
fn refused(bytes: IakBytes, reason: Reason) -> String {
    refused_by(bytes, &manufacturers(|_| {}), reason)
}

#[track_caller]
fn refused_by(bytes: IakBytes, manufacturers: &Manufacturers, reason: Reason) -> String {
    let refusal = verify(bytes, manufacturers).expect_err("it must be refused");
    assert_eq!(refusal.reason, reason, "{}", refusal.detail);
    refusal.detail
}

fn context(attestation: bool) -> ChallengeContext {
    ChallengeContext {
        id: [3; 16],
        profile: "device-ldevid".to_owned(),
        attestation_profile: attestation.then(|| "device-lak".to_owned()),
        device: Some("unit-1".to_owned()),
        issued_at: NOW,
        expires_at: UnixTime(NOW.0 + 120),
    }
}
