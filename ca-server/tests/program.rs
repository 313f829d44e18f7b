//! The program itself, as far as it goes without a token.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::process::Command;

fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_ca-server"))
        .args(arguments)
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn usage_and_configuration_end_with_2() {
    assert_eq!(run(&[]).0, Some(2), "no configuration named");
    assert_eq!(run(&["--port", "1"]).0, Some(2), "no such flag");
    let (code, said) = run(&["--config", "no/such/server.toml"]);
    assert_eq!(code, Some(2));
    assert!(
        said.starts_with("ca-server: no/such/server.toml: cannot be read"),
        "{said}"
    );
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("server.toml");
    std::fs::write(&path, "[server]\nnam = \"x\"\n").unwrap();
    let (code, said) = run(&["--config", path.to_str().unwrap(), "--check"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("server.toml:2:1: unknown key `nam`"), "{said}");
    assert!(said.contains("did you mean `name`?"), "{said}");
}

#[test]
fn help_says_what_exit_codes_mean() {
    let output = Command::new(env!("CARGO_BIN_EXE_ca-server"))
        .arg("--help")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("78") && text.contains("--check"), "{text}");
}
