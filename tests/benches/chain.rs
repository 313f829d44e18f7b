//! What it costs to verify an EK certificate up to its anchor, p50 and p99: over a shipped intermediate, over one that the
//! device brings, and the worst that the budget allows; beside single signature checks of the same run.
//!
//! ```text
//! cargo bench -p tests --bench chain -- [--rounds N]
//! ```
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a program for people that measures: what fails must stop it"
)]

use std::time::{Duration, Instant};

use attest::ek::examine;
use attest::trust::{AnchorSource, Anchors};
use attest::{AnchorKind, UnixTime};
use clap::Parser;
use comfy_table::Table;
use device_kit::vendor::{EkContent, VendorCa};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::sign::{Signer, Verifier};

/// 22 November 2026.
const NOW: UnixTime = UnixTime(1_795_305_600);
/// Certificates a request may offer.
const MOST: usize = 16;

/// What to measure.
#[derive(Parser)]
struct Arguments {
    /// Verifications of each kind; the worst case takes a tenth of them.
    #[arg(long, default_value_t = 20_000)]
    rounds: usize,
    /// Passed by cargo.
    #[arg(long)]
    bench: bool,
}

fn key(curve: Nid) -> PKey<Private> {
    let group = EcGroup::from_curve_name(curve).expect("a curve");
    PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key")
}

fn anchors(root: &VendorCa, intermediates: Vec<Vec<u8>>) -> Anchors {
    let root = AnchorSource {
        name: "vendor".into(),
        certificate: root.certificate.clone(),
        kind: AnchorKind::Hardware,
        manufacturers: vec!["id:49465800".into()],
        enforce_expiry: false,
    };
    Anchors::new(vec![root], intermediates).expect("anchors")
}

fn ek(issuer: &VendorCa) -> Vec<u8> {
    let key = key(Nid::X9_62_PRIME256V1);
    issuer.ek_certificate(&key.public_key_to_der().expect("SPKI"), &EkContent::honest(&key))
}

/// p50, p99 and the longest of many.
fn times(rounds: usize, mut once: impl FnMut()) -> [Duration; 3] {
    let mut took: Vec<Duration> = (0..rounds.max(1))
        .map(|_| {
            let begun = Instant::now();
            once();
            begun.elapsed()
        })
        .collect();
    took.sort_unstable();
    [took[took.len() / 2], took[took.len() * 99 / 100], took[took.len() - 1]]
}

/// One signature check with a key that is parsed already.
fn check(curve: Nid, digest: MessageDigest, rounds: usize) -> [Duration; 3] {
    let key = key(curve);
    let mut signer = Signer::new(digest, &key).expect("a signer");
    let signature = signer.sign_oneshot_to_vec(&[7; 800]).expect("a signature");
    times(rounds, || {
        let mut verifier = Verifier::new(digest, &key).expect("a verifier");
        assert!(verifier.verify_oneshot(&signature, &[7; 800]).expect("an answer"));
    })
}

fn main() {
    let arguments = Arguments::parse();
    let rounds = arguments.rounds;
    let root = VendorCa::root("Bench Root");
    let issuing = root.intermediate("Bench Issuing");
    let honest = ek(&issuing);
    let believed = |anchors: &Anchors, offered: &[Vec<u8>]| {
        let found = examine(&honest, offered, anchors, NOW).expect("a certificate");
        assert!(found.refusals().is_empty(), "{:?}", found.refusals());
    };
    let shipped = anchors(&root, vec![issuing.certificate.clone()]);
    let alone = anchors(&root, Vec::new());
    let offered = [issuing.certificate.clone()];

    // Sixteen CAs of one name and of one key that fits none of the signatures: the budget is used up twice, once to
    // believe and once to say why not, on the slowest key that is allowed.
    let slow = key(Nid::SECP384R1);
    let twin = || VendorCa::signed("twin", slow.clone(), Some(&root), &VendorCa::ca_extensions(None));
    let first = twin();
    let mut bomb = vec![first.certificate.clone()];
    while bomb.len() < MOST {
        bomb.push(VendorCa::signed("twin", slow.clone(), Some(&first), &VendorCa::ca_extensions(None)).certificate);
    }
    let stranger = ek(&VendorCa::signed(
        "twin",
        key(Nid::SECP384R1),
        None,
        &VendorCa::ca_extensions(None),
    ));
    let refused = || {
        let found = examine(&stranger, &bomb, &alone, NOW).expect("a certificate");
        assert!(found.path.is_err());
    };

    let mut table = Table::new();
    table.set_header(["", "p50", "p99", "longest"]);
    let mut row = |what: &str, [p50, p99, longest]: [Duration; 3]| {
        table.add_row([
            what.to_owned(),
            format!("{p50:.1?}"),
            format!("{p99:.1?}"),
            format!("{longest:.1?}"),
        ]);
    };
    row(
        "one check, P-256",
        check(Nid::X9_62_PRIME256V1, MessageDigest::sha256(), rounds),
    );
    row(
        "one check, P-384",
        check(Nid::SECP384R1, MessageDigest::sha384(), rounds / 10),
    );
    row("shipped intermediate", times(rounds, || believed(&shipped, &[])));
    row("offered intermediate", times(rounds, || believed(&alone, &offered)));
    row("worst case under the budget", times(rounds / 10, refused));
    println!("{table}");
}
