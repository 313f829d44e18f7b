//! A recall: find by what was proven, hold, revoke from the list, release.

use std::sync::LazyLock;

use device_kit::rig::Rig;
use device_kit::soft_tpm::SoftTpm;
use serde_json::Value;
use wire::problem::ProblemCode;

use crate::kit::{Folder, Said, cli_of};

/// A CA whose devices nobody else looks at.
fn rig() -> &'static Rig {
    static RIG: LazyLock<Rig> = LazyLock::new(Rig::running);
    &RIG
}

fn cli(arguments: &[&str]) -> Said {
    cli_of(rig(), arguments)
}

/// The JSON of a run that ended with `code`.
fn said(code: i32, arguments: &[&str]) -> Value {
    let said = cli(&[arguments, &["-o", "json"]].concat());
    assert_eq!(said.code, code, "{arguments:?}: {said:?}");
    said.json()
}

/// A device with an LDevID; its certificate.
fn device(name: &str, batch: &str) -> (SoftTpm, Vec<u8>) {
    let tpm = SoftTpm::p256(&rig().vendor);
    let ek = hex::encode(tpm.ek.sha256());
    said(0, &["device", "allow", name, "--ek", &ek, "--batch", batch]);
    let result = rig()
        .client()
        .enroll(&tpm, &tpm.request("device-ldevid", None, None))
        .unwrap();
    let certificate = result.certificates[0].certificate.0.clone();
    (tpm, certificate)
}

#[test]
fn a_held_device_neither_enrolls_nor_renews_until_it_is_released() {
    let (tpm, certificate) = device("held", "lot-q");
    let client = rig().client().showing(&certificate, &tpm.identity);
    // Begun before the hold: the hold counts when the certificate would be recorded.
    let open = client.begin_renewal().unwrap();
    let answer = tpm.answer_renewal(&open, &certificate, &tpm.identity).unwrap();
    let tried = said(0, &["device", "hold", "held", "--reason", "recall", "--dry-run"]);
    assert_eq!(
        (&tried["counts"]["would"], &tried["items"][0]["outcome"]),
        (&1.into(), &"would".into())
    );
    assert_eq!(
        said(0, &["device", "show", "held"])["device"]["state"],
        "active",
        "a dry run does nothing"
    );

    let done = said(0, &["device", "hold", "held", "--reason", "recall 2026-12"]);
    assert_eq!(done["items"][0]["outcome"], "done");
    assert_eq!(done["items"][0]["device"]["state"], "held");
    let again = said(0, &["device", "hold", "held", "--reason", "again"]);
    assert_eq!(again["counts"]["already"], 1);
    let told = said(0, &["audit", "show", "held"]);
    assert_eq!(told["items"][0]["action"], "device.held");
    assert_eq!(told["items"][0]["detail"], "recall 2026-12");
    assert!(told["items"][0]["actor"].as_str().unwrap().starts_with("uid:"));

    let refused = client.activate_renewal(open.id, &answer).unwrap_err().problem;
    assert_eq!(refused.code, ProblemCode::PolicyDenied, "{refused}");
    let request = tpm.request("device-idevid", Some("device-iak"), None);
    let refused = rig().client().enroll(&tpm, &request).unwrap_err().problem;
    assert_eq!(refused.code, ProblemCode::PolicyDenied, "{refused}");
    assert!(cli(&["device", "find", "--name", "held"]).out.contains(" held "));

    let back = said(0, &["device", "release", "held", "--reason", "updated"]);
    assert_eq!(back["items"][0]["device"]["state"], "active");
    assert_eq!(
        said(0, &["audit", "show", "held"])["items"][0]["action"],
        "device.released"
    );
    // The same device, the same requests: the hold was all that stood in their way.
    client.renew(&tpm, &certificate, &tpm.identity).unwrap();
    rig().client().enroll(&tpm, &request).unwrap();
}

#[test]
fn a_recall_goes_from_the_list_of_what_was_proven() {
    for name in ["recall-a", "recall-b"] {
        device(name, "lot-recall");
    }
    device("other", "lot-other");
    said(
        0,
        &[
            "device",
            "allow",
            "recall-c",
            "--first-contact",
            "1h",
            "--batch",
            "lot-recall",
        ],
    );
    let folder = Folder::new();
    // The kit's firmware is 1.515.
    let find = [
        "device",
        "find",
        "--tpm-vendor",
        "IFX",
        "--tpm-fw",
        "<1.516",
        "--batch",
        "lot-recall",
        "--all",
    ];
    let list = cli(&[&find[..], &["-o", "json"]].concat()).out;
    let list = folder.put("list.json", list.as_bytes());
    let fine = ["device", "find", "--tpm-fw", "<1.515", "--all"];
    assert!(said(0, &fine)["items"].as_array().unwrap().is_empty());

    let wrong = cli(&["device", "hold", "--from", &list, "--reason", "r", "--yes-count", "3"]);
    assert_eq!(wrong.code, 9, "{wrong:?}");
    assert!(wrong.err.contains("2 devices, not 3"), "{wrong:?}");
    let held = said(
        0,
        &["device", "hold", "--from", &list, "--reason", "r", "--yes-count", "2"],
    );
    assert_eq!(held["counts"]["done"], 2);
    let tried = said(0, &["revoke", "--from", &list, "--reason", "superseded", "--dry-run"]);
    assert_eq!(
        (&tried["counts"]["would"], &tried["would_by_batch"]["lot-recall"]),
        (&2.into(), &2.into())
    );
    let done = said(
        0,
        &["revoke", "--from", &list, "--reason", "superseded", "--yes-count", "2"],
    );
    assert_eq!(done["counts"]["done"], 2);
    let released = said(0, &["device", "release", "--from", &list, "--reason", "r"]);
    assert_eq!(released["items"][1]["device"]["state"], "revoked");
    assert_eq!(said(0, &["device", "show", "other"])["device"]["state"], "active");
}

#[test]
fn a_hold_without_a_device_or_a_reason_is_refused() {
    assert_eq!(cli(&["device", "hold", "nobody", "--reason", "r"]).code, 4);
    assert_eq!(cli(&["device", "hold", "nobody"]).code, 2);
    device("reason", "lot-q");
    for reason in ["", " ", "a\nb", &"x".repeat(501)] {
        let refused = cli(&["device", "hold", "reason", "--reason", reason]);
        assert_eq!(refused.code, 2, "{refused:?}");
    }
    assert_eq!(said(0, &["device", "show", "reason"])["device"]["state"], "active");
    said(0, &["device", "hold", "reason", "--reason", &"x".repeat(500)]);
}
