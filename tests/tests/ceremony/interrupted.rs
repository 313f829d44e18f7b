//! The plug is pulled at every point of every step.

use std::collections::BTreeSet;
use std::path::Path;

use ceremony::step::{Action, steps};
use ceremony::{Event, Plan, archive};

use crate::kit::{Desk, OnlineToken, Said, token_of};

/// Every point of every step of a plan at which a test can pull the plug, in order.
pub(crate) fn points(plan: &Plan) -> Vec<String> {
    let mut points = Vec::new();
    for step in steps(plan) {
        let mut point = |name: &str| points.push(format!("{name}-{}", step.number));
        point("before");
        point("intent");
        if step.action.touches_token() || step.action == Action::SplitPin {
            point("acted");
        }
        if step.action == Action::SignCertificate {
            point("recorded");
        }
        point("written");
        point("done");
    }
    points
}

/// Rehearse a plan with the plug pulled once at each point of each step, and each time go on; then to the end, and once
/// more, which changes nothing. `run` gets the point and whether to go on; `look` looks at what there is after each cut.
pub(crate) fn everywhere(plan: &Path, run: &dyn Fn(&str, bool) -> Said, look: &mut dyn FnMut(&str)) -> usize {
    let plan = Plan::parse(plan, &std::fs::read(plan).unwrap()).unwrap();
    let points = points(&plan);
    assert!(points.len() >= 4 * steps(&plan).len());
    for (n, point) in points.iter().enumerate() {
        let said = run(point, n > 0);
        assert_eq!(said.code, None, "{point}: it was to be killed: {said:?}");
        look(point);
    }
    run("", true).done();
    run("", true).done();
    points.len()
}

impl Desk {
    /// [`everywhere`], for a plan of this desk and a folder of its name; `more` are arguments of `rehearse`.
    fn everywhere(&self, name: &str, more: &[&str], look: &mut dyn FnMut(&str)) -> archive::Verified {
        let file = format!("{name}.toml");
        let run = |point: &str, resume: bool| {
            let mut command = self.command(&["ceremony", "rehearse", &file, "--dir", name]);
            command.args(more).env("HOLDFAST_TEST_POWER_CUT", point);
            Said::of(command.args(resume.then_some("--resume")).output().unwrap())
        };
        let cuts = everywhere(&self.path(&file), &run, look);
        let plan = Plan::parse(Path::new(&file), &std::fs::read(self.path(&file)).unwrap()).unwrap();
        let archive = self.path(name).join(format!("{}.tar", plan.name()));
        let verified = archive::verify(&std::fs::read(archive).unwrap(), true).unwrap();
        let records = verified.transcript().records().iter();
        let resumed = records.filter(|r| r.event == Event::Resumed).count();
        // The first cut came before the first record, or the record is closed already.
        assert!(
            resumed >= cuts - 2,
            "each resumption is in the record: {resumed} of {cuts}"
        );
        verified
    }

    /// Certificates that a medium has a record of: intents without an outcome, and outcomes.
    fn recorded(&self, name: &str) -> (usize, usize) {
        let Ok(folder) = std::fs::read_dir(self.path(name).join("medium/intents")) else {
            return (0, 0);
        };
        let names: Vec<String> = folder
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let issued = names.iter().filter(|n| n.ends_with("issued.json")).count();
        (names.len() - issued, issued)
    }
}

/// F24: SIGKILL before, in and after each step of root, issuing CA and CRL, and a resumption each time: one key, one
/// certificate of each, one record of each.
#[test]
fn every_step_is_interrupted_and_resumed_to_one_key_and_one_certificate() {
    let desk = Desk::new();
    desk.root_plan();
    let token = "rehearsal example-root-r1";
    let mut seen = BTreeSet::new();
    let root = desk.everywhere("root", &[], &mut |point| {
        let (intents, issued) = desk.recorded("root");
        assert!(intents <= 1 && issued <= 1, "{point}");
        if desk.path("root/tokens").exists() && seen.insert((intents, issued)) {
            assert!(desk.objects("root", token, "Private Key Object") <= 1, "{point}");
        }
    });
    desk.put("root.cer", root.file("outputs/certificate.cer").unwrap());
    let request = OnlineToken::new(&desk).request("issuing.csr", "01");
    request.done();
    let serial = token_of(&desk.path("root/medium"));
    let pin = ["--pin-file", "root/secrets/token.pin"];

    desk.issuing_plan("issuing", &serial);
    let issuing = desk.everywhere("issuing", &pin, &mut |point| {
        let (intents, issued) = desk.recorded("issuing");
        assert!(intents <= 1 && issued <= 1, "{point}");
    });
    assert_eq!((desk.recorded("root"), desk.recorded("issuing")), ((1, 1), (1, 1)));

    let issued = issuing.file("outputs/certificate.cer").unwrap();
    desk.put("before.crl", root.file("outputs/ca.crl").unwrap());
    desk.crl_plan("crl", &serial, issued);
    let crl = desk.everywhere("crl", &pin, &mut |_| ());
    let read = openssl::x509::X509Crl::from_der(crl.file("outputs/ca.crl").unwrap()).unwrap();
    assert_eq!(read.get_revoked().map(|r| r.len()), Some(1));
    for kind in ["Private Key Object", "Public Key Object"] {
        assert_eq!(desk.objects("root", token, kind), 1, "{kind}");
    }
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
