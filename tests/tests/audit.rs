//! An audit from beginning to end: pinned, drawn from the ledger, checked by `ca-cli audit` and by `docs/verify/audit.py`
//! alike; and each way in which a CA could show something else, named.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use bundle::audit::{Audit, verify};
use bundle::{Bundle, Trust};
use device_kit::rig::{Rig, Wanted};
use device_kit::soft_tpm::SoftTpm;
use device_kit::vendor::EkContent;
use ledger::{Entry, Event, KeyName, SignatureKind, SigningKey, VerifierKey};
use serde_json::Value;

fn key(rig: &Rig) -> VerifierKey {
    let pem = std::fs::read(rig.path("ledger.key")).unwrap();
    let name = KeyName::new("pki.example.net/ledger").unwrap();
    let key = SigningKey::from_pem(name, SignatureKind::Ed25519, &pem).unwrap();
    key.verifier().clone()
}

fn enroll(rig: &Rig, name: &str) -> String {
    let tpm = SoftTpm::p256(&rig.vendor);
    rig.allow(name, &tpm);
    let result = rig
        .server()
        .client()
        .enroll(&tpm, &tpm.request("device-ldevid", None, Some(name)))
        .unwrap();
    result.certificates[0].serial.clone()
}

/// Until every leaf is in the tree that is published.
fn settled(rig: &Rig) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let waiting = rig.sql("SELECT count(*) FROM ledger_entry WHERE position IS NULL");
        let behind = rig.sql("SELECT size - coalesce(signed_size, -1) FROM ledger");
        let size = rig.sql("SELECT size FROM ledger");
        let (status, note) = rig.server().fetch("/ledger/checkpoint");
        let served = String::from_utf8_lossy(&note)
            .lines()
            .nth(1)
            .unwrap_or_default()
            .to_owned();
        if (waiting.as_str(), behind.as_str(), status) == ("0", "0", 200) && served == size {
            return;
        }
        assert!(std::time::Instant::now() < end, "the ledger does not go on");
        std::thread::yield_now();
    }
}

fn run(rig: &Rig, arguments: &[&str]) -> (Option<i32>, Value, String) {
    let mut command = rig.command("ca-cli");
    let output = command.args(["-o", "json"]).args(arguments).output().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), said, String::from_utf8(output.stderr).unwrap())
}

/// Names of the faults: of the whole, and of each entry.
type Named = (BTreeSet<String>, BTreeMap<u64, (String, BTreeSet<String>)>);

fn checks(faults: &Value) -> BTreeSet<String> {
    let name = |fault: &Value| fault.get("check").unwrap_or(&fault[0]).as_str().unwrap().to_owned();
    faults.as_array().unwrap().iter().map(name).collect()
}

/// What `ca-cli audit verify` names.
fn ours(rig: &Rig, file: &Path) -> Named {
    let (trust, file) = (rig.path("trust").display().to_string(), file.display().to_string());
    let (code, said, why) = run(rig, &["audit", "verify", &file, "--trust", &trust, "--rehearsal"]);
    let entries: BTreeMap<u64, (String, BTreeSet<String>)> = said["entries"]
        .as_array()
        .unwrap_or_else(|| panic!("{said} {why}"))
        .iter()
        .map(|one| {
            let word = one["verdict"].as_str().unwrap().to_owned();
            (one["place"].as_u64().unwrap(), (word, checks(&one["faults"])))
        })
        .collect();
    let faults = checks(&said["faults"]);
    let good = faults.is_empty() && entries.values().all(|(_, faults)| faults.is_empty());
    assert_eq!(code, Some(if good { 0 } else { 3 }), "{said} {why}");
    (faults, entries)
}

/// What `docs/verify/audit.py` names.
fn theirs(rig: &Rig, file: &Path) -> Named {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/verify/audit.py");
    let output = Command::new("python3")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(script)
        .arg(file)
        .arg("--trust")
        .arg(rig.path("trust"))
        .args(["--rehearsal", "--json"])
        .output()
        .unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    let entries = said["entries"].as_object().unwrap().iter().map(|(place, one)| {
        let word = one["verdict"].as_str().unwrap().to_owned();
        (place.parse().unwrap(), (word, checks(&one["faults"])))
    });
    (checks(&said["faults"]), entries.collect())
}

