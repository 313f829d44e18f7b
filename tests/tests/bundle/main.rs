//! Evidence bundles: 500 of them, good and each fault, judged by `ca-cli verify` and by `docs/verify/bundle.py` alike; and
//! every byte of one.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test that cannot go on stops"
)]

mod faults;
mod iak;
mod policy;
mod world;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use bundle::{Bundle, CHECKS, Check, Trust, verify};
use device_kit::rig::binary;
use ledger::VerifierKey;
use serde_json::Value;

use crate::world::{Case, Fault, World};

/// What both verifiers look at: the CA's chain, its marks and levels, and the bundle.
fn of_both(name: &str) -> bool {
    ["chain", "rehearsal", "level", "bundle"].contains(&name) || CHECKS.contains(&name)
}

fn lay(case: &Case, folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("certificate.der"), &case.certificate).unwrap();
    std::fs::write(folder.join("bundle.tar"), &case.bundle).unwrap();
    let trust = folder.join("trust");
    let lists = [("ca", &case.ca), ("tpm", &case.tpm), ("iak", &case.iak)];
    for (name, all) in lists {
        std::fs::create_dir_all(trust.join(name)).unwrap();
        for (number, der) in all.iter().enumerate() {
            std::fs::write(trust.join(name).join(format!("{number}.der")), der).unwrap();
        }
    }
    std::fs::create_dir_all(trust.join("ledger")).unwrap();
    for (number, key) in case.ledgers.iter().enumerate() {
        std::fs::write(trust.join("ledger").join(number.to_string()), format!("{key}\n")).unwrap();
    }
}

/// A time, as `ca-cli` takes it.
fn time(at: i64) -> &'static str {
    match at {
        1_800_000_100 => "2027-01-15T08:01:40Z",
        1_600_000_000 => "2020-09-13T12:26:40Z",
        other => panic!("{other}"),
    }
}

