//! Every field of a signed manifest, changed: as it is, and with the root put right. Each time exactly that is refused.

use std::sync::LazyLock;

use manifest::{Closing, root_of};

use crate::kit::{ek, ends, errors, factory, run, signed};

/// A lot: header, three devices, one of them with an identity, closing, seal.
static LOT: LazyLock<Vec<String>> = LazyLock::new(|| {
    let rig = factory();
    let root = rig.path("ca/root.pem").display().to_string();
    let table = format!(
        "serial,ek,certificates\nGW-3,{},\nGW-1,{},device-idevid={root}\nGW-2,{},\n",
        ek("3"),
        ek("1"),
        ek("2")
    );
    lines(&signed(rig, "lot", "lot-of-three", &table))
});

/// A repair: header, one device, closing, seal.
static REPAIR: LazyLock<Vec<String>> = LazyLock::new(|| {
    let table = format!("serial,ek,was\nGW-1,{},{}\n", ek("new"), ek("old"));
    lines(&signed(factory(), "repair", "rma-7", &table))
});

fn lines(path: &std::path::Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// `ca-cli manifest verify`: exit code and all it said.
fn verify(name: &str, text: &str) -> (Option<i32>, String) {
    let rig = factory();
    let file = format!("{name}.tampered");
    std::fs::write(rig.path(&file), text).unwrap();
    let output = run(rig, &["manifest", "verify", &file, "--signer", "manifest-key.pem"]);
    let said = errors(&output) + &String::from_utf8_lossy(&output.stdout);
    (output.status.code(), said)
}

fn joined(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// The closing line, true of what stands above it.
fn put_right(lines: &mut [String]) {
    let end = lines.len() - 2;
    let root = root_of(lines[..end].iter().map(String::as_bytes));
    let closing = Closing::new(u64::try_from(end - 1).unwrap(), &root);
    lines[end] = String::from_utf8(closing.line().unwrap()).unwrap();
}

/// Change one text of one line; then once more with the root put right.
fn field(name: &str, of: &[String], line: usize, from: &str, to: &str) {
    assert_eq!(verify(&format!("{name}-good"), &joined(of)).0, Some(0), "good as it is");
    let mut changed = of.to_vec();
    assert!(
        changed[line].contains(from),
        "the change must change something: {}",
        changed[line]
    );
    changed[line] = changed[line].replacen(from, to, 1);
    let (code, said) = verify(name, &joined(&changed));
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("the root is not that of the lines"), "{said}");
    put_right(&mut changed);
    let (code, said) = verify(&format!("{name}-rooted"), &joined(&changed));
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("the signature is not good"), "{said}");
}

macro_rules! fields {
    ($($name:ident: $of:ident[$line:expr], $from:expr => $to:expr;)+) => { $(
        #[test]
        fn $name() {
            field(stringify!($name), &$of, $line, $from, &$to);
        }
    )+ };
}

fields! {
    another_kind: LOT[0], "\"kind\":\"lot\"" => "\"kind\":\"transfer\"";
    another_lot: LOT[0], "lot-of-three" => "lot-of-four";
    another_maker: LOT[0], "Example GmbH" => "Example AG";
    another_owner: LOT[0], "Owner AG" => "Thief AG";
    no_owner: LOT[0], "\"to\":\"Owner AG\"," => "";
    another_time: LOT[0], "\"made_at\":1" => "\"made_at\":2";
    another_serial: LOT[3], "GW-3" => "GW-4";
    another_model: LOT[1], "GW-7" => "GW-8";
    another_ek: LOT[1], &ek("1") => ek("of a thief");
    one_more_ek: LOT[1], "\"ek\":[" => format!("\"ek\":[\"{}\",", "00".repeat(32));
    another_profile_of_an_identity: LOT[1], "device-idevid" => "device-ldevid";
    another_serial_of_an_identity: LOT[1], "\"identities\":[{\"profile\":\"device-idevid\",\"serial\":\"" => "\"identities\":[{\"profile\":\"device-idevid\",\"serial\":\"00";
    another_end_of_an_identity: LOT[1], "\"not_after\":" => "\"not_after\":1";
    no_identity: LOT[1], "\"identities\":[" => "\"identities\":[{\"profile\":\"x\",\"serial\":\"00\",\"sha256\":\"0000000000000000000000000000000000000000000000000000000000000000\",\"not_after\":1},";
    another_ek_that_went: REPAIR[1], &ek("old") => ek("of another");
}

