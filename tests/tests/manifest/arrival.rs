//! Devices that a manifest names come to a CA that never saw them.

use device_kit::rig::{Rig, Wanted};
use device_kit::soft_tpm::SoftTpm;
use serde_json::Value;

use crate::kit::*;

/// A CA that believes the factory's key.
pub(crate) fn believing(wanted: &Wanted) -> Rig {
    let mut rig = Rig::initialised(wanted);
    make_key(&rig);
    let signers = toml::Value::from(vec!["manifest-key.pem"]);
    rig.configure(&[("manifests".into(), "signers".into(), signers)]);
    rig.start();
    rig
}

fn table(devices: &[(&str, &SoftTpm)]) -> String {
    let lines = devices
        .iter()
        .map(|(name, tpm)| format!("{name},{}\n", hex::encode(tpm.ek.sha256())));
    "serial,ek\n".to_owned() + &lines.collect::<String>()
}

fn import(rig: &Rig, file: &std::path::Path, code: i32) -> Value {
    ends(&run(rig, &["manifest", "import", file.to_str().unwrap()]), code)
}

fn expected_devices_come(wanted: &Wanted) {
    let rig = believing(wanted);
    let client = rig.client();
    let [one, two, three, stranger] = [(); 4].map(|()| SoftTpm::p256(&rig.vendor));
    let lot = signed(
        &rig,
        "lot",
        "2026-47-B",
        &table(&[("GW-1", &one), ("GW-2", &two), ("GW-3", &three)]),
    );
    let enroll = |tpm: &SoftTpm, name: Option<&str>| client.enroll(tpm, &tpm.request("device-ldevid", None, name));

    // Before: nobody is expected, and nothing of the manifest is written where nobody believes its signer.
    assert_eq!(enroll(&one, None).unwrap_err().problem.status, 403);
    let imported = import(&rig, &lot, 0);
    assert_eq!(imported["manifest"]["state"], "complete");
    assert_eq!(imported["manifest"]["lines_read"], 3);
    // Again is a success.
    assert_eq!(import(&rig, &lot, 0)["manifest"]["id"], imported["manifest"]["id"]);

    let enrolled = enroll(&one, None).unwrap();
    assert_eq!(enrolled.device, "GW-1");
    let device = rig.device("GW-1").unwrap();
    assert_eq!(
        (device.batch.as_deref(), device.state.as_str()),
        (Some("2026-47-B"), "active")
    );
    assert!(
        rig.audit("GW-1")
            .iter()
            .any(|a| a.action == "device.arrived" && a.reason == "MANIFEST")
    );
    // Its name is the one of the manifest, and nobody else's.
    assert_eq!(enroll(&two, Some("GW-3")).unwrap_err().problem.status, 409);
    assert_eq!(enroll(&stranger, Some("GW-2")).unwrap_err().problem.status, 403);
    assert_eq!(enroll(&two, Some("GW-2")).unwrap().device, "GW-2");

    // Taken back: who is here stays, who is not is not expected.
    let id = imported["manifest"]["id"].to_string();
    ends(&run(&rig, &["manifest", "withdraw", &id, "--reason", "stolen"]), 0);
    assert_eq!(enroll(&three, None).unwrap_err().problem.status, 403);
    let again = enroll(&one, None).unwrap();
    assert_eq!(
        again.certificates[0].serial, enrolled.certificates[0].serial,
        "GW-1 has its identity"
    );
    assert_eq!(rig.device("GW-1").unwrap().state, "active");
    assert!(rig.device("GW-3").is_none());
}

#[test]
fn expected_devices_come_on_sqlite() {
    expected_devices_come(&Wanted::default());
}

#[test]
fn expected_devices_come_on_postgres() {
    expected_devices_come(&Wanted::postgres());
}

