//! A TPM of a vendor nobody decided about: it waits, people decide about this one, it comes back and is enrolled.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Output;

use device_kit::rig::{Rig, Wanted};
use device_kit::soft_tpm::SoftTpm;
use device_kit::vendor::VendorCa;
use serde_json::Value;

use crate::device::{AgentDevice, House, errors, report};

pub(crate) const ALICE: u32 = 61_001;
pub(crate) const BOB: u32 = 61_002;
const CAROL: u32 = 61_003;

/// A CA with three operators that asks people; none when nobody here can become them.
pub(crate) fn house(wanted: Wanted) -> Option<House> {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "run this as root");
        eprintln!("skipped: only root can become other people");
        return None;
    }
    let mut house = House::with(&wanted);
    let _ = house.rig.stop();
    let person = |name: &str, uid: u32| ("operators".to_owned(), name.to_owned(), i64::from(uid).into());
    house.rig.configure(&[
        person("alice", ALICE),
        person("bob", BOB),
        person("carol", CAROL),
        ("enrollment".into(), "unknown_vendor".into(), "review".into()),
        ("enrollment".into(), "quarantined".into(), "review".into()),
        ("trust".into(), "intermediates".into(), toml::Value::Array(Vec::new())),
    ]);
    // Of the vendor of these TPMs it has never heard.
    std::fs::remove_file(house.rig.path("trust/swtpm.toml")).unwrap();
    house.rig.start();
    for folder in [house.rig.dir.path().to_owned(), house.rig.path("")] {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o711)).unwrap();
    }
    Some(house)
}

pub(crate) fn by(house: &House, uid: u32, arguments: &[&str]) -> Output {
    let mut command = house.rig.command("ca-cli");
    command.args(arguments).args(["-o", "json"]);
    command.current_dir("/").uid(uid).gid(0).output().unwrap()
}