fn of(audit: &Audit, wanted: impl Fn(&Event) -> bool) -> Vec<u64> {
    let found = audit
        .drawn
        .iter()
        .filter(|(_, drawn)| wanted(&Entry::parse(&drawn.proven.entry).unwrap().event));
    found.map(|(place, _)| *place).collect()
}

/// One way to show something else: what is done, at which entry it is found, and as what.
type Lie = (&'static str, Option<u64>, &'static str, Box<dyn Fn(&mut Audit)>);

fn lies(audit: &Audit) -> Vec<Lie> {
    let bundled = |place: &u64| audit.drawn[place].behind.as_ref().unwrap().bundle.is_some();
    let issued = of(
        audit,
        |event| matches!(event, Event::Issued(said) if said.evidence.is_some()),
    );
    let good: Vec<u64> = issued.iter().copied().filter(bundled).collect();
    let erased = *issued.iter().find(|place| !bundled(place)).unwrap();
    let status = of(audit, |event| matches!(event, Event::Status { .. }))[0];
    let records = of(audit, |event| matches!(event, Event::Audit { .. }))[0];
    let changed = of(audit, |event| matches!(event, Event::Changed { .. }))[0];
    let (first, second) = (good[0], good[1]);
    let behind = |place: u64, change: fn(&mut wire::audit::Behind)| -> Box<dyn Fn(&mut Audit)> {
        Box::new(move |audit: &mut Audit| change(audit.drawn.get_mut(&place).unwrap().behind.as_mut().unwrap()))
    };
    let mut lies: Vec<Lie> = vec![
        (
            "an item is left out",
            Some(first),
            "missing",
            Box::new(move |audit| audit.drawn.get_mut(&first).unwrap().behind = None),
        ),
        (
            "another device's bundle",
            Some(first),
            "bundle",
            Box::new(move |audit| {
                let other = audit.drawn[&second].behind.clone().unwrap().bundle;
                audit.drawn.get_mut(&first).unwrap().behind.as_mut().unwrap().bundle = other;
            }),
        ),
        (
            "another device's certificate",
            Some(first),
            "certificate",
            Box::new(move |audit| {
                let other = audit.drawn[&second].behind.clone().unwrap().certificate;
                audit
                    .drawn
                    .get_mut(&first)
                    .unwrap()
                    .behind
                    .as_mut()
                    .unwrap()
                    .certificate = other;
            }),
        ),
        (
            "another entry in the tables",
            Some(first),
            "entry",
            Box::new(move |audit| {
                let other = audit.drawn[&second].proven.entry.clone();
                audit.drawn.get_mut(&first).unwrap().behind.as_mut().unwrap().entry.0 = other;
            }),
        ),
        (
            "the proof of another entry",
            Some(first),
            "proof",
            Box::new(move |audit| {
                let other = audit.drawn[&second].proven.proof.clone();
                audit.drawn.get_mut(&first).unwrap().proven.proof = other;
            }),
        ),
        (
            "nothing records the erasure",
            Some(erased),
            "erasure",
            Box::new(move |audit| audit.drawn.get_mut(&erased).unwrap().erasure = None),
        ),
        (
            "a seed that was chosen otherwise",
            None,
            "draw",
            Box::new(|audit| {
                audit.pin.count = Some(2);
            }),
        ),
        (
            "an entry that was drawn is not shown",
            None,
            "draw",
            Box::new(move |audit| drop(audit.drawn.remove(&first))),
        ),
        ("another tree", None, "pin", Box::new(|audit| audit.pin.size += 1)),
    ];
    lies.push((
        "no bundle, and no word of an erasure",
        Some(first),
        "missing",
        behind(first, |b| b.bundle = None),
    ));
    lies.push((
        "no certificate",
        Some(first),
        "missing",
        behind(first, |b| b.certificate = None),
    ));
    lies.push(("no chain", Some(first), "chain", behind(first, |b| b.issuers.clear())));
    lies.push((
        "half a bundle",
        Some(first),
        "bundle",
        behind(first, |b| b.bundle.as_mut().unwrap().0.truncate(512)),
    ));
    lies.push((
        "erasure of another row",
        Some(erased),
        "erasure",
        behind(erased, |b| b.erased.as_mut().unwrap().row += 1),
    ));
    lies.push((
        "a step that the tables do not know",
        Some(status),
        "status",
        behind(status, |b| b.steps[0].at += 1),
    ));
    lies.push((
        "a record that was rewritten",
        Some(records),
        "records",
        behind(records, |b| b.records[0].actor.push('x')),
    ));
    lies.push((
        "a record that is gone",
        Some(records),
        "records",
        behind(records, |b| b.records.clear()),
    ));
    lies.push((
        "another salt",
        Some(records),
        "records",
        behind(records, |b| b.salt.as_mut().unwrap().0[0] ^= 1),
    ));
    lies.push((
        "another text",
        Some(changed),
        "text",
        behind(changed, |b| b.text.as_mut().unwrap().0[9] ^= 1),
    ));
    lies.push(("no text", Some(changed), "missing", behind(changed, |b| b.text = None)));
    lies
}

