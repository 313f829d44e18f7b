//! One device of a manifest, shown without the others, and every octet of what shows it.

use std::sync::LazyLock;

use issuance::{SignatureAlgorithm, Statement};
use manifest::{Proof, Proven};

use crate::kit::*;

/// A signed lot of eleven, and what shows its seventh device.
static SHOWN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let rig = factory();
    let root = rig.path("ca/root.pem").display().to_string();
    let lines = (0..11).map(|n| format!("GW-{n:02},{},device-idevid={root}\n", ek(&format!("{n}"))));
    // Each certificate is of one device: the others have none.
    let lines = lines.map(|line| {
        if line.starts_with("GW-06") {
            line
        } else {
            line.replace(&format!("device-idevid={root}"), "")
        }
    });
    let table = "serial,ek,certificates\n".to_owned() + &lines.collect::<String>();
    signed(rig, "lot", "lot-of-eleven", &table);
    let told = ends(&prove("lot-of-eleven.signed", "GW-06", "GW-06.proof"), 0);
    assert_eq!((&told["line"], &told["entries"]), (&8.into(), &11.into()), "{told}");
    std::fs::read(rig.path("GW-06.proof")).unwrap()
});

fn prove(file: &str, device: &str, out: &str) -> std::process::Output {
    run(
        factory(),
        &["manifest", "prove", file, "--device", device, "--out", out],
    )
}

/// `ca-cli manifest verify --proof`.
fn verify(name: &str, bytes: &[u8]) -> std::process::Output {
    let rig = factory();
    std::fs::write(rig.path(name), bytes).unwrap();
    run(
        rig,
        &["manifest", "verify", "--proof", name, "--signer", "manifest-key.pem"],
    )
}

/// What the program does, as a function.
fn judged(bytes: &[u8], believed: &[u8; 32]) -> Option<Proven> {
    let proven = Proof::parse(bytes).ok()?.verify().ok()?;
    let (seal, spki) = (&proven.seal, proven.seal.spki());
    let algorithm = SignatureAlgorithm::from_text(&seal.algorithm)?;
    let digest = proven.closing.digest().unwrap();
    let good = openssl::sha::sha256(&spki) == *believed
        && Statement::Manifest.is_signed(&digest, algorithm, &spki, &seal.signature());
    good.then_some(proven)
}

fn believed() -> [u8; 32] {
    let pem = std::fs::read(factory().path("manifest-key.pem")).unwrap();
    let key = openssl::pkey::PKey::public_key_from_pem(&pem).unwrap();
    openssl::sha::sha256(&key.public_key_to_der().unwrap())
}

#[test]
fn a_device_is_shown_without_the_others() {
    let told = ends(&verify("good.proof", &SHOWN), 0);
    assert_eq!(
        (&told["device"], &told["lot"]),
        (&"GW-06".into(), &"lot-of-eleven".into())
    );
    assert_eq!((&told["ek"][0], &told["line"]), (&ek("6").into(), &8.into()));
    assert_eq!(told["identities"][0]["profile"], "device-idevid", "{told}");
    assert_eq!(told["verified"], true);
    let text = String::from_utf8(SHOWN.clone()).unwrap();
    assert!(SHOWN.len() < 4096 && !text.contains("GW-05") && !text.contains("GW-07"));
    // Every device of the lot has one, the first and the last too.
    for device in ["GW-00", "GW-10"] {
        let out = format!("{device}.proof");
        ends(&prove("lot-of-eleven.signed", device, &out), 0);
        let bytes = std::fs::read(factory().path(&out)).unwrap();
        assert_eq!(ends(&verify(&out, &bytes), 0)["device"], device);
    }
}

/// Each octet in turn, changed in four ways, left out, or put in twice: nobody is convinced.
#[test]
fn every_octet_changed_once_is_found() {
    let believed = believed();
    assert!(judged(&SHOWN, &believed).is_some(), "good as it is");
    for at in 0..SHOWN.len() {
        for bits in [0x01, 0x04, 0x20, 0x80] {
            let mut changed = SHOWN.clone();
            changed[at] ^= bits;
            assert!(judged(&changed, &believed).is_none(), "octet {at} ^ {bits:#x}");
        }
        let mut less = SHOWN.clone();
        less.remove(at);
        assert!(judged(&less, &believed).is_none(), "without octet {at}");
        let mut more = SHOWN.clone();
        more.insert(at, SHOWN[at]);
        assert!(judged(&more, &believed).is_none(), "octet {at} twice");
        assert!(judged(&SHOWN[..at], &believed).is_none(), "cut at {at}");
        // The program itself says no, now and then.
        if at % 151 == 0 {
            let mut changed = SHOWN.clone();
            changed[at] ^= 1;
            let output = verify("changed.proof", &changed);
            assert_eq!(output.status.code(), Some(3), "octet {at}: {}", errors(&output));
        }
    }
}

/// Lines of a genuine proof in another's place, and a key nobody named.
#[test]
fn parts_of_two_proofs_are_none() {
    let rig = factory();
    LazyLock::force(&SHOWN);
    ends(&prove("lot-of-eleven.signed", "GW-03", "GW-03.proof"), 0);
    let lines = |bytes: &[u8]| -> Vec<String> {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        text.lines().map(|line| format!("{line}\n")).collect()
    };
    let (one, other) = (lines(&SHOWN), lines(&std::fs::read(rig.path("GW-03.proof")).unwrap()));
    let mut mixed = one.clone();
    mixed[2].clone_from(&other[2]);
    let output = verify("mixed.proof", mixed.concat().as_bytes());
    assert_eq!(output.status.code(), Some(3));
    assert!(errors(&output).contains("not over this device"), "{}", errors(&output));
    // Of another lot of the same maker: its header.
    signed(rig, "lot", "lot-beside", &format!("serial,ek\nGW-06,{}\n", ek("6")));
    ends(&prove("lot-beside.signed", "GW-06", "beside.proof"), 0);
    let beside = lines(&std::fs::read(rig.path("beside.proof")).unwrap());
    let mut mixed = one.clone();
    mixed[1].clone_from(&beside[1]);
    let output = verify("header.proof", mixed.concat().as_bytes());
    assert!(errors(&output).contains("not over this header"), "{}", errors(&output));
    let mut mixed = one;
    mixed[4].clone_from(&beside[4]);
    let output = verify("seal.proof", mixed.concat().as_bytes());
    assert!(
        errors(&output).contains("the signature is not good"),
        "{}",
        errors(&output)
    );
    let arguments = ["manifest", "verify", "--proof", "GW-03.proof", "--signer-sha256"];
    let output = run(rig, &[&arguments[..], &[&ek("another key")]].concat());
    ends(&output, 3);
    assert!(errors(&output).contains("signed by another key"), "{}", errors(&output));
}

#[test]
fn what_cannot_be_shown_is_said() {
    LazyLock::force(&SHOWN);
    let output = prove("lot-of-eleven.signed", "GW-99", "none.proof");
    ends(&output, 4);
    assert!(
        errors(&output).contains("no device `GW-99` is in it"),
        "{}",
        errors(&output)
    );
    let output = prove("lot-of-eleven.draft", "GW-06", "none.proof");
    ends(&output, 3);
    assert!(errors(&output).contains("it is not signed"), "{}", errors(&output));
    assert!(!factory().path("none.proof").exists() && !factory().path("none.proof.part").exists());
    ends(&prove("lot-of-eleven.signed", "GW-06", "GW-06.proof"), 5);
}
