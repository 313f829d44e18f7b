//! A TPM that an advisory quarantines: it waits, people let this one in, and are asked again when they learn more. And
//! docs/how-to/review.md, as written.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use device_kit::rig::{Rig, Wanted, binary};
use device_kit::soft_tpm::SoftTpm;
use device_kit::vendor::VendorCa;

use crate::device::{AgentDevice, House, errors, report};
use crate::review::{ALICE, BOB, by, ends, house};

/// A site's advisories about the software TPM: id and verdict.
fn advise(rig: &Rig, rows: &[(&str, &str)]) {
    let rows: String = rows
        .iter()
        .map(|(id, verdict)| {
            format!(
                "[[advisory]]\nid = \"{id}\"\nmanufacturer = \"id:00001014\"\nverdict = \"{verdict}\"\n\
                 why = \"it leaks\"\nsource = \"tests\"\n"
            )
        })
        .collect();
    std::fs::write(rig.path("advisories.toml"), rows).unwrap();
    rig.configure(&[("policy".into(), "advisories".into(), "advisories.toml".into())]);
}

/// The vendor is trusted from now on, and these are the advisories.
fn trust(house: &mut House, anchor: &[u8], rows: &[(&str, &str)]) {
    // Where it was: an agent knows its server.
    let address = house.rig.public().to_string();
    let _ = house.rig.stop();
    std::fs::write(house.rig.path("trust/swtpm.toml"), anchor).unwrap();
    let folders = toml::Value::from(vec!["trust/intermediates"]);
    house.rig.configure(&[
        ("trust".into(), "intermediates".into(), folders),
        ("server".into(), "public".into(), address.into()),
    ]);
    advise(&house.rig, rows);
    house.rig.start();
}

/// The anchor of the vendor of these TPMs.
fn anchor(house: &House) -> String {
    let pem = std::fs::read_to_string(house.vendor.root_pem()).unwrap();
    format!(
        "[[anchor]]\nname = \"swtpm\"\nkind = \"software\"\nmanufacturers = [\"id:00001014\"]\n\
         source = \"swtpm_localca\"\nadded = 2026-11-22\nwhy = \"tests\"\ncertificate = \"\"\"\n{pem}\"\"\"\n"
    )
}