/// What `ca-cli verify` refuses.
fn ours(folder: &Path, case: &Case) -> BTreeSet<String> {
    let output = Command::new(binary("ca-cli"))
        .args(["-o", "json", "verify"])
        .arg(folder.join("certificate.der"))
        .arg("--bundle")
        .arg(folder.join("bundle.tar"))
        .arg("--trust")
        .arg(folder.join("trust"))
        .args(["--at", time(case.at), "--level", case.level])
        .output()
        .unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    let refused: BTreeSet<String> = said["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["ok"] == false)
        .map(|check| check["id"].as_str().unwrap().to_owned())
        .collect();
    let exit = if refused.is_empty() { 0 } else { 3 };
    assert_eq!(output.status.code(), Some(exit), "{output:?}");
    refused.into_iter().filter(|name| of_both(name)).collect()
}

/// What `docs/verify/bundle.py` refuses, of every folder.
fn theirs(folder: &Path, cases: &[(Fault, Case)]) -> Vec<BTreeSet<String>> {
    const DRIVER: &str = "
import json, pathlib, sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
import bundle
for number, (at, level) in enumerate(line.split('/') for line in sys.argv[3].split()):
    folder = pathlib.Path(sys.argv[2]) / str(number)
    found = bundle.verdict((folder / 'bundle.tar').read_bytes(), (folder / 'certificate.der').read_bytes(),
                           bundle.load_trust(folder / 'trust'), int(at), level)
    print(json.dumps([name for name, good, _ in found if not good]))
";
    let times: Vec<String> = cases
        .iter()
        .map(|(_, case)| format!("{}/{}", case.at, case.level))
        .collect();
    let output = Command::new("python3")
        .args(["-c", DRIVER, concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/verify")])
        .arg(folder)
        .arg(times.join(" "))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Each number's outcome, by as many threads as there are processors.
fn at_once<T: Send>(count: usize, work: &(dyn Fn(usize) -> T + Sync)) -> Vec<T> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let hands: Vec<_> = (0..threads)
            .map(|hand| {
                scope.spawn(move || -> Vec<(usize, T)> {
                    (hand..count)
                        .step_by(threads)
                        .map(|number| (number, work(number)))
                        .collect()
                })
            })
            .collect();
        let mut all: Vec<(usize, T)> = hands.into_iter().flat_map(|hand| hand.join().unwrap()).collect();
        all.sort_by_key(|(number, _)| *number);
        all.into_iter().map(|(_, outcome)| outcome).collect()
    })
}

#[test]
fn two_verifiers_name_the_same_faults_in_500_cases() {
    let world = World::new();
    let cases = faults::cases(&world, 600);
    let folder = tempfile::tempdir().unwrap();
    for (number, (_, case)) in cases.iter().enumerate() {
        lay(case, &folder.path().join(number.to_string()));
    }
    let theirs = theirs(folder.path(), &cases);
    assert_eq!(theirs.len(), cases.len());
    let mut wrong = Vec::new();
    let ours = at_once(cases.len(), &|number| {
        ours(&folder.path().join(number.to_string()), &cases[number].1)
    });
    for (number, (((fault, _), theirs), ours)) in cases.iter().zip(&theirs).zip(ours).enumerate() {
        let mut wanted: BTreeSet<String> = fault.refused.iter().map(|name| (*name).to_owned()).collect();
        // More may refuse, where a star stands; the two verifiers agree about it all the same.
        let at_least = wanted.remove("*");
        let as_said = if at_least {
            wanted.is_subset(&ours)
        } else {
            ours == wanted
        };
        // The rules are evaluated by one of the two alone, and the other says so.
        let (mut alike, mut theirs) = (ours.clone(), theirs.clone());
        let _ = (alike.remove("decision"), theirs.remove("decision"));
        if alike != theirs || !as_said {
            wrong.push(format!(
                "{number} {}: wanted {wanted:?}, ca-cli {ours:?}, bundle.py {theirs:?}",
                fault.name
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
    let verdicts: BTreeSet<&str> = cases.iter().flat_map(|(fault, _)| fault.refused).copied().collect();
    for check in CHECKS {
        assert!(verdicts.contains(check), "no case is refused by `{check}`");
    }
}

/// Each check has a fault that it alone refuses.
#[test]
fn every_check_refuses_alone() {
    let alone: BTreeSet<&str> = faults::all()
        .iter()
        .filter_map(|fault| match fault.refused {
            [only] => Some(*only),
            _ => None,
        })
        .collect();
    // A key that is refused is no key the certificate could name, nor the next step stand on.
    let never = BTreeSet::from(["attestation", "identity", "request"]);
    for check in CHECKS {
        assert_eq!(alone.contains(check), !never.contains(check), "{check}");
    }
}

fn refused(archive: &[u8], case: &Case, trust: &Trust) -> Vec<&'static str> {
    let Ok(bundle) = Bundle::read(archive) else {
        return vec!["bundle"];
    };
    let names = |check: &Check| check.found.is_err().then_some(check.id);
    verify(&bundle, &case.certificate, trust)
        .iter()
        .filter_map(names)
        .collect()
}

#[test]
fn bytes_of_every_class_are_found_when_they_change() {
    let world = World::new();
    let case = Fault::of("good", &[]).case(&world, 0);
    let trust = Trust {
        tpm_roots: case.tpm.clone(),
        ledgers: case
            .ledgers
            .iter()
            .map(|key| VerifierKey::parse(key).unwrap())
            .collect(),
        iak_roots: case.iak.clone(),
        ..Trust::default()
    };
    let bundle = Bundle::read(&case.bundle).unwrap();
    let found = verify(&bundle, &case.certificate, &trust);
    assert!(found.iter().all(|check| check.found.is_ok()), "{found:#?}");
    // Every third byte: each header, length and name, each member, digest and signature is met many times.
    let places: Vec<usize> = (0..case.bundle.len()).step_by(3).collect();
    let _ = at_once(places.len(), &|number| {
        let at = places[number];
        let mut spoilt = case.bundle.clone();
        spoilt[at] ^= 1 << (at % 8);
        let found = refused(&spoilt, &case, &trust);
        if found.is_empty() {
            // The root of the CA is the verifier's own: a copy of it in the bundle convinces nobody.
            let read = Bundle::read(&spoilt).unwrap();
            let only_the_root = Bundle {
                issuers: bundle.issuers.clone(),
                ..read
            };
            assert_eq!(only_the_root, bundle, "byte {at}");
        }
    });
}

/// `--trust` of a zip archive: the same as the folder it is of; what lies elsewhere in it, or is none, is not believed.
#[test]
fn a_zip_of_whom_to_trust_is_its_folder() {
    let world = World::new();
    let case = Fault::of("good", &[]).case(&world, 0);
    let folder = tempfile::tempdir().unwrap();
    lay(&case, folder.path());
    let zip = |name: &str, script: &str| {
        const HEAD: &str = "import pathlib, sys, zipfile\nhere = pathlib.Path(sys.argv[1])\n\
                            out = zipfile.ZipFile(here / sys.argv[2], 'w', zipfile.ZIP_DEFLATED)\n";
        let script = format!("{HEAD}{script}\nout.close()\n");
        let status = Command::new("python3")
            .args(["-c", &script])
            .arg(folder.path())
            .arg(name)
            .status()
            .unwrap();
        assert!(status.success());
        folder.path().join(name)
    };
    let verdict = |trust: &Path| {
        let output = Command::new(binary("ca-cli"))
            .args(["-o", "json", "verify"])
            .arg(folder.path().join("certificate.der"))
            .arg("--bundle")
            .arg(folder.path().join("bundle.tar"))
            .arg("--trust")
            .arg(trust)
            .args(["--at", time(case.at)])
            .output()
            .unwrap();
        let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let refused = said["checks"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|check| check["ok"] == false);
        let names: Vec<String> = refused.map(|check| check["id"].as_str().unwrap().to_owned()).collect();
        (output.status.code(), names)
    };
    let theirs = |trust: &Path| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/verify/bundle.py");
        let mut command = Command::new("python3");
        command.env("PYTHONDONTWRITEBYTECODE", "1").arg(script);
        command
            .arg(folder.path().join("certificate.der"))
            .arg(folder.path().join("bundle.tar"));
        command.arg("--trust").arg(trust).args(["--at", &case.at.to_string()]);
        command.output().unwrap().status.code()
    };
    const ALL: &str =
        "for one in sorted((here / 'trust').glob('*/*')):\n    out.write(one, one.relative_to(here / 'trust'))";
    let whole = zip("whole.zip", ALL);
    assert_eq!(verdict(&whole), (Some(0), Vec::new()));
    assert_eq!(theirs(&whole), Some(0));
    for (name, part, refused) in [
        ("no-ca.zip", "ca", "chain"),
        ("no-tpm.zip", "tpm", "endorsement"),
        ("no-ledger.zip", "ledger", "ledger"),
    ] {
        // The same files, but those of one folder lie where nobody looks.
        let script = format!(
            "for one in sorted((here / 'trust').glob('*/*')):\n    name = one.relative_to(here / 'trust')\n    \
             out.write(one, str(name).replace('{part}/', 'other/'))"
        );
        let zip = zip(name, &script);
        let (code, names) = verdict(&zip);
        assert_eq!(code, Some(3), "{name}");
        assert!(names.contains(&refused.to_owned()), "{name}: {names:?}");
        assert_eq!(theirs(&zip), Some(3), "{name}");
    }
    let mut cut = std::fs::read(&whole).unwrap();
    cut.truncate(cut.len() / 2);
    let broken = folder.path().join("cut.zip");
    std::fs::write(&broken, cut).unwrap();
    assert_eq!(verdict(&broken).0, Some(2));
    assert_eq!(theirs(&broken), Some(2));
}

#[test]
fn what_is_written_is_read_and_has_one_name() {
    let world = World::new();
    let case = Fault::of("good", &[]).case(&world, 3);
    let bundle = Bundle::read(&case.bundle).unwrap();
    assert_eq!(bundle.write().unwrap(), case.bundle);
    assert_eq!(bundle.digest().unwrap(), openssl::sha::sha256(&case.bundle));
}