#[test]
fn another_certificate_of_an_identity() {
    let start = LOT[1].find("\"sha256\":\"").unwrap() + 10;
    let from = LOT[1][start..start + 64].to_owned();
    field("another_certificate", &LOT, 1, &from, &ek("of a thief"));
}

/// A change of the closing line or the seal, or of the order of lines: what is said, exactly.
fn refused(name: &str, change: impl FnOnce(&mut Vec<String>), word: &str) {
    let mut lines = LOT.to_vec();
    change(&mut lines);
    let (code, said) = verify(name, &joined(&lines));
    assert_eq!(code, Some(3), "{name}: {said}");
    assert!(said.contains(word), "{name}: {said}");
}

#[test]
fn another_version() {
    refused(
        "version",
        |l| l[0] = l[0].replacen("manifest\":1", "manifest\":2", 1),
        "version 2",
    );
}

#[test]
fn another_number_of_devices() {
    refused(
        "count",
        |l| l[4] = l[4].replacen(":3,", ":4,", 1),
        "another number of devices",
    );
}

#[test]
fn another_root() {
    refused(
        "root",
        |l| l[4] = format!("{{\"entries\":3,\"root\":\"{}\"}}", ek("x")),
        "the root is not",
    );
}

#[test]
fn another_algorithm() {
    refused(
        "algorithm",
        |l| l[5] = l[5].replacen("p256-sha256", "p384-sha384", 1),
        "the signature is not good",
    );
    refused(
        "algorithm",
        |l| l[5] = l[5].replacen("ecdsa-p256-sha256", "none", 1),
        "unknown signature algorithm",
    );
}

#[test]
fn another_key() {
    use base64::Engine as _;
    let group = openssl::ec::EcGroup::from_curve_name(openssl::nid::Nid::X9_62_PRIME256V1).unwrap();
    let thief = openssl::pkey::PKey::from_ec_key(openssl::ec::EcKey::generate(&group).unwrap()).unwrap();
    let spki = thief.public_key_to_der().unwrap();
    // The thief signs for himself: good by his key, which nobody named.
    let closing = Closing::parse(LOT[4].as_bytes()).unwrap();
    let bytes = issuance::Statement::Manifest.bytes(&closing.digest().unwrap());
    let mut signer = openssl::sign::Signer::new(openssl::hash::MessageDigest::sha256(), &thief).unwrap();
    let signature = signer.sign_oneshot_to_vec(&bytes).unwrap();
    let seal = manifest::Seal::new("ecdsa-p256-sha256", &spki, &signature);
    let line = String::from_utf8(seal.line().unwrap()).unwrap();
    refused("key", |l| l[5] = line, "signed by another key");
    // His key with the maker's signature, and the maker's with his.
    let theirs = manifest::Seal::parse(LOT[5].as_bytes()).unwrap();
    let mixed = manifest::Seal::new("ecdsa-p256-sha256", &theirs.spki(), &signature);
    let line = String::from_utf8(mixed.line().unwrap()).unwrap();
    refused("mixed", |l| l[5] = line, "the signature is not good");
    let encoded = base64::engine::general_purpose::STANDARD.encode(&spki);
    let start = LOT[5].find("\"key\":\"").unwrap() + 7;
    let end = start + LOT[5][start..].find('"').unwrap();
    refused(
        "swapped",
        |l| l[5].replace_range(start..end, &encoded),
        "signed by another key",
    );
}

