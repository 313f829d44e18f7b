//! Two readers of a ceremony's archive, `ca-cli ceremony verify` and `docs/verify/ceremony.py`, give one verdict: on the good
//! one, on any byte changed, and on forgeries in which everything else was made right again by officers who help.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use attest::UnixTime;
use ceremony::quorum::{KeyStore, Mode, RawApproval, Statement, Subject};
use ceremony::tar::{self, Files};
use ceremony::{Event, Record, Sha256, archive, calendar};
use device_kit::rig::binary;
use issuance::SignatureAlgorithm;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;

/// A rehearsal that was held, its archive, and its officers' keys.
struct Rehearsal {
    dir: tempfile::TempDir,
    archive: Vec<u8>,
    keys: Vec<PKey<Private>>,
}

static REHEARSAL: LazyLock<Rehearsal> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let made = Command::new(binary("ca-cli"))
        .args(["ceremony", "new", "--kind", "root", "--name", "example-root-r1"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut plan = String::from_utf8(made.stdout).unwrap();
    for officer in 1..=3 {
        let key = format!("key_sha256 = \"{}\"", Sha256::of(&[officer]));
        plan = plan.replacen("key_sha256 = \"FILL IN\"", &key, 1);
    }
    let plan = plan.replace("FILL IN", "Example");
    std::fs::write(dir.path().join("root.toml"), plan).unwrap();
    let held = Command::new(binary("ca-cli"))
        .args(["ceremony", "rehearse", "root.toml", "--dir", "r1"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(held.status.success(), "{}", String::from_utf8_lossy(&held.stderr));
    let archive = std::fs::read(dir.path().join("r1/example-root-r1.tar")).unwrap();
    let keys = (1..=3).map(|officer| {
        let pem = std::fs::read(dir.path().join(format!("r1/secrets/officer-{officer}.key"))).unwrap();
        PKey::private_key_from_pem(&pem).unwrap()
    });
    Rehearsal {
        archive,
        keys: keys.collect(),
        dir,
    }
});

pub(crate) fn python(archive: &Path, rehearsal: bool) -> (Option<i32>, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/verify/ceremony.py");
    let mut command = Command::new("python3");
    command.arg("-B").arg(script).arg(archive);
    if rehearsal {
        command.arg("--rehearsal");
    }
    let output = command.output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

fn on_disk(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("record.tar");
    std::fs::write(&path, bytes).unwrap();
    (dir, path)
}

/// What both readers say; they must say it together.
fn verdict(bytes: &[u8], what: &str) -> bool {
    let ours = archive::verify(bytes, true);
    let (_dir, path) = on_disk(bytes);
    let (code, said) = python(&path, true);
    let theirs = match code {
        Some(0) => true,
        Some(3) => false,
        other => panic!("{what}: exit {other:?}: {said}"),
    };
    assert_eq!(ours.is_ok(), theirs, "{what}: {:?} against {said}", ours.err());
    theirs
}

/// An archive that is taken apart, changed, and put together so that all hashes fit again.
struct Forge {
    files: Files,
    records: Vec<Record>,
}

impl Forge {
    fn new() -> Self {
        let files = tar::read(&REHEARSAL.archive).unwrap();
        let text = core::str::from_utf8(&files[archive::TRANSCRIPT]).unwrap();
        let records = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Self { files, records }
    }

    fn text(&self, name: &str) -> String {
        String::from_utf8(self.files[name].clone()).unwrap()
    }

    fn put(&mut self, name: &str, content: impl Into<Vec<u8>>) {
        self.files.insert(name.to_owned(), content.into());
    }

    fn subject(&self) -> Subject {
        let begun = &self.records[0];
        Subject {
            ceremony: "example-root-r1".into(),
            mode: Mode::Rehearsal,
            plan: Sha256::of(&self.files[archive::PLAN]),
            script: Sha256::of(&self.files[archive::SCRIPT]),
            program: begun.inputs.get("program").copied().unwrap_or(Sha256([0; 32])),
            medium: None,
        }
    }

    /// Officer `n`, from zero, signs this.
    fn sign(&self, n: usize, subject: Subject, change: impl FnOnce(&mut Statement)) -> Vec<u8> {
        let key = &REHEARSAL.keys[n];
        let earlier = RawApproval::parse(&tar::read(&REHEARSAL.archive).unwrap()["approvals/1.txt"]).unwrap();
        let time = earlier.verify().unwrap().statement().time;
        let mut statement = Statement {
            subject,
            role: format!("crypto officer {}", n + 1),
            person: format!("Rehearsal person {}", n + 1),
            time,
            store: KeyStore::File,
            algorithm: SignatureAlgorithm::EcdsaP256Sha256,
            spki: key.public_key_to_der().unwrap(),
        };
        change(&mut statement);
        let bytes = statement.bytes().unwrap();
        let mut signer = Signer::new(MessageDigest::sha256(), key).unwrap();
        let signature = signer.sign_oneshot_to_vec(&bytes).unwrap();
        statement.signed(signature).unwrap().text().unwrap()
    }

    /// Plan, script or program were changed: approved anew, and the first record says so.
    fn approve(&mut self) {
        let subject = self.subject();
        self.records[0].inputs.insert("plan".into(), subject.plan);
        self.records[0].inputs.insert("script".into(), subject.script);
        for n in 0..2 {
            let signed = self.sign(n, subject.clone(), |_| {});
            self.put(&format!("approvals/{}.txt", n + 1), signed);
        }
    }

    fn chain(&mut self) {
        let mut previous = Sha256::of(&self.files[archive::PLAN]);
        let mut text = String::new();
        for (record, seq) in self.records.iter_mut().zip(1..) {
            record.seq = seq;
            record.previous = previous;
            let line = serde_json::to_string(record).unwrap() + "\n";
            previous = Sha256::of(line.as_bytes());
            text.push_str(&line);
        }
        self.put(archive::TRANSCRIPT, text);
    }

    /// The sums, and seals over them.
    fn seal(&mut self) {
        let sums = archive::sums(&self.files);
        self.put(archive::SUMS, sums.clone());
        let subject = archive::seal_subject(&self.subject(), Sha256::of(sums.as_bytes()));
        for n in 0..2 {
            let signed = self.sign(n, subject.clone(), |_| {});
            self.put(&format!("seals/{}.txt", n + 1), signed);
        }
    }

    fn tar(&self) -> Vec<u8> {
        tar::write(&self.files).unwrap()
    }

    /// After a change of files or records: chain, sums and seals are right again.
    fn verdict(mut self, what: &str) -> bool {
        self.chain();
        self.seal();
        verdict(&self.tar(), what)
    }

    fn done(&mut self, step: u32) -> &mut Record {
        self.records
            .iter_mut()
            .find(|r| r.event == Event::Done && r.step == step)
            .unwrap()
    }

    fn at(&self, event: Event, step: u32) -> usize {
        self.records
            .iter()
            .position(|r| r.event == event && r.step == step)
            .unwrap()
    }
}

#[test]
fn both_believe_the_good_one_and_neither_without_being_told_that_a_rehearsal_will_do() {
    assert!(verdict(&REHEARSAL.archive, "the archive itself"));
    // Put together again it is the same, so what a forgery is refused for is the forgery.
    let mut forge = Forge::new();
    forge.approve();
    assert!(forge.verdict("put together again"));
    let archive = REHEARSAL.dir.path().join("r1/example-root-r1.tar");
    assert_eq!(python(&archive, false).0, Some(3));
    for (more, code) in [(&["--rehearsal"][..], 0), (&[], 3)] {
        let output = Command::new(binary("ca-cli"))
            .args(["ceremony", "verify"])
            .arg(&archive)
            .args(more)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(code));
    }
    // Both name the hash that people wrote down.
    let sums = Sha256::of(&tar::read(&REHEARSAL.archive).unwrap()[archive::SUMS]);
    assert!(python(&archive, true).1.contains(&format!("SHA256SUMS  {sums}\n")));
}

/// One byte of each file, at its beginning, middle and end, and of each field of a header of the archive.
#[test]
fn c08_l03_both_see_any_byte_changed() {
    let good = &REHEARSAL.archive;
    let files = tar::read(good).unwrap();
    let mut places = Vec::new();
    let mut at = 0;
    for content in files.values() {
        // name, mode, owner, length, time, sum, kind, magic, rest
        if at < 2048 {
            places.extend([0, 101, 110, 130, 140, 150, 156, 258, 400].map(|field| at + field));
        }
        let begin = at + 512;
        let length = content.len();
        if length > 0 {
            places.extend([0, length / 2, length - 1].map(|offset| begin + offset));
        }
        at = begin + length.next_multiple_of(512);
    }
    places.extend([at, good.len() - 1]);
    std::thread::scope(|scope| {
        for half in places.chunks(places.len().div_ceil(2)) {
            scope.spawn(move || {
                for place in half {
                    let mut spoilt = good.clone();
                    spoilt[*place] ^= 1;
                    assert!(!verdict(&spoilt, &format!("byte {place}")), "byte {place} changed");
                }
            });
        }
    });
    for length in [0, 1, 511, 512, good.len() / 2, good.len() - 1] {
        assert!(!verdict(&good[..length], &format!("cut to {length}")));
    }
    assert!(!verdict(&[&good[..], &[0; 512]].concat(), "a block more"));
}

#[test]
fn c08_l03_both_see_records_edited_deleted_swapped_and_inserted_though_every_hash_fits_again() {
    let mut cases: Vec<(&str, Forge)> = Vec::new();
    let mut case = |what, change: &dyn Fn(&mut Forge)| {
        let mut forge = Forge::new();
        change(&mut forge);
        cases.push((what, forge));
    };
    case("another one did the step", &|f| f.done(6).role = "witness".into());
    case("a step deleted", &|f| {
        let at = f.at(Event::Done, 3);
        f.records.remove(at);
    });
    case("a step twice", &|f| {
        let at = f.at(Event::Done, 3);
        let again = f.records[at].clone();
        f.records.insert(at + 1, again);
    });
    case("two steps swapped", &|f| {
        let (one, two) = (f.at(Event::Done, 2), f.at(Event::Done, 3));
        f.records.swap(one, two);
    });
    case("a step that is not in the script", &|f| {
        let at = f.at(Event::Done, 13);
        let mut more = f.records[at].clone();
        more.step = 14;
        f.records.insert(at + 1, more);
    });
    case("time runs back", &|f| {
        let first = calendar::parse(&f.records[0].time).unwrap();
        f.records[0].time = calendar::show(UnixTime(first.0 + 86_400));
    });
    case("no time", &|f| f.done(5).time = "yesterday".into());
    case("no beginning", &|f| {
        f.records.remove(0);
    });
    case("begun later", &|f| f.records.swap(0, 1));
    case("no seal", &|f| {
        f.records.pop();
    });
    case("something below the seal", &|f| {
        let again = f.records[2].clone();
        f.records.push(again);
    });
    case("no mode", &|f| {
        f.records[0].facts.remove("mode");
    });
    case("another mode", &|f| {
        f.records[0].facts.insert("mode".into(), "ceremony".into());
    });
    case("another program", &|f| {
        f.records[0].inputs.insert("program".into(), Sha256([7; 32]));
    });
    case("no program", &|f| {
        f.records[0].inputs.remove("program");
    });
    case("another script on the table", &|f| {
        f.records[0].inputs.insert("script".into(), Sha256([7; 32]));
    });
    case("void of what was not done", &|f| {
        let mut void = f.records[0].clone();
        void.event = Event::Void;
        void.step = 9;
        void.facts.insert("why".into(), "so".into());
        f.records.insert(2, void);
    });
    case("void, and nobody says why", &|f| {
        let at = f.at(Event::Done, 2);
        let mut void = f.records[at].clone();
        void.event = Event::Void;
        void.facts.clear();
        let again = f.records[at].clone();
        f.records.insert(at + 1, void);
        f.records.insert(at + 2, again);
    });
    case("nobody counted the approvals", &|f| f.done(4).facts.clear());
    case("an output that is not told", &|f| {
        f.done(8).outputs.clear();
    });
    case("an output with another hash", &|f| {
        f.done(8).outputs.insert("certificate.cer".into(), Sha256([7; 32]));
    });
    for (what, forge) in cases {
        assert!(!forge.verdict(what), "{what}");
    }
    // What may be: a deviation more, and a step taken back with its reason and done again.
    let mut forge = Forge::new();
    let at = forge.at(Event::Done, 2);
    let mut void = forge.records[at].clone();
    void.event = Event::Void;
    void.facts = [("why".to_owned(), "the wrong sheet".to_owned())].into();
    let again = forge.records[at].clone();
    forge.records.insert(at + 1, void);
    forge.records.insert(at + 2, again);
    assert!(forge.verdict("void and done again"));
}

#[test]
fn both_see_files_added_taken_away_and_exchanged() {
    let edit = |what: &str, change: &dyn Fn(&mut Forge)| {
        let mut forge = Forge::new();
        change(&mut forge);
        assert!(!forge.verdict(what), "{what}");
    };
    edit("a file of no folder", &|f| f.put("notes.txt", "x"));
    edit("a folder that is not known", &|f| f.put("other/notes.txt", "x"));
    edit("an input that is not planned", &|f| f.put("inputs/issuer.cer", "x"));
    edit("an output that no step made", &|f| f.put("outputs/more.cer", "x"));
    edit("the certificate taken away", &|f| {
        f.files.remove("outputs/certificate.cer");
    });
    edit("an approval that is none", &|f| f.put("approvals/3.txt", "yes"));
    // The transcript tells of the new file, too.
    let exchange = |what: &str, step: u32, name: &str, content: Vec<u8>| {
        let mut forge = Forge::new();
        forge.done(step).outputs.insert(name.into(), Sha256::of(&content));
        forge.put(&format!("outputs/{name}"), content);
        assert!(!forge.verdict(what), "{what}");
    };
    let files = Forge::new().files;
    let mut crl = files["outputs/ca.crl"].clone();
    *crl.last_mut().unwrap() ^= 1;
    exchange("a CRL whose signature does not hold", 11, "ca.crl", crl);
    let mut certificate = files["outputs/certificate.cer"].clone();
    *certificate.last_mut().unwrap() ^= 1;
    exchange(
        "a certificate whose signature does not hold",
        8,
        "certificate.cer",
        certificate,
    );
    let key = REHEARSAL.keys[0].public_key_to_der().unwrap();
    exchange("another key than the certificate's", 6, "key.spki", key);
    exchange(
        "a CRL for a certificate",
        8,
        "certificate.cer",
        files["outputs/ca.crl"].clone(),
    );
}

/// The whole quorum helps: what is wrong is wrong between plan and certificate.
#[test]
fn both_see_a_plan_that_does_not_make_the_certificate() {
    for (from, to) in [
        ("organization = \"Example\"", "organization = \"Exemple\""),
        ("common_name = \"Example\"", "common_name = \"Examqle\""),
        ("not_after = \"20", "not_after = \"21"),
        ("number = 1\n", "number = 2\n"),
        ("next_update = \"20", "next_update = \"21"),
        ("serial = \"", "serial = \""),
    ] {
        let mut forge = Forge::new();
        let plan = forge.text(archive::PLAN);
        // The serial number of the token stands before that of the certificate.
        let section = plan.find("[certificate]").unwrap();
        let at = section
            + plan[section..]
                .find(from)
                .unwrap_or_else(|| panic!("{from} in\n{plan}"));
        let mut changed = plan[..at].to_owned() + to + &plan[at + from.len()..];
        if from == to {
            // Its last digit.
            let last = at + from.len() + 31;
            let digit = if &changed[last..=last] == "0" { "1" } else { "0" };
            changed.replace_range(last..=last, digit);
        }
        forge.put(archive::PLAN, changed.clone());
        let parsed = ceremony::Plan::parse(Path::new("plan.toml"), changed.as_bytes()).unwrap();
        forge.put(archive::SCRIPT, ceremony::script::text(&parsed, true));
        let typed: String = parsed.sha256().to_string().chars().take(8).collect();
        forge.done(2).facts.insert("typed".into(), typed);
        forge.approve();
        assert!(!forge.verdict(from), "{from}");
    }
}

#[test]
fn c01_both_count_a_quorum_alike() {
    type Change<'a> = &'a dyn Fn(&mut Statement);
    let edit = |what: &str, folder: &str, n: usize, change: Change<'_>| {
        let mut forge = Forge::new();
        forge.approve();
        forge.chain();
        let name = format!("{folder}/2.txt");
        if folder == "approvals" {
            let signed = forge.sign(n, forge.subject(), change);
            forge.put(&name, signed);
            forge.seal();
        } else {
            forge.seal();
            let sums = Sha256::of(&forge.files[archive::SUMS]);
            let signed = forge.sign(n, archive::seal_subject(&forge.subject(), sums), change);
            forge.put(&name, signed);
        }
        verdict(&forge.tar(), what)
    };
    for folder in ["approvals", "seals"] {
        let no = |what: &str, n, change: Change<'_>| assert!(!edit(what, folder, n, change), "{folder}: {what}");
        no("the same one twice", 0, &|_| {});
        no("one person in two roles", 1, &|s| {
            s.person = "person 1, rehearsal".into()
        });
        no("one key in two roles", 0, &|s| {
            s.role = "crypto officer 2".into();
            s.person = "Somebody Else".into();
        });
        no("no officer", 1, &|s| s.role = "crypto officer 9".into());
        no("another plan", 1, &|s| s.subject.plan = Sha256([7; 32]));
        no("another script", 1, &|s| s.subject.script = Sha256([7; 32]));
        no("another program", 1, &|s| s.subject.program = Sha256([7; 32]));
        no("another medium", 1, &|s| s.subject.medium = Some(Sha256([7; 32])));
        no("another ceremony", 1, &|s| {
            s.subject.ceremony = "example-root-r2".into()
        });
        no("the ceremony, not its rehearsal", 1, &|s| {
            s.subject.mode = Mode::Ceremony
        });
        no("a card that the plan does not name", 1, &|s| {
            s.store = KeyStore::Token("77".into())
        });
    }
    assert!(!edit("approved after it was counted", "approvals", 1, &|s| s.time =
        UnixTime(s.time.0 + 864_000)));
    assert!(edit("sealed later", "seals", 1, &|s| s.time = UnixTime(s.time.0 + 864_000)));
    for folder in ["approvals", "seals"] {
        let mut forge = Forge::new();
        forge.files.remove(&format!("{folder}/2.txt"));
        forge.chain();
        if folder == "approvals" {
            forge.seal();
        }
        assert!(!verdict(&forge.tar(), folder), "one of two {folder}");
    }
}

/// The one thing the second reader leaves to people: whether the script says what the plan means. It is in its docs.
#[test]
fn a_script_with_other_words_is_for_people_to_read_or_for_our_reader() {
    let mut forge = Forge::new();
    let script = forge.text(archive::SCRIPT).replacen("put away", "left here", 1);
    assert_ne!(script, forge.text(archive::SCRIPT));
    forge.put(archive::SCRIPT, script);
    forge.approve();
    forge.chain();
    forge.seal();
    let error = archive::verify(&forge.tar(), true).unwrap_err();
    assert!(matches!(error, archive::ArchiveError::Script), "{error}");
    let (_dir, path) = on_disk(&forge.tar());
    assert_eq!(python(&path, true).0, Some(0));
    let known = include_str!("../../../docs/verify/ceremony.py");
    assert!(known.contains("whether the script is a good one"));
}