#[test]
fn what_a_ca_shows_an_auditor_is_held_to_its_ledger() {
    let wanted = Wanted::default().with_crls(0).set("ledger", "folder", "public/ledger");
    let mut rig = Rig::with(&wanted);
    let vkey = key(&rig).to_string();
    for (file, content) in [
        ("trust/ca/root.pem", std::fs::read(rig.path("ca/root.pem")).unwrap()),
        ("trust/tpm/vendor.der", rig.vendor.certificate.clone()),
        ("trust/ledger/key", format!("{vkey}\n").into_bytes()),
    ] {
        std::fs::create_dir_all(rig.path(file).parent().unwrap()).unwrap();
        std::fs::write(rig.path(file), content).unwrap();
    }
    let serials: Vec<String> = ["GW-1", "GW-2", "GW-3"].iter().map(|name| enroll(&rig, name)).collect();
    assert_eq!(run(&rig, &["revoke", &serials[2], "--reason", "superseded"]).0, Some(0));
    settled(&rig);
    let path = |name: &str| rig.path(name).display().to_string();
    let (web, folder) = (
        format!("http://{}/ledger", rig.server().status()),
        path("public/ledger"),
    );
    let (pin, drawn, export, trust) = (path("1.audit"), path("1.drawn"), path("1.export"), path("trust"));
    let early = path("early");
    let copied = Command::new("cp").args(["-r", &folder, &early]).status().unwrap();
    assert!(copied.success());
    enroll(&rig, "GW-4");
    settled(&rig);
    // Pinned; then the evidence of one is erased, and the ledger grows.
    let (code, said, why) = run(&rig, &["audit", "open", "--from", &web, "--key", &vkey, "--out", &pin]);
    assert_eq!((code, said["pin"]["first"].as_u64()), (Some(0), Some(0)), "{why}");
    let erase = ["evidence", "erase", &serials[2], "--reason", "a test"];
    assert_eq!(run(&rig, &erase).0, Some(0));
    enroll(&rig, "GW-5");
    settled(&rig);
    let sample = |from: &str, seed: &str, count: &str, out: &str| {
        let place = ["--from", from, "--key", &vkey, "--out", out];
        run(
            &rig,
            &[&["audit", "sample", &pin, "--seed", seed, "--count", count], &place[..]].concat(),
        )
    };
    // The ledger as it was before the pin: cut.
    let (code, _, why) = sample(&early, "dice", "100", &path("cut"));
    assert_eq!(code, Some(3));
    assert!(why.contains("the ledger was cut"), "{why}");
    // The same seed draws the same, from the server and from files; another one does not.
    let places = |said: &Value| said["drawn"].as_array().unwrap().clone();
    let (code, few, why) = sample(&web, "dice", "5", &path("few"));
    assert_eq!(code, Some(0), "{why}");
    assert_eq!(places(&few).len(), 5);
    assert_eq!(places(&sample(&folder, "dice", "5", &path("again")).1), places(&few));
    assert_ne!(places(&sample(&folder, "coin", "5", &path("other")).1), places(&few));
    let (code, all, why) = sample(&folder, "dice", "1000", &drawn);
    assert_eq!(code, Some(0), "{why}");
    assert_eq!(all["not_shown"], serde_json::json!([]));
    let twice = run(
        &rig,
        &[
            "audit",
            "sample",
            &drawn,
            "--seed",
            "s",
            "--from",
            &web,
            "--key",
            &vkey,
            "--out",
            &path("x"),
        ],
    );
    assert_eq!(twice.0, Some(5), "{}", twice.2);
    // Nothing is wrong, and one was erased, as the ledger says.
    let found = ours(&rig, Path::new(&drawn));
    let verdicts: Vec<&str> = found.1.values().map(|(word, _)| word.as_str()).collect();
    assert!(found.0.is_empty() && !verdicts.contains(&"refused"), "{found:?}");
    assert_eq!(verdicts.iter().filter(|word| **word == "erased").count(), 1);
    assert_eq!(theirs(&rig, Path::new(&drawn)), found);
    let arguments = [
        "audit",
        "export",
        &drawn,
        "--trust",
        &trust,
        "--rehearsal",
        "--out",
        &export,
    ];
    assert_eq!(run(&rig, &arguments).0, Some(0));
    let exported = std::fs::read(&export).unwrap();
    let again = path("2.export");
    assert_eq!(
        run(&rig, &[&arguments[..5], &["--rehearsal", "--out", &again]].concat()).0,
        Some(0)
    );
    assert_eq!(std::fs::read(&again).unwrap(), exported, "one audit, one archive");
    assert_eq!(ours(&rig, Path::new(&export)), found);
    assert_eq!(theirs(&rig, Path::new(&export)), found);
    // An audit after this one begins where it ended.
    let next = path("2.audit");
    let (code, said, why) = run(
        &rig,
        &[
            "audit", "open", "--from", &web, "--key", &vkey, "--after", &export, "--out", &next,
        ],
    );
    assert_eq!(code, Some(0), "{why}");
    let audit = Audit::read(&exported).unwrap();
    assert_eq!(said["pin"]["first"].as_u64(), Some(audit.pin.size));
    // Each lie, by both.
    let bare = Audit {
        verdict: None,
        ..audit.clone()
    };
    let file = rig.path("lie");
    for (what, place, wanted, lie) in lies(&bare) {
        let mut other = bare.clone();
        lie(&mut other);
        std::fs::write(&file, other.write().unwrap()).unwrap();
        let found = ours(&rig, &file);
        let named = match place {
            None => &found.0,
            Some(place) => &found.1[&place].1,
        };
        assert!(named.contains(wanted), "{what}: {found:?}");
        if let Some(place) = place {
            assert_eq!(found.1[&place].0, "refused", "{what}");
            assert!(
                found
                    .1
                    .iter()
                    .all(|(other, (word, _))| *other == place || word != "refused"),
                "{what}"
            );
        }
        assert_eq!(theirs(&rig, &file), found, "{what}");
    }
    every_byte(&rig, &exported, &audit);
    forgotten(&mut rig, &serials[0], &web, &vkey);
}