fn quarantined(wanted: Wanted) {
    let Some(mut house) = house(wanted) else { return };
    let anchor = anchor(&house);
    trust(
        &mut house,
        anchor.as_bytes(),
        &[("LEAK-1", "quarantine"), ("TOLD-1", "allow")],
    );
    let [device, stranger] = [(); 2].map(|()| AgentDevice::new(&house.vendor));
    let ek = device.ek_sha256("auto");
    let enroll = |house: &House, device: &AgentDevice, more: &[&str]| {
        house.enroll(device, &[more, &["--wait", "1s", "-o", "json"]].concat())
    };
    let person = |house: &House, uid, arguments: &[&str], code| ends(&by(house, uid, arguments), code);

    // A stranger is refused as ever, and leaves nothing.
    let before = house.rig.rows();
    assert_eq!(
        report(&enroll(&house, &stranger, &[]), 3)["code"],
        "attestation_rejected"
    );
    assert_eq!(house.rig.rows(), before);
    person(&house, ALICE, &["device", "allow", "GW-1", "--ek", &ek], 0);
    for _ in 0..2 {
        assert_eq!(report(&enroll(&house, &device, &[]), 7)["code"], "review_pending");
    }
    let listed = person(&house, BOB, &["enrollment", "review"], 0);
    let groups = listed["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 1, "{listed}");
    let group = &groups[0];
    assert_eq!(
        (
            &group["reason"],
            &group["advisory"],
            &group["waiting"],
            &group["devices_of_advisory"]
        ),
        (&"TPM_QUARANTINED".into(), &"LEAK-1".into(), &1.into(), &0.into()),
        "{listed}"
    );
    let one = &group["items"][0];
    assert_eq!((&one["device"], &one["named_by"]), (&"GW-1".into(), &"alice".into()));
    assert_eq!(
        (&one["why"], &one["issuer"]),
        (&"LEAK-1: it leaks".into(), &"swtpm".into())
    );
    let first = one["id"].to_string();
    // Two people, here too.
    person(&house, ALICE, &["enrollment", "approve", &first, "--reason", "r"], 6);
    person(&house, BOB, &["enrollment", "approve", &first, "--reason", "sealed"], 0);
    ends(&enroll(&house, &device, &[]), 0);
    let tpm = house.record("GW-1").tpm.unwrap();
    assert_eq!(tpm.anchor, "swtpm", "its vendor was never in question");
    let granted = house
        .rig
        .sql("SELECT reason FROM audit WHERE action = 'enrollment.granted'");
    for rule in ["advisory:LEAK-1", "review:LEAK-1", "advisory:TOLD-1"] {
        assert!(granted.contains(rule), "{rule}: {granted}");
    }
    assert!(!granted.contains("review:TOLD-1"), "{granted}");
    assert_eq!(device.json(&["renew", "--force"], 0)["renewed"], true);
    // What a wider decision would speak for, is counted.
    person(
        &house,
        ALICE,
        &["device", "allow", "GW-2", "--ek", &stranger.ek_sha256("auto")],
        0,
    );
    report(&enroll(&house, &stranger, &[]), 7);
    let listed = person(&house, BOB, &["enrollment", "review"], 0);
    assert_eq!(listed["groups"][0]["devices_of_advisory"], 1, "{listed}");

    // Another weakness becomes known: nobody spoke of that. A renewal asks, too, and is refused until people decided.
    trust(
        &mut house,
        anchor.as_bytes(),
        &[("LEAK-1", "quarantine"), ("LEAK-2", "quarantine")],
    );
    for _ in 0..2 {
        let refused = device.agent(&["renew", "--force", "-o", "json"]);
        assert_eq!(report(&refused, 3)["code"], "attestation_rejected");
    }
    let listed = person(&house, BOB, &["enrollment", "review"], 0);
    let again = listed["groups"]
        .as_array()
        .unwrap()
        .iter()
        .find(|group| group["advisory"] == "LEAK-2")
        .unwrap_or_else(|| panic!("{listed}"));
    assert_eq!(again["waiting"], 1);
    let second = again["items"][0]["id"].to_string();
    person(
        &house,
        BOB,
        &["enrollment", "approve", &second, "--reason", "sealed"],
        0,
    );
    assert_eq!(device.json(&["renew", "--force"], 0)["renewed"], true);
    // Taken back is taken back, each for itself.
    person(
        &house,
        BOB,
        &["enrollment", "reject", &first, "--reason", "found open"],
        0,
    );
    let refused = device.agent(&["renew", "--force", "-o", "json"]);
    assert_eq!(report(&refused, 3)["code"], "attestation_rejected");
}

#[test]
fn a_quarantined_tpm_is_reviewed_on_sqlite() {
    quarantined(Wanted::default());
}

#[test]
fn a_quarantined_tpm_is_reviewed_on_postgres() {
    quarantined(Wanted::postgres());
}

/// Whoever its vendor is; and a vendor nobody knows is not asked about for a TPM that would be refused for another reason.
#[test]
fn what_an_advisory_denies_is_nobodys_to_approve() {
    let mut rig = Rig::with(&Wanted::default().set("enrollment", "unknown_vendor", "review").set(
        "enrollment",
        "quarantined",
        "review",
    ));
    let enroll = |rig: &Rig, tpm: &SoftTpm| {
        let reason = |incident: Option<String>| rig.audit_file(&incident.unwrap())[0].reason.clone();
        let body = serde_json::to_vec(&tpm.request("device-ldevid", None, None)).unwrap();
        let begun = rig.client().post_raw("/v1/enrollments", "application/json", &body);
        match begun.status {
            201 => {
                let challenge: wire::enrollment::EnrollmentChallenge = serde_json::from_slice(&begun.body).unwrap();
                let answer = tpm.answer(&challenge).unwrap();
                let refused = rig.client().activate(challenge.id, &answer).unwrap_err();
                reason(refused.problem.incident)
            }
            202 => "waits".to_owned(),
            _ => reason(begun.problem().incident),
        }
    };
    let rows = |rig: &Rig| rig.sql("SELECT count(*) FROM review").trim().chars().last().unwrap();
    let unknown = SoftTpm::p256(&VendorCa::root("Nobody's Root"));
    let known = SoftTpm::p256(&rig.vendor);
    rig.allow("UNKNOWN", &unknown);
    rig.allow("KNOWN", &known);
    let maker = "id:49465800";
    for (verdict, review, of_known, of_unknown, count) in [
        ("deny", "review", "TPM_DENIED", "TPM_DENIED", '0'),
        // Quarantined, and nobody is asked about that: then not about its vendor either.
        ("quarantine", "refuse", "TPM_QUARANTINED", "TPM_QUARANTINED", '0'),
        // The unknown one is asked about twice: its vendor, and the advisory.
        ("quarantine", "review", "waits", "waits", '3'),
    ] {
        let _ = rig.stop();
        let row = format!(
            "[[advisory]]\nid = \"LEAK-1\"\nmanufacturer = \"{maker}\"\nverdict = \"{verdict}\"\nwhy = \"it leaks\"\nsource = \"tests\"\n"
        );
        std::fs::write(rig.path("advisories.toml"), row).unwrap();
        rig.configure(&[
            ("policy".into(), "advisories".into(), "advisories.toml".into()),
            ("enrollment".into(), "quarantined".into(), review.into()),
        ]);
        rig.start();
        assert_eq!(enroll(&rig, &known), of_known, "{verdict} {review}");
        assert_eq!(enroll(&rig, &unknown), of_unknown, "{verdict} {review}");
        assert_eq!(rows(&rig), count, "{verdict} {review}");
    }
}

/// The commands of docs/how-to/review.md, by whom it says: a TPM of an unknown vendor, then one that is quarantined.
#[test]
fn the_page_works_as_written() {
    let Some(mut house) = house(Wanted::default()) else {
        return;
    };
    let page = include_str!("../../../docs/how-to/review.md");
    for line in [
        "unknown_vendor = \"review\" ",
        "quarantined = \"review\" ",
        "alice = 61001",
        "bob = 61002",
    ] {
        assert!(page.contains(line), "{line}");
    }
    let [device, second] = [(); 2].map(|()| AgentDevice::new(&house.vendor));
    let bench = tempfile::tempdir().unwrap();
    std::fs::set_permissions(bench.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let tools = binary("ca-cli");
    let path = format!(
        "{}:{}",
        tools.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let blocks: Vec<(&str, &str)> = page
        .split("```sh run ")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap().split_once('\n').unwrap())
        .collect();
    assert_eq!(blocks.len(), 10);
    let (mut said, mut trusted) = (String::new(), false);
    for (who, block) in blocks {
        if who == "second" && !trusted {
            trusted = true;
            let anchor = anchor(&house);
            trust(&mut house, anchor.as_bytes(), &[("LEAK-1", "quarantine")]);
        }
        let device = if who == "second" { &second } else { &device };
        let mut shell = Command::new("sh");
        shell
            .args(["-euc", block])
            .current_dir(bench.path())
            .env("PATH", &path)
            .env("LC_ALL", "C.UTF-8")
            .env("HOLDFAST_ADMIN_SOCKET", house.rig.path("admin.sock"))
            .env("CA_AGENT_TCTI", device.tpm.tcti())
            .env("CA_AGENT_STATE_DIR", device.state())
            .env("SERVER", house.rig.url())
            .env("ROOT_SHA256", house.root_sha256())
            .env("KIND", "software")
            .stdin(std::process::Stdio::null());
        match who {
            "alice" => shell.uid(ALICE).gid(0),
            "bob" => shell.uid(BOB).gid(0),
            "device" | "second" => &mut shell,
            other => panic!("who is {other}?"),
        };
        let output = shell.output().unwrap();
        assert!(output.status.success(), "{who}: {block}\n{}", errors(&output));
        said.push_str(&String::from_utf8_lossy(&output.stdout));
        said.push_str(&errors(&output));
    }
    for words in [
        "review_pending",
        "ca-cli enrollment approve 1 --reason R",
        "speaks for 0 of the inventory",
        "TPM_QUARANTINED",
        "LEAK-1: it leaks",
        "and 1 of the inventory",
        "GW-7F3K-00412 is enrolled",
        "GW-7F3K-00413 is enrolled",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let anchor = |name: &str| house.record(name).tpm.unwrap().anchor;
    assert_eq!(anchor("GW-7F3K-00412"), "review");
    assert_eq!(anchor("GW-7F3K-00413"), "swtpm");
}