/// Who is not named in server.toml says nothing, and the CA's own key is nobody's.
#[test]
fn a_signer_nobody_named_is_not_heard() {
    let mut rig = Rig::initialised(&Wanted::default());
    make_key(&rig);
    let tpm = SoftTpm::p256(&rig.vendor);
    let lot = signed(&rig, "lot", "one", &table(&[("GW-1", &tpm)]));
    rig.start();
    let before = rig.rows();
    let refused = run(&rig, &["manifest", "import", lot.to_str().unwrap()]);
    ends(&refused, 6);
    assert!(errors(&refused).contains("[manifests] signers"), "{}", errors(&refused));
    assert_eq!(rig.rows(), before);
    let _ = rig.stop();
    let own = std::fs::read(rig.path("ca/issuing.pem")).unwrap();
    let own = openssl::x509::X509::from_pem(&own).unwrap().public_key().unwrap();
    std::fs::write(rig.path("own.pem"), own.public_key_to_pem().unwrap()).unwrap();
    rig.configure(&[("manifests".into(), "signers".into(), vec!["own.pem"].into())]);
    let refused = rig.refuses_to_start();
    assert!(
        errors(&refused).contains("the issuing CA's own key"),
        "{}",
        errors(&refused)
    );
}

/// A device is handed on: the next owner's manifest stands for it; and a repair gives it another TPM.
#[test]
fn transfer_and_repair_mean_what_the_page_says() {
    let rig = believing(&Wanted::default());
    let client = rig.client();
    let [one, two, repaired, again] = [(); 4].map(|()| SoftTpm::p256(&rig.vendor));
    let enroll = |tpm: &SoftTpm| client.enroll(tpm, &tpm.request("device-ldevid", None, None));
    let name = |kind: &str, lot: &str, table: String| signed(&rig, kind, lot, &table);
    let hash = |tpm: &SoftTpm| hex::encode(tpm.ek.sha256());
    let refused = |output: &Value| output["refused"][0]["reason"].as_str().unwrap_or_default().to_owned();
    let lot = name("lot", "lot", table(&[("GW-1", &one), ("GW-2", &two)]));
    import(&rig, &lot, 0);

    // The same devices in another lot: refused, line by line. In a transfer: taken.
    let twice = import(&rig, &name("lot", "lot-again", table(&[("GW-1", &one)])), 8);
    assert!(refused(&twice).contains("only a transfer names it again"), "{twice}");
    let cloned = import(&rig, &name("transfer", "clone", table(&[("GW-9", &one)])), 8);
    assert!(refused(&cloned).contains("`GW-1` of lot `lot` has it"), "{cloned}");
    let other = import(&rig, &name("transfer", "other-ek", table(&[("GW-1", &repaired)])), 8);
    assert!(refused(&other).contains("with another EK"), "{other}");
    import(&rig, &name("transfer", "sold", table(&[("GW-1", &one)])), 0);
    assert_eq!(enroll(&one).unwrap().device, "GW-1");
    assert_eq!(rig.device("GW-1").unwrap().batch.as_deref(), Some("sold"));

    // A repair of what has not come: the old TPM is out, the new one is in.
    let rma = format!("serial,ek,was\nGW-2,{},{}\n", hash(&repaired), hash(&two));
    let rma = import(&rig, &name("repair", "rma", rma), 0);
    assert_eq!(enroll(&two).unwrap_err().problem.status, 403);
    assert_eq!(enroll(&repaired).unwrap().device, "GW-2");
    assert_eq!(rma["manifest"]["kind"], "repair");
    // The TPM that went does not come again in another lot, under any name.
    let back = import(&rig, &name("transfer", "back", table(&[("GW-7", &two)])), 8);
    assert!(refused(&back).contains("it went with a repair"), "{back}");
    // A repair of what is here: two people decide, not a file.
    let rma = format!("serial,ek,was\nGW-1,{},{}\n", hash(&again), hash(&one));
    let rma = import(&rig, &name("repair", "rma-2", rma), 8);
    assert!(refused(&rma).contains("two people replace it"), "{rma}");
    assert_eq!(enroll(&again).unwrap_err().problem.status, 403);
}
