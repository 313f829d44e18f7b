//! Fail-points are of development builds alone.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use device_kit::rig::binary;
use failpoint::Point;

/// Where orders stand.
const VARIABLE: &str = "HOLDFAST_FAILPOINT";

/// Which of these words a file holds.
fn found(words: &Path, file: &Path) -> BTreeSet<String> {
    let output = Command::new("grep")
        .args(["-a", "-o", "-F", "-f"])
        .args([words, file])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(ToOwned::to_owned)
        .collect()
}

/// F01: compiled as a release is, without debug assertions, the crate that holds them leaves no name in a program, and an
/// order is not obeyed. `scripts/no-failpoints.sh` looks into a whole release.
#[test]
fn f01_a_release_knows_no_fail_point() {
    let folder = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/failpoint/src/lib.rs");
    let program = folder.path().join("program.rs");
    std::fs::write(
        &program,
        "fn main() { failpoint::reach(failpoint::Point::CorridorSigned); \
         println!(\"{}\", failpoint::pass(failpoint::Point::RecordCommit).is_ok()); }",
    )
    .unwrap();
    let rustc = |arguments: &[&str], file: &Path| {
        let output = Command::new("rustc")
            .args(["--edition", "2024", "-O", "--out-dir"])
            .arg(folder.path())
            .args(arguments)
            .arg(file)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    rustc(&["--crate-type", "rlib", "--crate-name", "failpoint"], &source);
    let library = format!("failpoint={}", folder.path().join("libfailpoint.rlib").display());
    rustc(&["--extern", &library], &program);
    let program = folder.path().join("program");
    let output = Command::new(&program)
        .env(VARIABLE, "corridor.signed:kill,record.commit:error")
        .output()
        .unwrap();
    assert_eq!(
        (output.status.code(), output.stdout.as_slice()),
        (Some(0), &b"true\n"[..])
    );
    assert!(output.stderr.is_empty());
    let names: Vec<&str> = Point::ALL.iter().map(|point| point.name()).chain([VARIABLE]).collect();
    let words = folder.path().join("words");
    std::fs::write(&words, names.join("\n")).unwrap();
    assert_eq!(found(&words, &program), BTreeSet::new());
    // That the search finds them where they are. A name that begins another is found in it.
    let development = found(&words, &binary("ca-server"));
    for name in names {
        assert!(development.iter().any(|found| found.starts_with(name)), "{name}");
    }
}