pub(crate) fn ends(output: &Output, code: i32) -> Value {
    assert_eq!(output.status.code(), Some(code), "{}", errors(output));
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

fn reviewed(wanted: Wanted) {
    let Some(house) = house(wanted) else { return };
    let [device, other, stranger] = [(); 3].map(|()| AgentDevice::new(&house.vendor));
    let ek = device.ek_sha256("auto");
    let not_long = ["--wait", "1s", "-o", "json"];
    let enroll = |device: &AgentDevice, more: &[&str]| house.enroll(device, &[more, &not_long].concat());

    // A stranger is refused as ever, and leaves nothing.
    let before = house.rig.rows();
    assert_eq!(report(&enroll(&stranger, &[]), 3)["code"], "attestation_rejected");
    assert_eq!(house.rig.rows(), before);
    ends(&by(&house, ALICE, &["device", "allow", "GW-1", "--ek", &ek]), 0);
    ends(
        &by(
            &house,
            ALICE,
            &["device", "allow", "GW-2", "--ek", &other.ek_sha256("auto")],
        ),
        0,
    );
    // Named, it waits; again and again it is the same one that waits.
    for _ in 0..2 {
        let waits = report(&enroll(&device, &[]), 7);
        assert_eq!(waits["code"], "review_pending", "{waits}");
    }
    report(&enroll(&other, &[]), 7);
    let listed = ends(&by(&house, BOB, &["enrollment", "review"]), 0);
    let group = &listed["groups"][0];
    assert_eq!(
        (listed["groups"].as_array().unwrap().len(), &group["waiting"]),
        (1, &2.into()),
        "{listed}"
    );
    let one = &group["items"][0];
    assert_eq!((&one["device"], &one["named_by"]), (&"GW-1".into(), &"alice".into()));
    assert_eq!(one["ek_spki_sha256"], ek.as_str());
    let id = one["id"].to_string();

    // Whoever named it does not approve it; nor does nobody in particular, nor a stranger.
    let approve = ["enrollment", "approve", &id, "--reason", "EK read on the bench"];
    for uid in [ALICE, 0, 65_534] {
        ends(&by(&house, uid, &approve), 6);
    }
    ends(&by(&house, BOB, &["enrollment", "approve", "4711", "--reason", "r"]), 4);
    ends(&by(&house, BOB, &["enrollment", "approve", &id, "--reason", " "]), 2);
    report(&enroll(&device, &[]), 7);

    // The agent waits; two approve at once, and one of them was first.
    let enrolled = std::thread::scope(|scope| {
        let house = &house;
        let (device, approve) = (&device, &approve);
        let waits = scope.spawn(move || house.enroll(device, &["--wait", "60s", "-o", "json"]));
        let two = [BOB, CAROL].map(|uid| scope.spawn(move || by(house, uid, approve)));
        let mut codes = two.map(|one| one.join().unwrap().status.code().unwrap());
        codes.sort_unstable();
        assert_eq!(codes, [0, 5]);
        waits.join().unwrap()
    });
    ends(&enrolled, 0);
    let record = house.record("GW-1");
    let tpm = record.tpm.as_ref().unwrap();
    assert_eq!(
        (tpm.assurance.as_str(), tpm.anchor.as_str()),
        ("hardware-allowlisted", "review")
    );
    assert!(
        house
            .rig
            .audit("GW-1")
            .iter()
            .any(|a| a.action == "enrollment.review.approved")
    );

    // What was approved is this EK: the next one of that vendor waits, and under that name it is nobody.
    assert_eq!(report(&enroll(&other, &[]), 7)["code"], "review_pending");
    let claims = report(&enroll(&stranger, &["--device", "GW-1"]), 3);
    assert_eq!(claims["code"], "attestation_rejected");
    // A renewal stands on the same word, and ends with it.
    assert_eq!(device.json(&["renew", "--force"], 0)["renewed"], true);
    ends(
        &by(&house, BOB, &["enrollment", "reject", &id, "--reason", "taken back"]),
        0,
    );
    let refused = device.agent(&["renew", "--force", "-o", "json"]);
    assert_eq!(report(&refused, 3)["code"], "attestation_rejected");
    // A group is decided by its number.
    let two = by(
        &house,
        BOB,
        &[
            "enrollment",
            "reject",
            "2",
            "--alike",
            "--yes-count",
            "2",
            "--reason",
            "r",
        ],
    );
    ends(&two, 9);
    ends(
        &by(
            &house,
            BOB,
            &[
                "enrollment",
                "reject",
                "2",
                "--alike",
                "--yes-count",
                "1",
                "--reason",
                "r",
            ],
        ),
        0,
    );
    assert_eq!(report(&enroll(&other, &[]), 3)["code"], "attestation_rejected");
}

#[test]
fn a_tpm_of_nobody_we_know_is_reviewed_on_sqlite() {
    reviewed(Wanted::default());
}

#[test]
fn a_tpm_of_nobody_we_know_is_reviewed_on_postgres() {
    reviewed(Wanted::postgres());
}

/// A certificate under the name of a CA of ours, signed by another key: refused, and nobody's to approve.
#[test]
fn a_forgery_is_nobodys_to_approve() {
    let mut rig = Rig::with(&Wanted::default().set("enrollment", "unknown_vendor", "review"));
    let ask = |rig: &Rig, tpm: &SoftTpm| {
        let body = serde_json::to_vec(&tpm.request("device-ldevid", None, None)).unwrap();
        rig.client().post_raw("/v1/enrollments", "application/json", &body)
    };
    let waiting = |rig: &Rig| {
        let count = rig.sql("SELECT count(*) FROM review");
        count.trim().chars().last().unwrap()
    };
    let why = |rig: &Rig, incident: Option<String>| rig.audit_file(&incident.unwrap())[0].detail.clone();
    let other = VendorCa::root("Kit TPM Root");
    let forged = SoftTpm::p256(&other);
    rig.allow("FORGED", &forged);
    let refused = ask(&rig, &forged);
    assert_eq!(refused.status, 403);
    assert_eq!(waiting(&rig), '0');
    let said = why(&rig, refused.problem().incident);
    assert!(said.contains("trust tpm import"), "{said}");
    // Of a name that is nobody's it waits, and says how long.
    let unknown = SoftTpm::p256(&VendorCa::root("Nobody's Root"));
    rig.allow("UNKNOWN", &unknown);
    let unknown = ask(&rig, &unknown);
    assert_eq!(unknown.status, 202);
    assert_eq!(unknown.header("retry-after"), Some("10"));
    assert_eq!(unknown.problem().code, wire::problem::ProblemCode::ReviewPending);
    assert_eq!(waiting(&rig), '1');
    // One that nobody named is refused, and its record says what lets people decide.
    let stranger = SoftTpm::p256(&VendorCa::root("Nobody's Root"));
    let refused = ask(&rig, &stranger);
    assert_eq!(refused.status, 403);
    let said = why(&rig, refused.problem().incident);
    assert!(said.contains("ca-cli device allow NAME --ek"), "{said}");
    assert_eq!(waiting(&rig), '1');

    // Once the vendor's other CA of that name is in the store, as unknown, it is a CA nobody decided about.
    let _ = rig.stop();
    let store = rig.path("trust.toml");
    std::fs::write(rig.path("other.der"), &other.certificate).unwrap();
    let import = rig
        .command("ca-cli")
        .args(["trust", "tpm", "import", "--source", "the vendor", "--store"])
        .args([&store, &rig.path("other.der")])
        .output()
        .unwrap();
    assert!(import.status.success(), "{}", errors(&import));
    std::fs::copy(&store, rig.path("trust/other.toml")).unwrap();
    rig.start();
    assert_eq!(ask(&rig, &forged).status, 202);
    assert_eq!(waiting(&rig), '2');
}