/// Whatever byte of an export is changed, it is found.
fn every_byte(rig: &Rig, exported: &[u8], audit: &Audit) {
    let trust = Trust {
        tpm_roots: vec![rig.vendor.certificate.clone()],
        ledgers: vec![key(rig)],
        ..Trust::default()
    };
    let chain = |_: &[u8], _: &[Vec<u8>], _: i64| Ok(());
    assert!(verify(audit, &trust, &chain).is_good());
    let step = (exported.len() / 400).max(1);
    for at in (0..exported.len()).step_by(step) {
        let mut other = exported.to_vec();
        other[at] ^= 1 << (at % 8);
        if let Ok(read) = Audit::read(&other) {
            assert!(!verify(&read, &trust, &chain).is_good(), "byte {at}");
        }
    }
}

/// A CA that lost, or hid, the evidence of one: its tables say other things than its ledger.
fn forgotten(rig: &mut Rig, serial: &str, web: &str, vkey: &str) {
    let path = |rig: &Rig, name: &str| rig.path(name).display().to_string();
    assert_eq!(rig.stop(), Some(0));
    let _ = rig.sql(&format!(
        "DROP TRIGGER evidence_final; UPDATE evidence SET bytes = X'' WHERE enrollment_id = \
         (SELECT enrollment_id FROM certificate WHERE lower(hex(serial)) = '{serial}');"
    ));
    rig.start();
    let web = web
        .rsplit_once(':')
        .map(|_| format!("http://{}/ledger", rig.server().status()))
        .unwrap();
    settled(rig);
    let (pin, drawn) = (path(rig, "3.audit"), path(rig, "3.drawn"));
    assert_eq!(
        run(rig, &["audit", "open", "--from", &web, "--key", vkey, "--out", &pin]).0,
        Some(0)
    );
    let place = ["--from", &web, "--key", vkey, "--out", &drawn];
    let (code, _, why) = run(
        rig,
        &[&["audit", "sample", &pin, "--seed", "s", "--count", "1000"], &place[..]].concat(),
    );
    assert_eq!(code, Some(0), "{why}");
    let (_, entries) = ours(rig, Path::new(&drawn));
    let refused: Vec<&BTreeSet<String>> = entries
        .values()
        .filter(|(word, _)| word == "refused")
        .map(|(_, f)| f)
        .collect();
    assert_eq!(refused, [&BTreeSet::from(["erasure".to_owned()])]);
    assert_eq!(theirs(rig, Path::new(&drawn)).1, entries);
    // What is shown is a bundle as `cert bundle` writes it.
    let audit = Audit::read(&std::fs::read(&drawn).unwrap()).unwrap();
    let shown = audit.drawn.values().find_map(|one| one.behind.clone()?.bundle).unwrap();
    assert!(Bundle::read(&shown.0).is_ok());
}

