//! `revoke`, `hold`, `release` and `cert status`, and what the other verbs show afterwards.

use std::sync::LazyLock;

use device_kit::rig::Rig;
use device_kit::soft_tpm::SoftTpm;
use serde_json::Value;

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

/// A new device with an IAK and an IDevID; its serials.
fn device(name: &str) -> (SoftTpm, Vec<String>) {
    let tpm = SoftTpm::p256(&rig().vendor);
    let ek = hex::encode(tpm.ek.sha256());
    said(0, &["device", "allow", name, "--ek", &ek, "--batch", "lot-r"]);
    let request = tpm.request("device-idevid", Some("device-iak"), None);
    let result = rig().client().enroll(&tpm, &request).unwrap();
    let serials = result.certificates.into_iter().map(|c| c.serial).collect();
    (tpm, serials)
}

fn outcomes(value: &Value) -> Vec<&str> {
    value["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["outcome"].as_str().unwrap())
        .collect()
}

#[test]
fn one_certificate_is_revoked_and_everybody_shows_it() {
    let (_tpm, serials) = device("one");
    let [iak, idevid] = serials.as_slice() else {
        panic!("{serials:?}")
    };
    let colons: Vec<String> = iak
        .to_uppercase()
        .as_bytes()
        .chunks(2)
        .map(|c| String::from_utf8_lossy(c).into())
        .collect();
    let tried = said(0, &["revoke", &colons.join(":"), "--reason", "superseded", "--dry-run"]);
    assert_eq!(outcomes(&tried), ["would"]);
    assert_eq!(tried["counts"]["would"], 1);
    assert_eq!(tried["would_by_batch"]["lot-r"], 1);
    assert_eq!(
        said(0, &["cert", "status", iak])["status"]["revocation"],
        Value::Null,
        "a dry run does nothing"
    );

    let done = said(0, &["revoke", iak, "--reason", "superseded", "--comment", "spare part"]);
    assert_eq!(outcomes(&done), ["done"]);
    assert_eq!(done["others"][0], **idevid, "the rest of the device is offered");
    let again = said(0, &["revoke", iak, "--reason", "cessationOfOperation"]);
    assert_eq!(outcomes(&again), ["already"]);

    let shown = cli(&["device", "show", "one"]).out;
    let state = |serial: &str| shown.lines().find(|l| l.ends_with(serial)).unwrap().to_owned();
    assert!(state(iak).contains("revoked (superseded)"), "{shown}");
    assert!(state(idevid).contains("issued"), "{shown}");
    assert!(cli(&["device", "tree", "one"]).out.contains("✖ device-iak"));
    let found = said(0, &["device", "find", "--name", "one"]);
    assert_eq!(found["items"][0]["state"], "active");
    let status = cli(&["cert", "status", iak]).out;
    assert!(
        status.contains("revoked (superseded)") && status.contains("spare part"),
        "{status}"
    );

    let worse = said(0, &["revoke", iak, "--reason", "keyCompromise"]);
    assert_eq!(worse["items"][0]["revocation"]["reason"], "keyCompromise");
    let audit = said(0, &["audit", "show", "one"]);
    assert_eq!(audit["items"][0]["action"], "certificate.revoked");
    assert_eq!(audit["items"][0]["reason"], "keyCompromise");
    for verb in ["hold", "release"] {
        let refused = cli(&[verb, iak]);
        assert_eq!(refused.code, 5, "{refused:?}");
        assert!(refused.err.contains("keyCompromise"), "{refused:?}");
    }
}

#[test]
fn a_device_is_all_its_certificates_and_a_hold_can_be_released() {
    let (tpm, serials) = device("all");
    let held = said(0, &["hold", "all", "--comment", "lost"]);
    assert_eq!(outcomes(&held), ["done", "done"]);
    assert_eq!(said(0, &["device", "show", "all"])["device"]["state"], "on_hold");
    assert!(cli(&["device", "find", "--name", "all"]).out.contains("on hold"));
    let request = tpm.request("device-idevid", Some("device-iak"), None);
    let refused = rig().client().enroll(&tpm, &request).unwrap_err().problem;
    assert_eq!(
        refused.code,
        wire::problem::ProblemCode::CertificateRevoked,
        "{refused}"
    );
    assert!(refused.detail.unwrap().contains("on hold"));
    assert_eq!(outcomes(&said(0, &["release", "all"])), ["done", "done"]);
    assert_eq!(outcomes(&said(0, &["release", "all"])), ["already", "already"]);
    assert_eq!(said(0, &["device", "show", "all"])["device"]["state"], "active");
    // One of two revoked: the other is held, and the run says that it was not all.
    said(0, &["revoke", &serials[0], "--reason", "superseded"]);
    let partly = said(8, &["hold", "all"]);
    let mut both = outcomes(&partly);
    both.sort_unstable();
    assert_eq!(both, ["done", "failed"]);
    assert_eq!(
        outcomes(&said(0, &["revoke", "all", "--reason", "privilegeWithdrawn"])).len(),
        2
    );
    assert_eq!(said(0, &["device", "show", "all"])["device"]["state"], "revoked");
    // A compromised key gets nothing more, by whatever way it comes.
    said(0, &["revoke", "all", "--reason", "keyCompromise"]);
    let refused = rig().client().enroll(&tpm, &request).unwrap_err().problem;
    assert_eq!(refused.code, wire::problem::ProblemCode::KeyRejected, "{refused}");
}

#[test]
fn many_are_counted_first_and_the_same_command_goes_on() {
    let names: Vec<String> = (0..51).map(|n| format!("many-{n:02}")).collect();
    for name in &names {
        device(name);
    }
    let folder = Folder::new();
    let list = folder.put("list.csv", format!("# a lot\n{}\n", names.join(",x\n")).as_bytes());
    let revoke = ["revoke", "--from", &list, "--reason", "cessationOfOperation"];
    let tried = said(0, &[&revoke[..], &["--dry-run"]].concat());
    assert_eq!(
        (
            tried["counts"]["would"].as_u64(),
            tried["would_by_batch"]["lot-r"].as_u64()
        ),
        (Some(102), Some(102))
    );
    for more in [&[][..], &["--no-input"], &["--yes-count", "101"]] {
        let stopped = cli(&[&revoke[..], more].concat());
        assert_eq!((stopped.code, stopped.out.as_str()), (9, ""), "{stopped:?}");
        assert!(stopped.err.contains("102"), "{stopped:?}");
    }
    let state = |name: &str| said(0, &["device", "show", name])["device"]["state"].clone();
    assert_eq!(state("many-00"), "active", "nothing was done so far");
    // As if an earlier run had been cut off.
    said(0, &["revoke", "many-07", "--reason", "superseded"]);
    let done = said(0, &[&revoke[..], &["--yes-count", "100"]].concat());
    assert_eq!(
        (done["counts"]["done"].as_u64(), done["counts"]["already"].as_u64()),
        (Some(100), Some(2))
    );
    let again = said(0, &revoke);
    assert_eq!(
        (again["counts"]["done"].as_u64(), again["counts"]["already"].as_u64()),
        (Some(0), Some(102))
    );
    assert!(names.iter().all(|name| state(name) == "revoked"));
    // The list may be what `device find` printed, and come through a pipe.
    let found = said(0, &["device", "find", "--name", "many-", "--limit", "1000"]);
    let list = folder.put("list.json", found.to_string().as_bytes());
    assert_eq!(
        outcomes(&said(0, &["revoke", "--from", &list, "--reason", "superseded"])).len(),
        102
    );
}

#[test]
fn what_is_not_there_is_not_found_before_anything_is_done() {
    let (_tpm, serials) = device("there");
    let folder = Folder::new();
    let list = folder.put("list", format!("{}\nnot-there\n", serials[0]).as_bytes());
    let missed = cli(&["revoke", "--from", &list, "--reason", "superseded"]);
    assert_eq!((missed.code, missed.out.as_str()), (4, ""), "{missed:?}");
    assert!(missed.err.contains("not-there"), "{missed:?}");
    assert_eq!(said(0, &["device", "show", "there"])["device"]["state"], "active");
    for (code, arguments) in [
        (
            4,
            &["revoke", "00000000000000000000000000000000", "--reason", "superseded"][..],
        ),
        (4, &["cert", "status", "00000000000000000000000000000000"]),
        (2, &["cert", "status", "there"]),
        (2, &["revoke", "there"]),
        (2, &["revoke", "there", "--reason", "certificateHold"]),
        (2, &["revoke", "there", "--reason", "removeFromCRL"]),
        (2, &["revoke", "--reason", "superseded"]),
        (2, &["revoke", "there", "--from", &list, "--reason", "superseded"]),
        (2, &["revoke", "there", "--reason", "superseded", "--rate", "0/h"]),
        (2, &["revoke", "../admin", "--reason", "superseded"]),
        (2, &["hold", "there", "--comment", "a\nb"]),
    ] {
        assert_eq!(cli(arguments).code, code, "{arguments:?}");
    }
    // A twin in the list is one certificate; a rate is kept and changes nothing else.
    let list = folder.put("twins", format!("{0}\nthere\n{0}\n", serials[0]).as_bytes());
    let done = said(
        0,
        &["revoke", "--from", &list, "--reason", "superseded", "--rate", "100/s"],
    );
    assert_eq!(outcomes(&done), ["done", "done"]);
}

/// A key that stayed is in every certificate of a lineage.
#[test]
fn the_whole_lineage_follows_when_it_is_asked_for() {
    let tpm = SoftTpm::p256(&rig().vendor);
    rig().allow("kin", &tpm);
    let request = tpm.request("device-ldevid", None, None);
    let mut held = rig().client().enroll(&tpm, &request).unwrap().certificates.remove(0);
    let mut serials = vec![held.serial.clone()];
    for _ in 0..2 {
        let der = held.certificate.0.clone();
        let client = rig().client().showing(&der, &tpm.identity);
        held = client.renew(&tpm, &der, &tpm.identity).unwrap().certificates.remove(0);
        serials.push(held.serial.clone());
    }
    let status = said(0, &["cert", "status", &serials[1]]);
    assert_eq!(status["status"]["lineage"], serde_json::json!(serials), "{status:#}");
    let shown = |value: &Value| -> Vec<String> {
        let items = value["items"].as_array().unwrap().iter();
        let mut all: Vec<String> = items.map(|i| i["serial"].as_str().unwrap().to_owned()).collect();
        all.sort();
        all
    };
    let revoke = ["revoke", &serials[1], "--reason", "keyCompromise"];
    let alone = said(0, &[&revoke[..], &["--dry-run"]].concat());
    assert_eq!(shown(&alone), [serials[1].clone()]);
    let tried = said(0, &[&revoke[..], &["--lineage", "--dry-run"]].concat());
    let mut all = serials.clone();
    all.sort();
    assert_eq!(shown(&tried), all);
    let done = said(0, &[&revoke[..], &["--lineage"]].concat());
    assert_eq!(shown(&done), all);
    for serial in &serials {
        let record = rig().device("kin").unwrap();
        let one = record.certificates.iter().find(|c| c.serial == *serial).unwrap();
        assert!(one.revocation.is_some(), "{serial}");
    }
}
