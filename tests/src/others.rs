//! Programs of others, by which ours are judged: which of them are here, and how one of their languages is run.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Whether a program is here. Where tests must all run (`CI=true`) one that is missing is a failure; elsewhere it is named.
///
/// # Panics
/// When it is missing and `CI=true`.
#[must_use]
pub fn there(program: &str) -> bool {
    let found = program.contains('/') && Path::new(program).is_file()
        || std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()));
    assert!(
        found || std::env::var("CI").as_deref() != Ok("true"),
        "{program} is not installed"
    );
    if !found {
        println!("skipped: {program} is not installed (scripts/setup.sh test)");
    }
    found
}

/// What a program prints, on either stream.
///
/// # Panics
/// When it cannot be run.
pub fn prints(command: &mut Command) -> String {
    let out = command.output().expect("it runs");
    format!(
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    )
}

/// Build a Go program in a folder, with the libraries that Debian's packages bring (`golang-golang-x-crypto-dev`).
///
/// # Panics
/// When it does not compile.
#[must_use]
pub fn go_program(source: &str, folder: &Path) -> PathBuf {
    let program = folder.join("go-program");
    std::fs::write(folder.join("main.go"), source).expect("a file");
    let mut go = Command::new("go");
    go.args(["build", "-o"])
        .arg(&program)
        .arg("main.go")
        .current_dir(folder);
    go.env("GO111MODULE", "off").env("GOPATH", "/usr/share/gocode");
    go.env("GOFLAGS", "").env("GOCACHE", folder.join("go-cache"));
    let said = prints(&mut go);
    assert!(program.is_file(), "{said}");
    program
}

/// A judge that is in no package of Debian (pkilint's, check-jsonschema, hadolint): scripts/setup.sh puts them into the
/// folder of builds.
#[must_use]
pub fn judge(program: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let place = Path::new("judges/bin").join(program);
    own.ancestors()
        .map(|folder| folder.join(&place))
        .find(|path| path.is_file())
        .unwrap_or(place)
}

/// axe-core, which scripts/setup.sh puts into the folder of builds: which page shuts people out.
///
/// # Panics
/// When it is missing and `CI=true`.
#[must_use]
pub fn axe() -> Option<PathBuf> {
    let own = std::env::current_exe().unwrap_or_default();
    let found = own
        .ancestors()
        .map(|folder| folder.join("axe/axe.min.js"))
        .find(|path| path.is_file());
    assert!(
        found.is_some() || std::env::var("CI").as_deref() != Ok("true"),
        "axe-core is not installed"
    );
    if found.is_none() {
        println!("skipped: axe-core is not installed (scripts/setup.sh test)");
    }
    found
}