/// A TPM of this model and firmware.
fn tpm(rig: &Rig, model: &str, version: &str) -> SoftTpm {
    let mut tpm = SoftTpm::p256(&rig.vendor);
    let content = EkContent {
        model: model.to_owned(),
        version: version.to_owned(),
        ..EkContent::honest(&tpm.ek.key)
    };
    tpm.ek_certificate = rig.vendor.ek_certificate(&tpm.ek.spki, &content);
    tpm
}

/// The policy of the server, with three changes.
fn other_policy(folder: &Path) {
    let own = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../policies"));
    for part in ["rules", "profiles"] {
        std::fs::create_dir_all(folder.join(part)).unwrap();
        for file in std::fs::read_dir(own.join(part)).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), folder.join(part).join(file.file_name())).unwrap();
        }
    }
    let rule = "@id(\"no-such-model\")\n@reason(\"this model is not bought any more\")\nforbid (principal, action == \
                Holdfast::Action::\"issue\", resource)\nwhen { context has model && context.model == \"OLD\" };\n";
    std::fs::write(folder.join("rules/model.cedar"), rule).unwrap();
    let advisory = "[[advisory]]\nid = \"SITE-1\"\nmanufacturer = \"id:49465800\"\nfirmware = [\"=71.0\"]\nverdict = \"deny\"\n\
                    why = \"a firmware that leaks\"\nsource = \"us\"\n";
    std::fs::write(folder.join("advisories.toml"), advisory).unwrap();
    let profile = "name = \"device-lak\"\nkind = \"device-lak\"\nlifetime = \"30d\"\n";
    let lak = std::fs::read_to_string(own.join("profiles/device-lak.toml")).unwrap();
    assert!(!lak.contains("30d"), "{lak}");
    std::fs::write(folder.join("profiles/device-lak.toml"), profile).unwrap();
}

