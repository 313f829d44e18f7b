//! Archives that somebody changed.

use ceremony::archive::{self, SUMS};
use ceremony::tar::{self, Files};

use crate::kit::Desk;

/// Files of a good archive.
fn good(desk: &Desk) -> Files {
    let bytes = std::fs::read(desk.rehearsed_root()).unwrap();
    archive::verify(&bytes, true).unwrap();
    tar::read(&bytes).unwrap()
}

/// Write it again after a change; with `listed`, whoever changed it also wrote SHA256SUMS anew.
fn changed(files: &Files, listed: bool, change: &dyn Fn(&mut Files)) -> Vec<u8> {
    let mut files = files.clone();
    change(&mut files);
    if listed {
        let sums = archive::sums(&files).into_bytes();
        files.insert(SUMS.to_owned(), sums);
    }
    tar::write(&files).unwrap()
}

fn edit(files: &mut Files, name: &str, from: &str, to: &str) {
    let text = String::from_utf8(files[name].clone()).unwrap();
    assert!(text.contains(from), "{name}: {text}");
    files.insert(name.to_owned(), text.replacen(from, to, 1).into_bytes());
}

/// Each change, by somebody who also writes the list of hashes anew, and the word of the refusal.
type Change = (&'static str, Box<dyn Fn(&mut Files)>, &'static str);

fn changes() -> Vec<Change> {
    let edit_in = |name: &'static str, from: &'static str, to: &'static str| {
        Box::new(move |files: &mut Files| edit(files, name, from, to)) as Box<dyn Fn(&mut Files)>
    };
    vec![
        ("plan", edit_in("plan.toml", "Room 1", "Room 2"), "transcript"),
        ("script", edit_in("script.txt", "Step 8", "Step 9"), "script"),
        (
            "time",
            edit_in("transcript.jsonl", "\"time\":\"20", "\"time\":\"19"),
            "transcript",
        ),
        (
            "name",
            edit_in("transcript.jsonl", "Rehearsal person 1", "Rehearsal person 3"),
            "transcript",
        ),
        (
            "order",
            Box::new(|files| {
                let text = String::from_utf8(files["transcript.jsonl"].clone()).unwrap();
                let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
                lines.swap(2, 3);
                files.insert("transcript.jsonl".into(), lines.concat().into_bytes());
            }),
            "transcript",
        ),
        (
            "cut",
            Box::new(|files| {
                let text = String::from_utf8(files["transcript.jsonl"].clone()).unwrap();
                let lines: Vec<&str> = text.split_inclusive('\n').collect();
                files.insert(
                    "transcript.jsonl".into(),
                    lines[..lines.len() - 1].concat().into_bytes(),
                );
            }),
            "transcript",
        ),
        (
            "certificate",
            Box::new(|files| *files.get_mut("outputs/certificate.cer").unwrap().last_mut().unwrap() ^= 1),
            "outputs",
        ),
        (
            "crl",
            Box::new(|files| *files.get_mut("outputs/ca.crl").unwrap().last_mut().unwrap() ^= 1),
            "outputs",
        ),
        (
            "one more output",
            Box::new(|files| {
                files.insert("outputs/second.cer".into(), files["outputs/certificate.cer"].clone());
            }),
            "outputs",
        ),
        (
            "no output",
            Box::new(|files| drop(files.remove("outputs/ca.crl"))),
            "outputs",
        ),
        (
            "no approval",
            Box::new(|files| drop(files.remove("approvals/1.txt"))),
            "approvals",
        ),
        (
            "one officer twice",
            Box::new(|files| {
                files.insert("approvals/2.txt".into(), files["approvals/1.txt"].clone());
            }),
            "approvals",
        ),
        (
            "approval",
            edit_in("approvals/1.txt", "person: Rehearsal person 1", "person: Somebody"),
            "approvals/1.txt",
        ),
        (
            "an approval for a seal",
            Box::new(|files| {
                files.insert("seals/1.txt".into(), files["approvals/1.txt"].clone());
            }),
            "seals",
        ),
        ("no seal", Box::new(|files| drop(files.remove("seals/2.txt"))), "seals"),
        (
            "a note slipped in",
            Box::new(|files| {
                files.insert("notes.txt".into(), b"all was well".to_vec());
            }),
            "archive",
        ),
        // Nothing at all but the list written anew, with a file that was changed in an innocent place.
        (
            "key",
            Box::new(|files| *files.get_mut("outputs/key.spki").unwrap().last_mut().unwrap() ^= 1),
            "outputs",
        ),
    ]
}

/// C08, L03: whoever changes anything and writes the list of hashes anew is found by what the change contradicts.
#[test]
fn an_archive_that_was_changed_is_refused_for_what_was_changed() {
    let desk = Desk::new();
    let files = good(&desk);
    for (what, change, word) in changes() {
        let error = archive::verify(&changed(&files, true, &*change), true)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(word), "{what}: {error}");
        // Without the list he is found at once, unless it was a seal.
        let error = archive::verify(&changed(&files, false, &*change), true)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("sums") || word == "seals", "{what}: {error}");
    }
    // And the list itself, written anew over nothing changed, is the list.
    assert!(archive::verify(&changed(&files, true, &|_| {}), true).is_ok());
}
