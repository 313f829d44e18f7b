//! The life of a root's key, as ceremonies: made, backed up, its PIN split, used by shares, restored to a second token,
//! destroyed; and each of these interrupted.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use attest::UnixTime;
use ceremony::{Sha256, archive, calendar};
use device_kit::rig::binary;

use crate::interrupted;
use crate::kit::Said;

/// A folder with plans, and ceremonies held one after the other on one token store.
struct Years {
    dir: tempfile::TempDir,
}

const ROOT: &str = "example-root-r1";

impl Years {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    fn cli(&self, arguments: &[&str], cut: Option<&str>) -> Output {
        let mut command = Command::new(binary("ca-cli"));
        command.args(arguments).current_dir(self.dir.path());
        command.env_remove("SOFTHSM2_CONF");
        if let Some(cut) = cut {
            command.env("HOLDFAST_TEST_POWER_CUT", cut);
        }
        command.output().unwrap()
    }

    /// Write a plan, filled in as an administrator would; `change` is (from, to).
    fn plan(&self, kind: &str, name: &str, more: &[&str], change: &[(&str, &str)]) {
        let mut arguments = vec!["ceremony", "new", "--kind", kind, "--name", name];
        arguments.extend(more);
        let made = self.cli(&arguments, None);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut plan = String::from_utf8(made.stdout).unwrap();
        for officer in 1..=3 {
            let key = format!("key_sha256 = \"{}\"", Sha256::of(&[officer]));
            plan = plan.replacen("key_sha256 = \"FILL IN\"", &key, 1);
        }
        for (from, to) in change {
            assert!(plan.contains(from), "{from} in\n{plan}");
            plan = plan.replace(from, to);
        }
        std::fs::write(self.path(&format!("{name}.toml")), plan.replace("FILL IN", "Example")).unwrap();
    }

    fn rehearse(&self, name: &str, more: &[&str], cut: Option<&str>) -> Output {
        let plan = format!("{name}.toml");
        let mut arguments = vec!["ceremony", "rehearse", &plan, "--dir", name];
        arguments.extend(more);
        self.cli(&arguments, cut)
    }

    fn rehearsed(&self, name: &str, more: &[&str]) -> archive::Verified {
        let held = self.rehearse(name, more, None);
        assert!(
            held.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&held.stderr)
        );
        self.verified(name)
    }

    fn verified(&self, name: &str) -> archive::Verified {
        let path = self.path(&format!("{name}/{name}.tar"));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/verify/ceremony.py");
        let second = Command::new("python3")
            .arg("-B")
            .arg(script)
            .arg("--rehearsal")
            .arg(&path)
            .output()
            .unwrap();
        assert!(second.status.success(), "{}", String::from_utf8_lossy(&second.stdout));
        archive::verify(&std::fs::read(path).unwrap(), true).unwrap()
    }

    /// The root with a wrapped backup and a split PIN.
    fn root_plan(&self) {
        let kept = [
            ("backup = \"none\"", "backup = \"wrapped\""),
            ("split_pin = false", "split_pin = true"),
        ];
        self.plan("root", ROOT, &[], &kept);
    }

    /// What later ceremonies need of the root's: files beside the plans; the serial number of its token.
    fn take_home(&self) -> String {
        for name in ["key.backup", "certificate.cer", "ca.crl"] {
            let from = self.path(&format!("{ROOT}/medium/outputs/{name}"));
            std::fs::copy(from, self.path(name)).unwrap();
        }
        self.token_of(ROOT)
    }

    fn token_of(&self, name: &str) -> String {
        fact(&self.verified(name), "token").unwrap()
    }

    fn pin_of_the_root(&self) -> String {
        self.path(&format!("{ROOT}/secrets/token.pin"))
            .to_str()
            .unwrap()
            .to_owned()
    }

    /// Held so many weeks after the root.
    fn crl_plan(&self, name: &str, weeks: i64, token: &str) {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let planned = i64::try_from(now.as_secs()).unwrap() + (30 + 7 * weeks) * calendar::DAY;
        let planned = calendar::show(UnixTime(planned));
        let mut arguments = vec!["--issuer", "certificate.cer", "--previous-crl", "ca.crl"];
        arguments.extend(["--planned", &planned]);
        let change = [
            ("backup = \"none\"", "backup = \"wrapped\""),
            ("split_pin = false", "split_pin = true\nshares_of = \"example-root-r1\""),
            (
                "[token]\n# Serial number, as `ca-cli hsm probe` shows it.\nserial = \"FILL IN\"",
                token,
            ),
        ];
        self.plan("crl", name, &arguments, &change);
    }

    /// Files in the token store that are objects: private and public halves of all tokens.
    fn objects(&self) -> usize {
        let folders = std::fs::read_dir(self.path(&format!("{ROOT}/tokens"))).unwrap();
        let files = folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.filter(|n| n.ends_with(".object") && n != "token.object").count()
    }
}