/// What stands in the tables, but for CRLs, which come by themselves; and how many refusals there are.
fn everything(rig: &Rig) -> Vec<String> {
    let dump = rig.sql(".dump");
    let rows = dump.lines().filter(|line| !line.starts_with("INSERT INTO crl"));
    let mut all: Vec<String> = rows.map(str::to_owned).collect();
    all.push(rig.audit_file_lines().to_string());
    all
}

#[test]
fn another_policy_is_tried_on_what_was_decided_and_nothing_is_written() {
    let rig = Rig::with(&Wanted::default().with_crls(0));
    for (name, model, version, profile, with) in [
        ("GW-firmware", "NEW", "id:00470000", "device-ldevid", None),
        ("GW-model", "OLD", "id:00480000", "device-ldevid", None),
        ("GW-profile", "NEW", "id:00480000", "device-ldevid", Some("device-lak")),
        ("GW-same", "NEW", "id:00480000", "device-ldevid", None),
        ("GW-gone", "NEW", "id:00480000", "device-ldevid", None),
    ] {
        let tpm = tpm(&rig, model, version);
        rig.allow(name, &tpm);
        let request = tpm.request(profile, with, Some(name));
        let result = rig.server().client().enroll(&tpm, &request).unwrap();
        if name == "GW-gone" {
            let serial = &result.certificates[0].serial;
            assert_eq!(run(&rig, &["revoke", serial, "--reason", "superseded"]).0, Some(0));
            assert_eq!(
                run(&rig, &["evidence", "erase", serial, "--reason", "a test"]).0,
                Some(0)
            );
        }
    }
    settled(&rig);
    let folder = rig.path("new-policy");
    other_policy(&folder);
    let folder = folder.display().to_string();
    let before = everything(&rig);
    let test = |more: &[&str]| run(&rig, &[&["policy", "test", "--against", "last:100"], more].concat());
    // The same policy changes nothing.
    let (code, said, why) = test(&["--fail-on-change"]);
    assert_eq!(code, Some(0), "{why}");
    assert_eq!(
        (&said["decided"], &said["changed"], &said["skipped"]),
        (&4.into(), &0.into(), &1.into()),
        "{said}"
    );
    let (code, said, why) = test(&["--policy", &folder]);
    assert_eq!(code, Some(0), "{why}");
    assert_ne!(said["policy_sha256"], said["in_force_sha256"]);
    let of = |name: &str| {
        let items = said["items"].as_array().unwrap();
        items
            .iter()
            .find(|item| item["device"] == name)
            .unwrap_or_else(|| panic!("{said}"))
            .clone()
    };
    let denied = |name: &str, rule: &str, reason: &str| {
        let item = of(name);
        assert_eq!(item["changes"], true, "{item}");
        assert!(item["in_force"]["granted"].is_array(), "{item}");
        assert_eq!(item["tried"]["denied"]["rules"], serde_json::json!([rule]), "{item}");
        assert!(
            item["tried"]["denied"]["reason"].as_str().unwrap().contains(reason),
            "{item}"
        );
    };
    denied("GW-firmware", "advisory:SITE-1", "a firmware that leaks");
    denied("GW-model", "no-such-model", "this model is not bought any more");
    let profile = of("GW-profile");
    assert_eq!(profile["changes"], true, "{profile}");
    assert_eq!(profile["tried"]["granted"][0]["lifetime"], 30 * 86_400, "{profile}");
    let same = of("GW-same");
    assert_eq!((&same["changes"], &same["tried"]), (&false.into(), &same["in_force"]));
    assert_eq!((&said["changed"], &said["skipped"]), (&3.into(), &1.into()));
    assert_eq!(test(&["--policy", &folder, "--fail-on-change"]).0, Some(3));
    let (code, few, _) = run(&rig, &["policy", "test", "--against", "last:2", "--policy", &folder]);
    assert_eq!((code, few["items"].as_array().unwrap().len()), (Some(0), 2));
    assert_eq!(everything(&rig), before);
    // What does not load is said, and nothing is decided.
    std::fs::write(rig.path("new-policy/rules/model.cedar"), "forbid").unwrap();
    let (code, _, why) = test(&["--policy", &folder]);
    assert_ne!(code, Some(0));
    assert!(why.contains("model.cedar"), "{why}");
}