#[test]
fn a_signature_over_something_else() {
    let of_repair = REPAIR.last().unwrap().clone();
    refused("other", |l| l[5] = of_repair, "the signature is not good");
}

#[test]
fn no_signature() {
    refused("unsigned", |l| drop(l.pop()), "it is not signed");
}

#[test]
fn cut_short() {
    refused("cut", |l| l.truncate(4), "cut short");
    let text = joined(&LOT);
    let (code, said) = verify("no-end", &text[..text.len() - 1]);
    assert!(code == Some(3) && said.contains("it has no end"), "{said}");
}

#[test]
fn something_behind_the_signature() {
    refused("behind", |l| l.push("{}".into()), "behind the signature");
}

#[test]
fn a_device_taken_out() {
    refused("out", |l| drop(l.remove(2)), "another number of devices");
    refused(
        "out",
        |l| {
            l.remove(2);
            put_right(l);
        },
        "the signature is not good",
    );
}

#[test]
fn a_device_put_in() {
    let line = LOT[3].replacen("GW-3", "GW-9", 1).replace(&ek("3"), &ek("9"));
    refused(
        "in",
        |l| {
            l.insert(4, line);
            put_right(l);
        },
        "the signature is not good",
    );
}

#[test]
fn two_devices_in_the_other_order() {
    refused("order", |l| l.swap(1, 2), "the root is not");
}

#[test]
fn another_spelling_of_the_same() {
    refused(
        "spelling",
        |l| l[1] = l[1].replacen("\":", "\": ", 1),
        "the root is not",
    );
    refused(
        "header",
        |l| l[0] = l[0].replacen("\":", "\": ", 1),
        "not the one spelling",
    );
    refused("unknown", |l| l[0] = l[0].replacen("{", "{\"x\":1,", 1), "line 1");
}

/// A factory that signs what is not a manifest: each bad line is named, all of them, and the answer is no.
#[test]
fn bad_lines_under_a_good_signature_are_named_each() {
    let rig = factory();
    let mut text = LOT.to_vec();
    text[2] = text[2].replace(&ek("2"), &ek("1"));
    text[3] = text[3].replace("GW-3", "GW-1");
    put_right(&mut text);
    text.pop();
    std::fs::write(rig.path("bad.draft"), joined(&text)).unwrap();
    // Our own tool does not sign it.
    let refused = crate::kit::sign(rig, "bad.draft", "bad.signed");
    ends(&refused, 3);
    assert!(
        errors(&refused).contains("line 4: serial GW-1 stands behind GW-2"),
        "{}",
        errors(&refused)
    );
    assert!(!rig.path("bad.signed").exists() && !rig.path("bad.signed.part").exists());
}

#[test]
fn what_is_twice_is_not_made() {
    let rig = factory();
    let make = |table: &str| {
        std::fs::write(rig.path("twice.csv"), table).unwrap();
        let arguments = [
            "manifest",
            "create",
            "--lot",
            "twice",
            "--maker",
            "M",
            "--model",
            "X",
            "--from",
            "twice.csv",
            "--out",
            "twice.draft",
        ];
        run(rig, &arguments)
    };
    let same_serial = make(&format!("serial,ek\nA,{}\nA,{}\n", ek("1"), ek("2")));
    ends(&same_serial, 5);
    assert!(
        errors(&same_serial).contains("A is named twice"),
        "{}",
        errors(&same_serial)
    );
    let same_ek = make(&format!("serial,ek\nA,{}\nB,{}\n", ek("1"), ek("1")));
    ends(&same_ek, 5);
    assert!(errors(&same_ek).contains("is of A and B"), "{}", errors(&same_ek));
    let bad = make(&format!("serial,ek\nA,{}\nB..C,{}\nD,nothing\n", ek("1"), ek("2")));
    ends(&bad, 2);
    for word in ["2 bad lines", "line 3: serial", "line 4: "] {
        assert!(errors(&bad).contains(word), "{}", errors(&bad));
    }
    assert!(!rig.path("twice.draft").exists());
}
