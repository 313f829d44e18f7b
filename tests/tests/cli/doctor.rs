//! `ca-cli doctor`: green, red, and nobody there.

use std::collections::BTreeMap;

use device_kit::rig::Rig;
use serde_json::Value;

use crate::kit::{Said, cli, cli_of};

/// Verdict of each check; the issuers are two of one name.
fn verdicts(said: &Said) -> BTreeMap<String, String> {
    let value = said.json();
    assert_eq!(value["schema"], "holdfast.doctor.v1");
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let checks = value["checks"].as_array().unwrap();
    checks
        .iter()
        .map(|c| (text(&c["check"]), text(&c["verdict"])))
        .collect()
}

#[test]
fn a_healthy_house_is_green() {
    let said = cli(&["doctor", "-o", "json"]);
    assert_eq!(said.code, 0, "{said:?}");
    let expected = [
        "audit.writable",
        "db.reachable",
        "hsm.signs",
        "inventory.known",
        "issuance.orphans",
        "issuance.running",
        "issuer.fresh",
        "server.answers",
        "time.forward",
    ];
    let verdicts = verdicts(&said);
    assert_eq!(verdicts.keys().collect::<Vec<_>>(), expected);
    assert!(verdicts.values().all(|v| v == "pass"), "{said:?}");
    let said = cli(&["doctor"]);
    assert!(said.out.starts_with("CHECK "), "{}", said.out);
    assert!(said.out.trim_end().ends_with("All is well."), "{}", said.out);
}

#[test]
fn red_is_three_and_nobody_there_is_seven() {
    let mut rig = Rig::running();
    let said = cli_of(&rig, &["doctor", "-o", "json"]);
    assert_eq!(said.code, 0, "a warning is not red: {said:?}");
    assert_eq!(verdicts(&said)["inventory.known"], "warn");

    // A folder where the file was: nothing can be recorded any more.
    std::fs::remove_file(rig.path("audit.jsonl")).ok();
    std::fs::create_dir(rig.path("audit.jsonl")).unwrap();
    let said = cli_of(&rig, &["doctor", "-o", "json"]);
    assert_eq!(said.code, 3, "{said:?}");
    let red: Vec<Value> = said.json()["checks"].as_array().unwrap().clone();
    let red: Vec<&Value> = red.iter().filter(|c| c["verdict"] == "fail").collect();
    assert_eq!(red.len(), 1, "{said:?}");
    assert_eq!(red[0]["check"], "audit.writable");
    assert!(!red[0]["fix"].as_str().unwrap().is_empty());
    let said = cli_of(&rig, &["doctor"]);
    assert_eq!(said.code, 3);
    assert!(said.out.contains("✖ fail"), "{}", said.out);
    assert!(said.out.contains("2 need attention (1 fail, 1 warn)."), "{}", said.out);

    rig.stop();
    let said = cli_of(&rig, &["doctor", "-o", "json"]);
    assert_eq!(said.code, 7, "{said:?}");
    assert_eq!(
        verdicts(&said),
        BTreeMap::from([("server.answers".into(), "fail".into())])
    );
}
