//! The plug is pulled at every point of every step.

use std::collections::BTreeSet;

use ceremony::archive;
use ceremony::step::{Action, steps};

use crate::kit::{Desk, Said};

/// F24: SIGKILL before, in and after each step, and a resumption each time: one key, one certificate, one record.
#[test]
fn every_step_is_interrupted_and_resumed_to_one_key_and_one_certificate() {
    let desk = Desk::new();
    let plan = desk.root_plan();
    let plan = ceremony::Plan::parse(&plan, &std::fs::read(&plan).unwrap()).unwrap();
    let mut points = Vec::new();
    for step in steps(&plan) {
        points.push(format!("before-{}", step.number));
        points.push(format!("intent-{}", step.number));
        if step.action.touches_token() {
            points.push(format!("acted-{}", step.number));
        }
        if step.action == Action::SignCertificate {
            points.push(format!("recorded-{}", step.number));
        }
        points.push(format!("written-{}", step.number));
        points.push(format!("done-{}", step.number));
    }
    let run = |point: &str, resume: bool| {
        let more: &[&str] = if resume { &["--resume"] } else { &[] };
        let arguments = [&["ceremony", "rehearse", "root.toml", "--dir", "root"], more].concat();
        let mut command = desk.command(&arguments);
        command.env("HOLDFAST_TEST_POWER_CUT", point);
        Said::of(command.output().unwrap())
    };
    let mut seen = BTreeSet::new();
    for (n, point) in points.iter().enumerate() {
        let said = run(point, n > 0);
        assert_eq!(said.code, None, "{point}: it was to be killed: {said:?}");
        let intents = desk.path("root/medium/intents");
        let issued = std::fs::read_dir(intents).map_or(0, |d| {
            d.filter(|e| {
                e.as_ref()
                    .unwrap()
                    .file_name()
                    .to_str()
                    .unwrap()
                    .ends_with("issued.json")
            })
            .count()
        });
        assert!(issued <= 1, "{point}");
        if desk.path("root/tokens").exists() && seen.insert(issued) {
            assert!(
                desk.objects("root", "rehearsal example-root-r1", "Private Key Object") <= 1,
                "{point}"
            );
        }
    }
    run("", true).done();
    // Once more changes nothing.
    run("", true).done();
    for kind in ["Private Key Object", "Public Key Object"] {
        assert_eq!(desk.objects("root", "rehearsal example-root-r1", kind), 1, "{kind}");
    }
    let bytes = std::fs::read(desk.path("root/example-root-r1.tar")).unwrap();
    let verified = archive::verify(&bytes, true).unwrap();
    let resumed = verified
        .transcript()
        .records()
        .iter()
        .filter(|r| r.event == ceremony::Event::Resumed);
    assert!(resumed.count() >= points.len() - 2, "each resumption is in the record");
    let intents = std::fs::read_dir(desk.path("root/medium/intents")).unwrap().count();
    assert_eq!(intents, 2, "one intent, one outcome");
}

/// Another hand at the medium between two runs is found, whatever it changed.
#[test]
fn a_medium_that_was_changed_is_not_gone_on_with() {
    let desk = Desk::new();
    desk.root_plan();
    let cut = |dir: &str| {
        let mut command = desk.command(&["ceremony", "rehearse", "root.toml", "--dir", dir]);
        command.env("HOLDFAST_TEST_POWER_CUT", "before-9");
        assert_eq!(Said::of(command.output().unwrap()).code, None);
    };
    cut("a");
    let resume = || desk.run(&["ceremony", "rehearse", "root.toml", "--dir", "a", "--resume"]);
    let spoil = |file: &str, change: &dyn Fn(String) -> String, words: &str| {
        let path = desk.path("a/medium").join(file);
        let before = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, change(before.clone())).unwrap();
        let said = resume();
        assert!(said.code != Some(0) && said.err.contains(words), "{file}: {said:?}");
        std::fs::write(&path, before).unwrap();
    };
    spoil(
        "script.txt",
        &|t| t.replace("Step 8", "Step 9"),
        "not the script of this plan",
    );
    spoil(
        "transcript.jsonl",
        &|t| t.replacen("\"witness\"", "\"nobody\"", 1),
        "transcript, line",
    );
    spoil(
        "plan.toml",
        &|t| t.replace("Room 1", "Room 2"),
        "not the script of this plan",
    );
    // A certificate that somebody put there is not taken for ours.
    let certificate = desk.path("a/medium/outputs/certificate.cer");
    let before = std::fs::read(&certificate).unwrap();
    let mut other = before.clone();
    *other.last_mut().unwrap() ^= 1;
    std::fs::write(&certificate, other).unwrap();
    let said = resume();
    assert!(said.code != Some(0), "{said:?}");
    std::fs::write(&certificate, before).unwrap();
    // Without --resume nothing goes on by itself.
    let said = desk.run(&["ceremony", "rehearse", "root.toml", "--dir", "a"]);
    assert_eq!(said.code, Some(5), "{said:?}");
    let whole = desk.path("b");
    cut("b");
    // A line that was cut off in the middle is taken away, and the step done again.
    let transcript = whole.join("medium/transcript.jsonl");
    let mut text = std::fs::read_to_string(&transcript).unwrap();
    text.truncate(text.len() - 40);
    std::fs::write(&transcript, text).unwrap();
    desk.run(&["ceremony", "rehearse", "root.toml", "--dir", "b", "--resume"])
        .done();
    assert_eq!(desk.objects("b", "rehearsal example-root-r1", "Private Key Object"), 1);
}

/// C04: a token that has a key of that name already is refused, and keeps its key.
#[test]
fn a_token_with_a_key_of_that_name_is_refused() {
    let desk = Desk::new();
    desk.rehearsed_root();
    // Another ceremony on the same token, with the same label and id.
    let text = std::fs::read_to_string(desk.path("root.toml")).unwrap();
    desk.put("root.toml", text.replace("Room 1", "Room 2").as_bytes());
    for gone in ["root/medium", "root/example-root-r1.tar"] {
        let path = desk.path(gone);
        let _ = std::fs::remove_dir_all(&path);
        let _ = std::fs::remove_file(&path);
    }
    let said = desk.run(&["ceremony", "rehearse", "root.toml", "--dir", "root"]);
    assert!(
        said.code == Some(5) && said.err.contains("has a key `root-r1`"),
        "{said:?}"
    );
    assert_eq!(
        desk.objects("root", "rehearsal example-root-r1", "Private Key Object"),
        1
    );
}