fn fact(record: &archive::Verified, name: &str) -> Option<String> {
    let records = record.transcript().records().iter();
    records.filter_map(|r| r.facts.get(name)).next_back().cloned()
}

fn token(serial: &str) -> String {
    format!("[token]\nserial = \"{serial}\"")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_key_is_backed_up_used_by_shares_restored_and_destroyed() {
    let years = Years::new();
    years.root_plan();
    let root = years.rehearsed(ROOT, &[]);
    for (name, value) in [
        ("CKA_EXTRACTABLE", "false"),
        ("CKA_SENSITIVE", "true"),
        ("CKA_DECRYPT", "false"),
        ("threshold", "2 of 3"),
    ] {
        assert_eq!(fact(&root, name).as_deref(), Some(value), "{name}");
    }
    let serial = years.take_home();
    let pin = years.pin_of_the_root();

    // The PIN that the token began with opens it no more; two sheets do.
    years.crl_plan("example-crl-2", 1, &token(&serial));
    let record = years.rehearsed("example-crl-2", &["--pin-file", &pin]);
    assert!(record.file("outputs/ca.crl").is_some());

    // To a second token.
    let backup = std::fs::read(years.path("key.backup")).unwrap();
    let restore = [
        ("shares_of = \"FILL IN\"", "shares_of = \"example-root-r1\""),
        ("file = \"backup.bin\"", "file = \"key.backup\""),
        (
            "sha256sum backup.bin\nsha256 = \"FILL IN\"",
            &format!("\nsha256 = \"{}\"", Sha256::of(&backup)),
        ),
    ];
    years.plan(
        "restore",
        "example-restore-1",
        &["--issuer", "certificate.cer"],
        &restore,
    );
    assert_eq!(years.objects(), 2);
    let record = years.rehearsed("example-restore-1", &["--pin-file", &pin]);
    assert_eq!(years.objects(), 4);
    for (name, value) in [
        ("CKA_EXTRACTABLE", "false"),
        ("CKA_SENSITIVE", "true"),
        // Its token cannot vouch for its past, and does not.
        ("CKA_LOCAL", "false"),
        ("test signature", "verified"),
    ] {
        assert_eq!(fact(&record, name).as_deref(), Some(value), "{name}");
    }
    let second = years.token_of("example-restore-1");
    assert_ne!(second, serial);

    // The original is destroyed, and it was the right one.
    let destroy = [
        ("backup = \"none\"", "backup = \"wrapped\""),
        ("split_pin = false", "split_pin = true\nshares_of = \"example-root-r1\""),
        (
            "[token]\n# Serial number, as `ca-cli hsm probe` shows it.\nserial = \"FILL IN\"",
            &token(&serial),
        ),
    ];
    years.plan(
        "destroy",
        "example-destroy-1",
        &["--issuer", "certificate.cer"],
        &destroy,
    );
    let record = years.rehearsed("example-destroy-1", &["--pin-file", &pin]);
    assert_eq!(fact(&record, "objects destroyed").as_deref(), Some("2"));
    assert_eq!(fact(&record, "search afterwards").as_deref(), Some("nothing found"));
    assert!(
        fact(&record, "signature afterwards")
            .unwrap()
            .starts_with("C_SignInit: CKR_")
    );
    assert_eq!(years.objects(), 2, "the copy stays");

    // Once more, of what is gone: the token holds no such key.
    years.crl_plan("example-crl-3", 2, &token(&serial));
    let refused = years.rehearse("example-crl-3", &["--pin-file", &pin], None);
    assert!(!refused.status.success());
    assert!(
        said(&refused).contains("no public key with CKA_ID 01"),
        "{}",
        said(&refused)
    );
}

#[test]
fn c01_a_share_of_another_ceremony_or_a_spoilt_one_opens_nothing() {
    let years = Years::new();
    years.root_plan();
    years.rehearsed(ROOT, &[]);
    let serial = years.take_home();
    let pin = years.pin_of_the_root();
    years.crl_plan("example-crl-2", 1, &token(&serial));
    let sheet = years.path(&format!("{ROOT}/secrets/token-pin-share-2.txt"));
    let good = std::fs::read_to_string(&sheet).unwrap();
    // A letter of the fifth line.
    let line = good.lines().find(|l| l.trim_start().starts_with("5:")).unwrap();
    let last = line.chars().next_back().unwrap();
    let wrong = format!("{}{}", &line[..line.len() - 1], if last == 'A' { 'C' } else { 'A' });
    std::fs::write(&sheet, good.replace(line, &wrong)).unwrap();
    let refused = years.rehearse("example-crl-2", &["--pin-file", &pin], None);
    assert_eq!(refused.status.code(), Some(3), "{}", said(&refused));
    assert!(said(&refused).contains("line 5 is wrong"), "{}", said(&refused));
    for letters in line.split_once(':').unwrap().1.split_whitespace() {
        assert!(
            !said(&refused).contains(letters),
            "what is on the sheet is not repeated"
        );
    }
    std::fs::write(&sheet, good).unwrap();
    let resumed = years.rehearse("example-crl-2", &["--pin-file", &pin, "--resume"], None);
    assert!(resumed.status.success(), "{}", said(&resumed));
    years.verified("example-crl-2");
}

/// F24: power goes at each point of each step that changes a key or a PIN; what was begun goes on, and there is one key.
#[test]
fn f24_custody_is_interrupted_everywhere_and_goes_on() {
    // Steps of the root's script: the key is made in 6, backed up in 7, the PIN is split in 14.
    for cut in [
        "before-7",
        "intent-7",
        "acted-7",
        "written-7",
        "done-7",
        "before-14",
        "intent-14",
        "acted-14",
        "written-14",
        "done-14",
        "acted-6",
    ] {
        let years = Years::new();
        years.root_plan();
        let died = years.rehearse(ROOT, &[], Some(cut));
        assert_eq!(died.status.code(), None, "{cut}: killed, {}", said(&died));
        years.rehearsed(ROOT, &["--resume"]);
        assert_eq!(years.objects(), 2, "{cut}: one key");
        let serial = years.take_home();
        let pin = years.pin_of_the_root();
        years.crl_plan("example-crl-2", 1, &token(&serial));
        // The papers in hand open the token.
        years.rehearsed("example-crl-2", &["--pin-file", &pin]);
    }
}

/// F24: the same for a root with a backup and a split PIN, for its restoring and its destruction: at every point of every
/// step, each time resumed. The token store has one key, then its copy too, then the copy alone.
#[test]
fn f24_a_kept_root_its_restoring_and_its_destruction_are_interrupted_everywhere() {
    let years = Years::new();
    years.root_plan();
    let everywhere = |name: &str, more: &[&str], most: usize| {
        let run = |point: &str, resume: bool| {
            let more = [more, if resume { &["--resume"] } else { &[] }].concat();
            Said::of(years.rehearse(name, &more, Some(point)))
        };
        let plan = years.path(&format!("{name}.toml"));
        interrupted::everywhere(&plan, &run, &mut |point| {
            if years.path(&format!("{ROOT}/tokens")).exists() {
                assert!(years.objects() <= most, "{name}, {point}");
            }
        });
        years.verified(name)
    };
    everywhere(ROOT, &[], 2);
    assert_eq!(years.objects(), 2);
    let serial = years.take_home();
    let pin = years.pin_of_the_root();
    let backup = std::fs::read(years.path("key.backup")).unwrap();
    let restore = [
        ("shares_of = \"FILL IN\"", "shares_of = \"example-root-r1\""),
        ("file = \"backup.bin\"", "file = \"key.backup\""),
        (
            "sha256sum backup.bin\nsha256 = \"FILL IN\"",
            &format!("\nsha256 = \"{}\"", Sha256::of(&backup)),
        ),
    ];
    let destroy = [
        ("backup = \"none\"", "backup = \"wrapped\""),
        ("split_pin = false", "split_pin = true\nshares_of = \"example-root-r1\""),
        (
            "[token]\n# Serial number, as `ca-cli hsm probe` shows it.\nserial = \"FILL IN\"",
            &token(&serial),
        ),
    ];
    years.plan("restore", "restore-1", &["--issuer", "certificate.cer"], &restore);
    years.plan("destroy", "destroy-1", &["--issuer", "certificate.cer"], &destroy);
    for (name, objects) in [("restore-1", 4), ("destroy-1", 2)] {
        let record = everywhere(name, &["--pin-file", &pin], 4);
        assert!(fact(&record, "found").unwrap().ends_with("before the interruption"));
        assert_eq!(years.objects(), objects, "{name}");
    }
}
