//! `ca-cli device find` and `audit show`: filters, pages, and why.

use serde_json::Value;

use crate::kit::{DEVICE, House, LOCAL, cli, house};

/// Names found.
fn names(arguments: &[&str]) -> Vec<String> {
    let said = cli(&[&["device", "find", "-o", "json"], arguments].concat());
    assert_eq!(said.code, 0, "{said:?}");
    let value = said.json();
    let name = |d: &Value| d["name"].as_str().unwrap().to_owned();
    value["items"].as_array().unwrap().iter().map(name).collect()
}

#[test]
fn each_filter_filters() {
    for name in ["find-a", "find-b"] {
        let said = cli(&["device", "allow", name, "--first-contact", "1h", "--batch", "lot-find"]);
        assert_eq!(said.code, 0, "{said:?}");
    }
    assert_eq!(names(&["--name", "find-"]), ["find-a", "find-b"]);
    assert_eq!(names(&["--name", "find-b"]), ["find-b"]);
    assert_eq!(names(&["--batch", "lot-find"]), ["find-a", "find-b"]);
    assert_eq!(names(&["--batch", "lot-find", "--name", "d-a"]), ["find-a"]);
    assert_eq!(names(&["--batch", "lot"]), [""; 0], "a lot has one name");
    for vendor in ["IFX", "id:49465800"] {
        assert_eq!(names(&["--tpm-vendor", vendor]), [DEVICE, LOCAL]);
    }
    assert_eq!(names(&["--tpm-vendor", "STM"]), [""; 0]);
    // The rig's vendor: firmware 1.2.
    let shown = cli(&["device", "find", "--name", DEVICE, "-o", "json"]).json();
    let tpm = &shown["items"][0]["tpm"];
    let version = wire::firmware::Firmware::from_certificate(tpm["version"].as_str().unwrap()).unwrap();
    assert_eq!(names(&["--tpm-model", tpm["model"].as_str().unwrap()]), [DEVICE, LOCAL]);
    assert_eq!(names(&["--tpm-model", "other"]), [""; 0]);
    for (operator, found) in [("<", 0), ("<=", 2), ("=", 2), (">=", 2), (">", 0)] {
        let rule = format!("{operator}{version}");
        assert_eq!(
            names(&["--tpm-vendor", "IFX", "--tpm-fw", &rule]),
            [DEVICE, LOCAL][..found],
            "{rule}"
        );
        assert_eq!(
            names(&["--tpm-fw", &rule, "--batch", "2026-47-B"]),
            [DEVICE, LOCAL][..found],
            "{rule}"
        );
    }
    assert_eq!(cli(&["device", "find", "--tpm-fw", "16.13"]).code, 2);
    assert_eq!(
        names(&["--expires-before", "2030-01-01"]),
        [LOCAL],
        "an IDevID never does"
    );
    assert_eq!(names(&["--expires-before", "2020-01-01"]), [""; 0]);
}

#[test]
fn pages_follow_each_other_without_loss() {
    let wanted: Vec<String> = (0..5).map(|i| format!("page-{i}")).collect();
    for name in &wanted {
        let said = cli(&["device", "allow", name, "--first-contact", "1h", "--batch", "lot-page"]);
        assert_eq!(said.code, 0, "{said:?}");
    }
    let (mut found, mut cursor, mut pages) = (Vec::new(), None::<String>, 0);
    loop {
        let mut arguments = vec!["device", "find", "--batch", "lot-page", "--limit", "2", "-o", "json"];
        if let Some(cursor) = &cursor {
            arguments.extend(["--cursor", cursor]);
        }
        let value = cli(&arguments).json();
        let items = value["items"].as_array().unwrap();
        assert!(items.len() <= 2);
        found.extend(items.iter().map(|d| d["name"].as_str().unwrap().to_owned()));
        pages += 1;
        match value["next"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    assert_eq!((found, pages), (wanted.clone(), 3));
    assert_eq!(names(&["--batch", "lot-page", "--all"]), wanted);
    let said = cli(&["device", "find", "--batch", "lot-page", "--limit", "2"]);
    assert!(said.out.starts_with("DEVICE "), "{}", said.out);
    assert!(said.out.contains("2 shown. More: --cursor "), "{}", said.out);
}

#[test]
fn a_refusal_is_found_by_its_incident() {
    let House { rig, tpm, .. } = house();
    let challenge = rig.client().begin(&tpm.request("device-ldevid", None, None)).unwrap();
    let mut answer = tpm.answer(&challenge).unwrap();
    answer.secret.0[0] ^= 1;
    let refused = rig.client().activate(challenge.id, &answer).unwrap_err();
    let incident = refused.problem.incident.unwrap();
    let said = cli(&["audit", "show", &incident, "-o", "json"]);
    assert_eq!(said.code, 0, "{said:?}");
    let items = said.json()["items"].clone();
    assert_eq!(items.as_array().unwrap().len(), 1);
    assert_eq!(items[0]["subject"], *incident);
    assert_eq!(items[0]["reason"], "ACT_SECRET");
    let said = cli(&["audit", "show", &incident]);
    assert!(
        said.out.starts_with("AT ") && said.out.contains("ACT_SECRET"),
        "{}",
        said.out
    );
    let said = cli(&["audit", "show", &refused.problem.title]);
    assert_eq!(said.code, 4);
    assert!(said.err.contains("audit file"), "where else to look: {said:?}");
}
